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
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ringpass.errors import RingpassError
from ringpass.listener import Listener
from ringpass.passthrough.transport import Place, Way
from ringpass.sockets import Access, credentials, hung_up

log = logging.getLogger(__name__)

VERSION = 0
BACKEND = 0
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
    with contextlib.suppress(OSError):
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


class Connection:
    """A QEMU that is connected, in the event loop. `on_end` is called when it is gone.

    The protocol has nothing for it to say: one that speaks is gone, too, for that reason.
    """

    way: Way = "ivshmem"

    def __init__(
        self,
        connected: socket.socket,
        on_end: Callable[["Connection", RingpassError | None], None],
    ) -> None:
        found = credentials(connected)
        self.pid, self.uid = found.pid, found.uid
        self.since = time.time()
        self._on_end = on_end
        self._words: deque[Word] = deque()
        self._socket = connected
        self._closed = False
        connected.setblocking(False)
        asyncio.get_running_loop().add_reader(connected, self._hear)

    def fileno(self) -> int:
        """Return the descriptor of its socket."""
        return self._socket.fileno()

    def send(self, words: list[Word]) -> None:
        """Send `words`, as soon as there is room."""
        self._words.extend(words)
        self._flush()

    def changed(self) -> None:
        """Do nothing: this QEMU knows nothing of the port."""

    def gone(self) -> bool:
        """Return whether the other end has hung up."""
        return hung_up(self._socket)

    def close(self) -> None:
        """Disconnect. QEMU goes on with the memory that it has. A second close does nothing."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.remove_writer(self._socket)
        self._socket.close()

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._words:
            word = self._words[0]
            rights = array.array("i", [word.fd])
            controls = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if word.fd >= 0 else []
            try:
                self._socket.sendmsg([_WORD.pack(word.value)], controls, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                loop.add_writer(self._socket, self._flush)
                return
            except OSError as error:
                log.warning("event=ivshmem-failed pid=%d why=%r", self.pid, error.strerror)
                self._on_end(self, None)
                return
            self._words.popleft()
        loop.remove_writer(self._socket)

    def _hear(self) -> None:
        spoke = False
        try:
            spoke = bool(self._socket.recv(1))
        except BlockingIOError:
            return
        except OSError as error:
            log.info("event=ivshmem-failed pid=%d why=%r", self.pid, error.strerror)
        self._on_end(self, _spoke() if spoke else None)


class Server:
    """The socket that an ivshmem-doorbell device of QEMU connects to."""

    def __init__(self, path: Path, access: Access, port: Place) -> None:
        self._port = port
        self._listener = Listener(path, access, self._connected)

    def open(self) -> None:
        """Let a QEMU come. Raises RingpassError if the socket's path cannot be had."""
        self._listener.open()

    def close(self) -> None:
        """Let none come any more."""
        self._listener.close()

    def set_access(self, access: Access) -> None:
        """Change who may connect."""
        self._listener.set_access(access)

    def resume(self, connected: socket.socket) -> Connection:
        """Return the connection of a QEMU that an earlier daemon left."""
        return Connection(connected, self._ended)

    def _connected(self, connected: socket.socket) -> None:
        connection = Connection(connected, self._ended)
        try:
            seat = self._port.seat_new(connection)
        except (OSError, RingpassError) as error:
            self._port.note_refused(connection, error)
            refuse(connected)
            connection.close()
            self._listener.resume(self._port.pause)
            return
        pairs = seat.pairs
        words = introduction(seat.peer, self._port.memory, pairs.doorbells, pairs.vectors)
        connection.send(words)

    def _ended(self, connection: Connection, violation: RingpassError | None) -> None:
        self._port.ended(connection, violation)
        self._listener.resume(self._port.pause)


def _spoke() -> RingpassError:
    return RingpassError(
        "a QEMU is put out",
        "it wrote to the socket of its ivshmem device, where clients have nothing to say",
        "connect nothing but the chardev of an ivshmem-doorbell device",
    )
