# SPDX-License-Identifier: BSD-2-Clause
"""QEMU's `-netdev ringpass`, played by a test: its socket, and the rings that it opens there.

It has what that QEMU has and no more: the memory and the eventfds that came over the socket.
"""

import array
import mmap
import os
import select
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

from ringpass._dp import ffi, lib
from ringpass.netmap import attach
from tests.support.daemon import Daemon
from tests.support.netmap import Ring
from tests.support.passthrough import FakeDriver, FakeRing
from tests.support.wait import PATIENCE_S

HELLO, OPEN, CLOSE, CHANGED = 1, 2, 3, 4
_HEAD = ffi.sizeof("struct rp_netdev_message")


class Refused(Exception):
    """The backend answered with an error: `errno`, and the reason in its text."""

    def __init__(self, errno: int, text: str) -> None:
        super().__init__(errno, text)
        self.errno = errno
        self.text = text


class Message(NamedTuple):
    """What came: the header, what follows it, and descriptors."""

    head: Any
    body: bytes
    fds: list[int]


class Opened(NamedTuple):
    """An answer to OPEN."""

    nifp_offset: int
    rings: list[Ring]


def _text(chars: Any) -> str:
    found = ffi.string(chars)
    assert isinstance(found, bytes)
    return found.decode()


def message(op: int, number: int, body: bytes = b"", fds: int = 0, **fields: int) -> bytes:
    """Return a request; `fields` are of its header, and others than they should be."""
    head = {
        "magic": lib.RP_NETDEV_MAGIC,
        "version": lib.RP_NETDEV_VERSION,
        "op": op,
        "number": number,
        "bytes": len(body),
        "fds": fds,
        **fields,
    }
    return bytes(ffi.buffer(ffi.new("struct rp_netdev_message *", head))) + body


def hello(**fields: int) -> bytes:
    """Return the body of HELLO."""
    return bytes(ffi.buffer(ffi.new("struct rp_netdev_hello *", fields)))


def opening(**fields: int) -> bytes:
    """Return the body of OPEN."""
    return bytes(ffi.buffer(ffi.new("struct rp_netdev_open *", fields)))


class NetdevClient:
    """A connection to the socket at `path`. A context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.connect()
        self.fds: list[int] = []
        self.port: Any = None
        """What was told of the port the last time: `struct rp_netdev_port`."""
        self.said = ""
        """What the answer to HELLO said in words."""
        self.changes = 0
        """How often it was told without having asked."""
        self._number = 0
        self.held: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> None:
        """Connect, a second time too."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(os.fspath(self._path))

    def close(self) -> None:
        """End, as QEMU does when it is killed."""
        self.socket.close()
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()

    def hello(self, held: list[int] | None = None, **fields: int) -> Self:
        """Say hello; take what comes. `held` are descriptors that are handed back."""
        found = self.ask(HELLO, hello(**fields), held or [])
        self.said = _text(found.head.text)
        self._told(found.body)
        if self.port.flags & lib.RP_NETDEV_KEPT:
            assert not found.fds
            return self
        self.held = found.fds
        self._take_up()
        return self

    def again(self, held: list[int] | None = None, **fields: int) -> bool:
        """Connect once more and hand back what is held; return whether it was kept."""
        self.socket.close()
        self.connect()
        what = {"region_bytes": self.size, "pairs": self.port.pairs, "peer": self.id}
        self.hello(held or self.held, **{**what, **fields})
        return bool(self.port.flags & lib.RP_NETDEV_KEPT)

    def open(self, fds: list[int] | None = None, **fields: int) -> Opened:
        """Open the rings."""
        body = self.ask(OPEN, opening(**fields), fds or []).body
        size = ffi.sizeof("struct rp_netdev_opened")
        opened: Any = ffi.from_buffer("struct rp_netdev_opened *", body[:size])
        rings = [Ring(*row) for row in attach.RING.iter_unpack(body[size:])]
        assert opened.nrings == len(rings)
        return Opened(opened.nifp_offset, rings)

    def ask(self, op: int, body: bytes = b"", fds: list[int] | None = None) -> Message:
        """Do a request; return its answer. Raises Refused."""
        self._number += 1
        self.send(message(op, self._number, body, len(fds or [])), fds)
        while True:
            found = self.receive()
            if found.head.op == CHANGED:
                assert found.head.number == 0
                self.changes += 1
                self._told(found.body)
                continue
            if found.head.error:
                raise Refused(found.head.error, _text(found.head.text))
            assert (found.head.op, found.head.number) == (op, self._number)
            return found

    def send(self, data: bytes, fds: list[int] | None = None) -> None:
        """Send a packet."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([data], rights, socket.MSG_NOSIGNAL)

    def receive(self) -> Message:
        """Return the next packet. Raises EOFError at the end."""
        size = lib.RP_NETDEV_MESSAGE_BYTES
        data, fds, flags, _ = socket.recv_fds(self.socket, size, 253)
        self.fds += fds
        if not data:
            raise EOFError
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        head: Any = ffi.new("struct rp_netdev_message *")
        ffi.memmove(head, data, _HEAD)
        assert (head.magic, head.version) == (lib.RP_NETDEV_MAGIC, lib.RP_NETDEV_VERSION)
        assert (head.bytes, head.fds) == (len(data) - _HEAD, len(fds))
        return Message(head, data[_HEAD:], fds)

    def wait_for_change(self) -> Any:
        """Wait until the backend tells of the port; return what it says."""
        found = self.receive()
        assert (found.head.op, found.head.number, found.fds) == (CHANGED, 0, [])
        self.changes += 1
        return self._told(found.body)

    def pending(self) -> bool:
        """Return whether something came, or the backend hung up."""
        return bool(select.select([self.socket], [], [], 0)[0])

    @property
    def id(self) -> int:
        """The peer id of the guest."""
        return int(self.port.peer)

    @property
    def doorbells(self) -> list[int]:
        """One of each pair."""
        return self.held[1 : 1 + self.port.pairs]

    @property
    def vectors(self) -> list[int]:
        """The others."""
        return self.held[1 + self.port.pairs :]

    @property
    def size(self) -> int:
        """Bytes of the region."""
        return int(self.port.region_bytes)

    def _told(self, body: bytes) -> Any:
        self.port = ffi.new("struct rp_netdev_port *")
        assert len(body) == ffi.sizeof(self.port[0])
        ffi.memmove(self.port, body, len(body))
        return self.port

    def _take_up(self) -> None:
        assert len(self.held) == 1 + 2 * self.port.pairs
        assert os.fstat(self.held[0]).st_size == self.size
        self.memory = mmap.mmap(self.held[0], self.size)


def netdev(daemon: Daemon, port: str) -> NetdevClient:
    """Return a client that is connected to a port, and has not said hello."""
    return NetdevClient(daemon.socket(port).with_suffix(".netdev"))


class GuestMemory:
    """Memory of a guest: a page for each array of its communication blocks. `close` it."""

    PAGE = 4096

    def __init__(self, atok_at: int = 0, ktoa_at: int = 0) -> None:
        """`*_at` say where in its page an array begins."""
        self.fd = os.memfd_create("guest", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, 3 * self.PAGE)
        self.map = mmap.mmap(self.fd, 3 * self.PAGE)
        self.atok_offset, self.ktoa_offset = self.PAGE + atok_at, 2 * self.PAGE + ktoa_at
        base = ffi.cast("uint8_t *", ffi.from_buffer(self.map))
        self.atok: Any = ffi.cast("struct nm_csb_atok *", base + self.atok_offset)
        self.ktoa: Any = ffi.cast("struct nm_csb_ktoa *", base + self.ktoa_offset)

    def close(self) -> None:
        """Let go of it; others may have it mapped."""
        os.close(self.fd)

    def truncate(self) -> None:
        """Take the pages away from all who have them mapped."""
        os.ftruncate(self.fd, 0)

    def open(self, client: NetdevClient, flags: int = 0, **fields: int) -> Opened:
        """Open the rings of a port with their blocks here."""
        offsets = {"atok_offset": self.atok_offset, "ktoa_offset": self.ktoa_offset}
        flags |= lib.RP_NETDEV_GUEST_CSB
        return client.open([self.fd, self.fd], **{"flags": flags, **offsets, **fields})

    def ring(self, client: NetdevClient, opened: Opened, number: int) -> FakeRing:
        """Return a ring whose block is here."""
        ring = FakeDriver(client).ring(opened.rings[number])
        ring.csb = SimpleNamespace(atok=self.atok[number], ktoa=self.ktoa[number])
        return ring
