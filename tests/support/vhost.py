# SPDX-License-Identifier: BSD-2-Clause
"""The other sides of a vhost-user session: a data plane that checks its caller, and front ends."""

import array
import mmap
import os
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ringpass import descriptors
from ringpass.dataplane import MemorySlot, VringConfig
from ringpass.errors import RingpassError
from ringpass.vhostuser.connection import Fd, Message
from ringpass.vhostuser.messages import Header, HeaderFlag, Payload
from tests.support.wait import PATIENCE_S


class CheckedPlane:
    """The vhost calls of a port, remembered, with assertions of what the facade asks of callers.

    `refuse` holds names of calls that fail, as the data plane's may.
    """

    def __init__(self) -> None:
        self.features: int | None = None
        self.memory: list[MemorySlot] = []
        self.log: tuple[int, int] | None = None
        """Offset and size of the dirty log."""
        self.everything = False
        """Whether all memory was marked when it began."""
        self.logs = 0
        self.announced: list[bytes] = []
        self.rings: dict[int, VringConfig] = {}
        self.reason: str | None = None
        self.repairs = 0
        self.starts = 0
        self.refuse: set[str] = set()
        self.progress: dict[int, int] = {}
        """By how much a ring's index moves while it runs."""

    def broken(self) -> str | None:
        return self.reason

    def repair(self) -> None:
        self._consider("repair")
        assert not self.rings, "rings of a broken port are stopped before it is repaired"
        self.reason = None
        self.memory = []
        self.log = None
        self.repairs += 1

    def set_features(self, features: int) -> None:
        self._consider("set_features")
        assert not self.rings, "features change while no ring runs"
        self.features = features

    def set_memory(self, slots: Sequence[MemorySlot], fds: Sequence[int]) -> None:
        assert len(slots) == len(fds)
        self._consider("set_memory", fds)
        self.memory = list(slots)

    def add_memory(self, slot: MemorySlot, fd: int) -> None:
        self._consider("add_memory", [fd])
        self.memory.append(slot)

    def remove_memory(self, slot: MemorySlot) -> None:
        self._consider("remove_memory")
        self.memory.remove(slot)

    def start_log(self, fd: int, offset: int, size: int, *, everything: bool) -> None:
        self._consider("start_log", [fd])
        self.log = (offset, size)
        self.everything = everything
        self.logs += 1

    def stop_log(self) -> None:
        self._consider("stop_log")
        assert self.log is not None, "a log is stopped once"
        self.log = None

    def announce(self, mac: bytes) -> None:
        self._consider("announce")
        self.announced.append(mac)

    def start_ring(self, vring: int, config: VringConfig) -> None:
        fds = [fd for fd in (config.kick_fd, config.call_fd) if fd >= 0]
        self._consider("start_ring", fds)
        assert vring not in self.rings, "a ring is started once"
        assert self.memory, "rings are started in memory"
        assert self.reason is None, "rings of a broken port are not started"
        self.rings[vring] = config
        self.starts += 1

    def set_call(self, vring: int, call_fd: int) -> None:
        self._consider("set_call", [call_fd] if call_fd >= 0 else [])
        assert vring in self.rings
        self.rings[vring] = self.rings[vring]._replace(call_fd=call_fd)

    def runs(self, vring: int) -> bool:
        return vring in self.rings and self.reason is None

    def stop_ring(self, vring: int) -> int:
        self._consider("stop_ring")
        return (self.rings.pop(vring).base + self.progress.get(vring, 0)) & 0xFFFF

    def _consider(self, call: str, fds: Iterable[int] = ()) -> None:
        for fd in fds:
            os.fstat(fd)
        if call in self.refuse:
            raise RingpassError(f"cannot {call}", "the test says so")


class RawFrontEnd:
    """A front end that says what the test wants, right or wrong. A context manager."""

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(PATIENCE_S)
        self.socket = connected

    @classmethod
    def connect(cls, path: Path) -> Self:
        """Connect to a back end that listens."""
        connecting = socket.socket(socket.AF_UNIX)
        connecting.connect(str(path))
        return cls(connecting)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(
        self,
        request: int,
        payload: Payload | bytes = b"",
        fds: Sequence[int] = (),
        *,
        need_reply: bool = False,
    ) -> None:
        """Send one message."""
        self.send_raw(encode(request, payload, need_reply=need_reply), fds)

    def send_raw(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send `data` as it is."""
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        self.socket.sendmsg([data], [rights] if fds else [])

    def receive(self) -> tuple[Header, bytes]:
        """Return the next reply. Raises EOFError at the end."""
        header = Header.unpack(self._exactly(Header.LAYOUT.size))
        return header, self._exactly(header.size)

    def ask(self, request: int, payload: Payload | bytes = b"", fds: Sequence[int] = ()) -> bytes:
        """Return the payload of the reply to a message."""
        self.send(request, payload, fds, need_reply=True)
        header, body = self.receive()
        assert header == Header(request, 0x5, len(body))
        return body

    def closed(self) -> bool:
        """Wait until the back end has closed the connection; False if it sends something."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data


def encode(request: int, payload: Payload | bytes = b"", *, need_reply: bool = False) -> bytes:
    """Return a message of a front end."""
    body = payload if isinstance(payload, bytes) else payload.pack()
    flags = HeaderFlag.VERSION | (HeaderFlag.NEED_REPLY if need_reply else 0)
    return Header(request, flags, len(body)).pack() + body


def message(
    request: int,
    payload: Payload | bytes = b"",
    fds: Iterable[int] = (),
    *,
    need_reply: bool = False,
) -> Message:
    """Return a message as a connection yields it; the descriptors `fds` become its own."""
    data = encode(request, payload, need_reply=need_reply)
    size = Header.LAYOUT.size
    return Message(Header.unpack(data[:size]), data[size:], [Fd(fd) for fd in fds])


def memfd(size: int = mmap.PAGESIZE) -> int:
    """Return a new memory file of `size` bytes."""
    fd = os.memfd_create("guest", os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    return fd


def open_fds() -> int:
    """Return how many descriptors this process has open, when those of peers are closed.

    What earlier tests left to the garbage collector may go at any time: a test that leaves nothing
    has no more than before in the end, and perhaps fewer.
    """
    while descriptors.pending():
        time.sleep(0.001)
    return len(list(Path("/proc/self/fd").iterdir()))
