# SPDX-License-Identifier: BSD-2-Clause
"""Closing descriptors that a peer sent, without waiting for what the peer made of them.

To close a file can take as long as its owner likes: a TCP socket with SO_LINGER and data that
nobody takes, a file of a FUSE server that does not answer. So all but what cannot wait is closed by
threads of this module. They are few and the process's end does not wait for them.
"""

import contextlib
import fcntl
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

MAX_THREADS = 8


def close(fd: int) -> None:
    """Close a descriptor, later if that may wait. It is no longer the caller's. Never fails."""
    if _is_quick(fd):
        _close(fd)
    else:
        _closer.close(fd)


def pending() -> int:
    """Return how many descriptors wait to be closed, or are being closed."""
    return _closer.pending


class _Closer:
    """Threads that close descriptors; there are more of them while some wait."""

    def __init__(self, close: Callable[[int], None]) -> None:
        self._close = close
        self._changed = threading.Condition()
        self._descriptors: deque[int] = deque()
        self._idle = 0
        self.pending = 0
        self._threads = 0

    def close(self, fd: int) -> None:
        with self._changed:
            self.pending += 1
            self._descriptors.append(fd)
            if len(self._descriptors) > self._idle and self._threads < MAX_THREADS:
                self._threads += 1
                threading.Thread(target=self._work, name="close", daemon=True).start()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            self._close(self._next())
            with self._changed:
                self.pending -= 1

    def _next(self) -> int:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._descriptors)
            self._idle -= 1
            return self._descriptors.popleft()


def _is_quick(fd: int) -> bool:
    """Return whether it is shared memory, an eventfd or a pipe. Does not ask the file itself."""
    with contextlib.suppress(OSError):
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS) >= 0  # files in memory only have these
    with contextlib.suppress(OSError):
        # A file's path begins with a slash, so it cannot pass for one of these.
        said = str(Path(f"/proc/self/fd/{fd}").readlink())
        return said.startswith(("anon_inode:[eventfd]", "pipe:["))
    return False


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)


_closer = _Closer(_close)
