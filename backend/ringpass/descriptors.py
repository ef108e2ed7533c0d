# SPDX-License-Identifier: BSD-2-Clause
"""Closing descriptors that a peer sent, without waiting for what the peer made of them.

To close a file can take as long as its owner likes: a TCP socket with SO_LINGER and data that
nobody takes, a file of a FUSE server that does not answer. So all but what cannot wait is closed by
threads. They are few and the process's end does not wait for them. What waits for them is a
descriptor that we have, so each source of descriptors has threads of its own, and who sends more
than they can close is not listened to any more.
"""

import contextlib
import fcntl
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from weakref import WeakSet

#: Of one source.
MAX_THREADS = 4
#: Descriptors of one source that may wait while it is listened to.
MAX_WAITING = 64


class Closer:
    """Closes what comes from one source; there are more threads while some wait."""

    def __init__(self, close: Callable[[int], None] | None = None, most: int = MAX_WAITING) -> None:
        self._close = close or _close
        self._most = most
        self._changed = threading.Condition()
        self._descriptors: deque[int] = deque()
        self._idle = 0
        self.pending = 0
        """How many descriptors wait to be closed, or are being closed."""
        self._threads = 0
        _closers.add(self)

    @property
    def full(self) -> bool:
        """Whether its source is not to be listened to."""
        return self.pending > self._most

    def close(self, fd: int) -> None:
        """Close a descriptor, later if that may wait. It is no longer the caller's. Never fails."""
        if _is_quick(fd):
            _close(fd)
        else:
            self.close_later(fd)

    def hang_up(self, connected: socket.socket) -> None:
        """Disconnect, and close the socket: what nobody read may hold descriptors."""
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)  # the other end is told at once
        self.close(connected.detach())

    def close_later(self, fd: int) -> None:
        """Let a thread close a descriptor."""
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


def pending() -> int:
    """Return how many descriptors of all sources wait to be closed, or are being closed."""
    return sum(closer.pending for closer in list(_closers))


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


_closers: WeakSet[Closer] = WeakSet()
#: For what comes from nobody in particular.
common = Closer()
