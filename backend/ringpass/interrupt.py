# SPDX-License-Identifier: BSD-2-Clause
"""Ctrl-C between the steps of a loop, never inside one."""

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Self


class _Woken(BaseException):
    """A signal came while the program waited."""


class Interrupt:
    """SIGINT and SIGTERM set `came`, and end what `wait` calls. Use it as a context manager.

    So a step that swaps buffers or writes a file is never left half done. Main thread only.
    """

    def __init__(self) -> None:
        self.came = False
        self._waiting = False

    def __enter__(self) -> Self:
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self, call: Callable[[], object]) -> None:
        """Do `call`, which waits for something, unless a signal came or comes meanwhile."""
        try:
            self._waiting = True
            if not self.came:
                call()
            self._waiting = False
        except _Woken:
            pass

    def sleep(self, seconds: float) -> None:
        """Sleep, unless a signal came or comes meanwhile."""
        self.wait(lambda: time.sleep(seconds))

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.came = True
        if self._waiting:
            self._waiting = False
            raise _Woken
