# SPDX-License-Identifier: BSD-2-Clause
"""A guest that maps a port's region, and the QEMU that it runs in, played by a test.

It has what a guest has and no more: the memory and the eventfds that came over the socket. Its
driver is as simple as one can be.
"""

import array
import mmap
import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

from ringpass._dp import ffi
from ringpass.netmap.abi import Body, LegacyRequest, Register, Request, chars
from ringpass.netmap.session import Operation
from ringpass.passthrough.guest import Op
from tests.support.daemon import Daemon
from tests.support.miniguest import frame
from tests.support.netmap import Answer, Ring, control, message, parse
from tests.support.wait import PATIENCE_S, wait_until

TX, RX = 1, 0
RARP = b"\x80\x35"
_DIRECTORY_BYTES = 4096
_WORD = struct.Struct("<q")


class Refused(Exception):
    """The server turned the client away, or hung up."""


class FakeQemu:
    """A client of the ivshmem server at `path` whose device has `vectors`. A context manager."""

    def __init__(self, path: Path, vectors: int) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(os.fspath(path))
        self.fds: list[int] = []
        self.doorbells: list[int] = []
        self.vectors: list[int] = []
        try:
            self.version = self._word()[0]
            if self.version:
                raise Refused(os.strerror(-self.version))
            self.id: int = self._word()[0]
            number, memory = self._word()
            assert number == -1
            for _ in range(2 * vectors):
                peer, fd = self._word()
                assert peer in (0, self.id)
                (self.doorbells if peer == 0 else self.vectors).append(fd)
        except BaseException:
            self.close()
            raise
        self.size = os.fstat(memory).st_size
        self.memory = mmap.mmap(memory, self.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End, as QEMU does when it is killed."""
        self.socket.close()
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()

    def extra_word(self, timeout: float) -> bytes:
        """Return what else the server says within so many seconds."""
        return self.socket.recv(4096) if select.select([self.socket], [], [], timeout)[0] else b""

    @staticmethod
    def signalled(eventfd: int) -> bool:
        """Return whether an eventfd was signalled."""
        return bool(select.select([eventfd], [], [], 0)[0])

    def _word(self) -> tuple[int, int]:
        data, controls, _, _ = self.socket.recvmsg(_WORD.size, socket.CMSG_SPACE(4))
        if not data:
            raise Refused
        fds = array.array("i")
        for _, _, rights in controls:
            fds.frombytes(rights)
        self.fds += fds
        assert len(fds) <= 1
        return _WORD.unpack(data)[0], fds[0] if fds else -1


class Machine(Protocol):
    """What a guest runs in: the memory and the eventfds that its QEMU has."""

    memory: mmap.mmap

    @property
    def id(self) -> int:
        """Its peer id."""

    @property
    def doorbells(self) -> list[int]:
        """What wakes the backend."""

    @property
    def vectors(self) -> list[int]:
        """What wakes the guest."""


class FakeDriver:
    """The driver of a guest in `qemu`. It says hello with `generation`."""

    def __init__(self, qemu: Machine, generation: int = 1) -> None:
        self.qemu = qemu
        self.generation = generation
        self.base = ffi.cast("uint8_t *", ffi.from_buffer(qemu.memory))
        directory: Any = ffi.cast("struct rp_directory *", self.base)
        pool = directory.guest_pool
        records: list[Any] = [
            ffi.cast("struct rp_guest *", self.base + pool.offset + i * pool.objsize)
            for i in range(pool.objtotal)
        ]
        self.csbs = directory.csb_pool
        self.record: Any = next(row for row in records if row.peer == qemu.id)
        self.page: Any = ffi.cast("struct rp_guest_request *", self.record + 1)

    def hello(self) -> Answer:
        """Begin."""
        return self.ask(Op.HELLO)

    def begin(self, op: int, number: int = 0, data: bytes = b"") -> None:
        """Write a request and ring."""
        self.page.op, self.page.open, self.page.bytes = op, number, len(data)
        self.page.generation = self.generation
        ffi.memmove(self.page.data, data, len(data))
        self.page.sent = (self.record.answered + 1) % 2**32
        self.doorbell(0)

    def ask(self, op: int, number: int = 0, data: bytes = b"") -> Answer:
        """Do a request and wait for its answer."""
        self.begin(op, number, data)
        while self.record.answered != self.page.sent:
            self.wait(0)
        return parse(bytes(ffi.buffer(self.record.answer, self.record.answer_bytes)))

    def control(
        self,
        kind: int,
        name: str,
        body: Body | bytes | None = None,
        options: bytes = b"",
        number: int = 0,
    ) -> Answer:
        """Do an ioctl(NIOCCTRL) on the open `number`."""
        data = message(Operation.CTRL, control(kind, name, body, options))
        return self.ask(Op.CALL, number, data)

    def register(
        self, name: str = "rp0", number: int = 0, options: bytes = b"", **fields: int
    ) -> Answer:
        """Register rings; all of them unless `mode` says otherwise."""
        body = Register(**{"mode": 1, **fields})
        return self.control(Request.REGISTER, name, body, options, number)

    def legacy(self, name: str, op: Operation = Operation.REGIF, **fields: int) -> Answer:
        """Do an ioctl with the older `struct nmreq`."""
        return self.ask(Op.CALL, 0, message(op, LegacyRequest(chars(name), **fields).pack()))

    def close(self, number: int = 0) -> Answer:
        """End the open `number`."""
        return self.ask(Op.CLOSE, number)

    def doorbell(self, vector: int) -> None:
        """Write (0, `vector`) to the device's doorbell register."""
        os.eventfd_write(self.qemu.doorbells[vector], 1)

    def wait(self, vector: int, timeout: float = PATIENCE_S) -> None:
        """Wait for an interrupt."""
        fd = self.qemu.vectors[vector]
        assert select.select([fd], [], [], timeout)[0], f"no interrupt on vector {vector}"
        os.eventfd_read(fd)

    def ring(self, ring: Ring) -> "FakeRing":
        """Return a ring of an attachment."""
        return FakeRing(self, ring)


class FakeRing:
    """A ring that a guest has open: netmap's words, and its communication block."""

    def __init__(self, driver: FakeDriver, told: Ring) -> None:
        self.told = told
        self._driver = driver
        self.ring: Any = ffi.cast("struct netmap_ring *", driver.base + told.ring_offset)
        self.csb: Any = ffi.cast("struct rp_csb *", driver.base + driver.csbs.offset) + told.csb

    def send(self, *frames: bytes) -> None:
        """Put frames into a tx ring that the backend syncs, and kick."""
        head = self.csb.atok.head
        for data in frames:
            # What others received already may not be given back yet.
            wait_until(partial(self._room, head), "room in the ring")
            slot = self.ring.slot[head]
            ffi.memmove(self._buffer(slot), data, len(data))
            slot.len, slot.flags = len(data), 0
            head = (head + 1) % self.ring.num_slots
        self.csb.atok.cur = head
        self.csb.atok.head = head
        self._driver.doorbell(self.told.kick)

    def receive(self, timeout: float = PATIENCE_S) -> list[bytes]:
        """Wait for frames in an rx ring, and return all that are there."""
        self.csb.atok.appl_need_kick = 1
        if not self.pending():
            self._driver.wait(self.told.call, timeout)
        self.csb.atok.appl_need_kick = 0
        head, tail, frames = self.csb.atok.head, self.csb.ktoa.hwtail, []
        while head != tail:
            slot = self.ring.slot[head]
            frames.append(bytes(ffi.buffer(self._buffer(slot), slot.len)))
            head = (head + 1) % self.ring.num_slots
        self.csb.atok.head = head
        return frames

    def _room(self, head: int) -> bool:
        return bool(head != self.csb.ktoa.hwtail)

    def pending(self) -> bool:
        """Return whether an rx ring has frames."""
        return bool(self.csb.ktoa.hwtail != self.csb.atok.head)

    def _buffer(self, slot: Any) -> Any:
        at = ffi.cast("uint8_t *", self.ring) + self.ring.buf_ofs
        return at + slot.buf_idx * self.ring.nr_buf_size


def held(daemon: Daemon) -> tuple[int, list[str], int]:
    """Return what the daemon has: descriptors, ports, regions."""
    status = daemon.call("status")
    fds = len(list(Path(f"/proc/{status['pid']}/fd").iterdir()))
    return fds, [port["name"] for port in status["ports"]], len(status["regions"])


@contextmanager
def nothing_left(daemon: Daemon) -> Iterator[None]:
    """What is done meanwhile leaves nothing in the daemon."""
    before = held(daemon)
    yield

    def given_back() -> bool:
        now = held(daemon)
        # What was here before may have been about to be closed.
        return now[0] <= before[0] and now[1:] == before[1:]

    wait_until(given_back, f"{before} again")


@contextmanager
def serving(place: Path, text: str) -> Iterator[Daemon]:
    """Run a daemon in `place` that has had a guest at vale0:a.

    What passes wake-ups on starts with the first guest, and stays.
    """
    with Daemon(place, text) as daemon:
        qemu(daemon, "vale0:a").close()
        wait_until(lambda: daemon.call("port.show", name="vale0:a")["guest"] is None, "its end")
        yield daemon


def qemu(daemon: Daemon, port: str) -> FakeQemu:
    """Return a QEMU that is connected to a port."""
    return FakeQemu(daemon.socket(port), daemon.call("port.show", name=port)["vectors"])


def address(name: str) -> str:
    """Return the MAC address of the guest at vale0:NAME, a letter up to f."""
    return f"52:54:00:00:00:0{name}"


def numbered(number: int, to: str = "b", sender: str = "a") -> bytes:
    """Return a frame from one guest to another."""
    return frame(address(to), address(sender), b"%d" % number)


def receive(ring: FakeRing, wanted: list[bytes]) -> None:
    """Wait for exactly these frames; who announces itself does not count."""
    got: list[bytes] = []
    while len(got) < len(wanted):
        got += [each for each in ring.receive() if each[12:14] != RARP]
    assert got == wanted


def restart(daemon: Daemon) -> None:
    """Kill the daemon and start it again."""
    daemon.kill()
    daemon.start()


def booted(client: Machine, generation: int = 1) -> FakeDriver:
    """Return a driver that said hello."""
    driver = FakeDriver(client, generation)
    assert driver.hello().error == 0
    return driver
