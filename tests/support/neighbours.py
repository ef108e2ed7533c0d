# SPDX-License-Identifier: BSD-2-Clause
"""Two drivers without a guest that exchange frames, whatever happens on other ports."""

import contextlib
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.miniguest import MiniGuest, frame
from tests.support.wait import wait_until

ONE, TWO = "52:54:00:00:01:01", "52:54:00:00:01:02"


class Neighbours:
    """Frames go to and fro between two ports in a thread. A context manager.

    Each frame is compared with what was sent; leaving raises what the thread met.
    """

    def __init__(self, one: Path, two: Path) -> None:
        self.rounds = 0
        self._one = MiniGuest(one, mac=ONE)
        self._two = MiniGuest(two, mac=TWO)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._one.start()
        self._two.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        with contextlib.closing(self._one), contextlib.closing(self._two):
            if self._error is not None:
                raise self._error

    def go_on(self) -> None:
        """Wait until more frames have been exchanged, and be sure that none was lost or changed."""
        before = self.rounds
        wait_until(lambda: self.rounds > before + 1 or self._error, "the neighbours' frames")
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.002):
                there = frame(TWO, ONE, b"there %d" % self.rounds)
                back = frame(ONE, TWO, b"back %d" % self.rounds + bytes(1400))
                self._one.send(there)
                assert self._two.receive() == there
                self._two.send(back)
                assert self._one.receive() == back
                self.rounds += 1
        except BaseException as error:
            self._error = error
