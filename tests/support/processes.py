# SPDX-License-Identifier: BSD-2-Clause
"""Processes that stand still."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.support.wait import wait_until


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Let all threads of a process stand still for as long as the context lasts."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: stands_still(pid), f"process {pid} does not stop")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def stands_still(pid: int) -> bool:
    """Return whether no thread of a process runs any more."""
    stats = [thread.read_text() for thread in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] in "TZ" for stat in stats)
