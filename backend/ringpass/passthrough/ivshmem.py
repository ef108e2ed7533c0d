# SPDX-License-Identifier: BSD-2-Clause
"""The server's side of QEMU's ivshmem-doorbell device.

The server alone speaks: a signed word of 8 bytes at a time, with a descriptor where one belongs.

    0  |  the client's id  |  -1, shared memory  |  peer's id, eventfd ...  |  own id, eventfd ...

The n-th eventfd of a peer is what a doorbell (peer, n - 1) of the guest signals, the n-th of its
own is the guest's vector n - 1. We are peer 0, and the only one that a guest hears of. QEMU waits
for the memory before it goes on with anything else, so all of it is sent at once.
"""

import array
import asyncio
import contextlib
import errno
import logging
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ringpass.errors import RingpassError
from ringpass.sockets import credentials

log = logging.getLogger(__name__)

VERSION = 0
BACKEND = 0
MAX_PEER = 0xFFFF
_MEMORY = -1
#: No version: QEMU says that the server sent it.
_BUSY = -errno.EBUSY
_WORD = struct.Struct("<q")


class Word(NamedTuple):
    """What one message says; -1: without a descriptor."""

    value: int
    fd: int = -1


def introduction(peer: int, memory: int, doorbells: list[int], vectors: list[int]) -> list[Word]:
    """Return what a client is told that becomes the peer `peer`."""
    words = [Word(VERSION), Word(peer), Word(_MEMORY, memory)]
    words += [Word(BACKEND, fd) for fd in doorbells]
    return words + [Word(peer, fd) for fd in vectors]


def refuse(connected: socket.socket) -> None:
    """Turn a client away: with a version that QEMU does not know, and tells its user.

    It would read for ever from a server that hangs up without a word.
    """
    connected.setblocking(False)
    with connected, contextlib.suppress(OSError):
        connected.send(_WORD.pack(_BUSY), socket.MSG_NOSIGNAL)


def check_size(port: str, size: int) -> None:
    """Raise RingpassError for memory that QEMU cannot have as a PCI device's: it would abort."""
    if size & (size - 1):
        raise RingpassError(
            f"cannot give port {port} to a guest",
            f"its region has {size} bytes, which is no power of two",
            "leave the size of its region to ringpass",
            errno=errno.EINVAL,
        )


class PeerIds:
    """Ids for clients: each differs from all others that are there, and from recent ones."""

    def __init__(self) -> None:
        self._last = BACKEND
        self._taken = {BACKEND}

    def take_again(self, peer: int) -> int:
        """Return the id `peer`, which a client has already; `give` it back."""
        self._taken.add(peer)
        self._last = max(self._last, peer)
        return peer

    def take(self) -> int:
        """Return an id, and `give` it back."""
        candidates = self._candidates()
        self._last = next(peer for peer in candidates if peer not in self._taken)
        self._taken.add(self._last)
        return self._last

    def give(self, peer: int) -> None:
        """Note that nobody has the id `peer` any more."""
        self._taken.remove(peer)

    def _candidates(self) -> Iterator[int]:
        yield from range(self._last + 1, MAX_PEER + 1)
        yield from range(1, self._last + 1)


class Connection:
    """A QEMU that is connected, in the event loop. `on_end` is called when it is gone.

    The protocol has nothing for it to say: one that speaks is gone, too.
    """

    def __init__(
        self, connected: socket.socket, words: list[Word], on_end: Callable[["Connection"], None]
    ) -> None:
        found = credentials(connected)
        self.pid, self.uid = found.pid, found.uid
        self.since = time.time()
        self._on_end = on_end
        self._words = deque(words)
        self._socket = connected
        self._closed = False
        self.spoke = False
        """Whether it said something."""
        connected.setblocking(False)
        asyncio.get_running_loop().add_reader(connected, self._hear)

    def send(self) -> None:
        """Send what was not sent yet, as far as there is room."""
        loop = asyncio.get_running_loop()
        while self._words:
            word = self._words[0]
            rights = array.array("i", [word.fd])
            controls = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if word.fd >= 0 else []
            try:
                self._socket.sendmsg([_WORD.pack(word.value)], controls, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                loop.add_writer(self._socket, self.send)
                return
            except OSError as error:
                log.warning("event=ivshmem-failed pid=%d why=%r", self.pid, error.strerror)
                self._on_end(self)
                return
            self._words.popleft()
        loop.remove_writer(self._socket)

    def close(self) -> None:
        """Disconnect. QEMU goes on with the memory that it has."""
        self.leave()
        self._socket.close()

    def leave(self) -> None:
        """Leave the socket to who made it."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.remove_writer(self._socket)

    def gone(self) -> bool:
        """Return whether the other end has hung up."""
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def _hear(self) -> None:
        try:
            self.spoke = bool(self._socket.recv(1))
        except BlockingIOError:
            return
        except OSError as error:
            log.info("event=ivshmem-failed pid=%d why=%r", self.pid, error.strerror)
        self._on_end(self)
