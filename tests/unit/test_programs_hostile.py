# SPDX-License-Identifier: BSD-2-Clause
"""Programs that lie in their rings, in requests, or vanish, beside two guests who exchange frames.

Whatever a program does, its own port is all that suffers, and the daemon keeps nothing of it.
"""

import fcntl
import mmap
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ringpass._dp import ffi
from ringpass.netmap.abi import Request
from tests.support.miniguest import MiniGuest, frame
from tests.support.netmap import Answer, Program
from tests.support.probe import ProbedDaemon
from tests.support.wait import wait_until

ONE, TWO, PROGRAM = "52:54:00:00:00:0a", "52:54:00:00:00:0b", "52:54:00:00:00:0c"
PORT = "vale0:program"
CONFIG = """
[switch.vale0]
[port."vale0:one"]
[port."vale0:two"]
"""

CSB_BYTES = int(ffi.sizeof("struct rp_csb"))
CSB_POOL = int(ffi.offsetof("struct rp_directory", "csb_pool"))
NUM_SLOTS, SLOTS = (int(ffi.offsetof("struct netmap_ring", at)) for at in ("num_slots", "slot"))
SLOT = struct.Struct("<IHHQ")
MOREFRAG = 0x20


class Rings:
    """What a program maps of its port: any byte of it may be written. A context manager."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.map = mmap.mmap(answer.fds[0], os.fstat(answer.fds[0]).st_size)
        (self.tx,) = (ring for ring in answer.rings if ring.dir == 1)
        (csbs,) = struct.unpack_from("<Q", self.map, CSB_POOL)
        self.csb = csbs + CSB_BYTES * self.tx.csb
        (self.slots,) = struct.unpack_from("<I", self.map, self.tx.ring_offset + NUM_SLOTS)

    def __enter__(self) -> "Rings":
        return self

    def __exit__(self, *_: object) -> None:
        self.map.close()
        self.answer.close()

    def slot(self, number: int, length: int, flags: int = 0, buf_idx: int | None = None) -> None:
        """Fill a slot of the tx ring; its buffer stays unless there is another one."""
        at = self.tx.ring_offset + SLOTS + SLOT.size * number
        own = SLOT.unpack_from(self.map, at)[0]
        SLOT.pack_into(self.map, at, own if buf_idx is None else buf_idx, length, flags, 0)

    def fill(self, number: int, data: bytes) -> None:
        """Put a frame into a slot of the tx ring."""
        buf_ofs, _, buf_bytes = struct.unpack_from("<qII", self.map, self.tx.ring_offset)
        at = self.tx.ring_offset + SLOTS + SLOT.size * number
        start = self.tx.ring_offset + buf_ofs + SLOT.unpack_from(self.map, at)[0] * buf_bytes
        self.map[start : start + len(data)] = data
        self.slot(number, len(data))

    def head(self, head: int) -> None:
        """Hand over the slots before `head`, and kick."""
        struct.pack_into("<II", self.map, self.csb, head & 0xFFFFFFFF, head & 0xFFFFFFFF)
        os.eventfd_write(self.answer.fds[self.tx.kick], 1)


@pytest.fixture(scope="module")
def daemon() -> Iterator[ProbedDaemon]:
    with (
        TemporaryDirectory(prefix="rp-") as directory,
        ProbedDaemon(Path(directory), CONFIG) as daemon,
    ):
        yield daemon


@pytest.fixture(scope="module")
def guests(daemon: ProbedDaemon) -> Iterator[tuple[MiniGuest, MiniGuest]]:
    one, two = daemon.socket("vale0:one"), daemon.socket("vale0:two")
    with MiniGuest(one) as first, MiniGuest(two) as second:
        yield first, second


def exchange(guests: tuple[MiniGuest, MiniGuest], payload: bytes = b"payload") -> None:
    """Let the guests send each other a frame."""
    one, two = guests
    there, back = frame(TWO, ONE, payload), frame(ONE, TWO, payload)
    one.send(there)
    until(two, there)
    two.send(back)
    until(one, back)


def until(guest: MiniGuest, expected: bytes) -> None:
    """Take frames up to the expected one; others are of the program, for nobody in particular."""
    while guest.receive() != expected:
        pass


@pytest.fixture(autouse=True)
def unharmed(daemon: ProbedDaemon, guests: tuple[MiniGuest, MiniGuest]) -> Iterator[None]:
    """Compare the daemon before and after each test; its guests must get through."""
    exchange(guests)
    before = state(daemon)
    yield
    exchange(guests)
    wait_until(lambda: state(daemon) == before, f"the daemon is as it was: {before}")


def state(daemon: ProbedDaemon) -> tuple[int, list[str], list[str]]:
    """Return what a program could leave behind: descriptors, ports, interfaces of the host."""
    ports = [port["name"] for port in daemon.call("port.list")]
    return daemon.descriptors(), ports, sorted(name for _, name in socket.if_nameindex())


@pytest.fixture
def program(daemon: ProbedDaemon) -> Iterator[Program]:
    with Program(daemon.runtime_dir / "netmap.sock") as program:
        yield program


def registered(program: Program, name: str = PORT) -> Rings:
    """Return the rings of a port."""
    answer = program.register(name)
    assert answer.error == 0, answer.text
    return Rings(answer)


def short_chain(rings: Rings) -> None:
    """All but the last slot say that more follows."""
    for number in range(rings.slots - 1):
        rings.slot(number, 60, MOREFRAG)
    rings.head(rings.slots - 1)


def noise(rings: Rings) -> None:
    """Every word of the CSB is anything."""
    for _ in range(20):
        rings.map[rings.csb : rings.csb + CSB_BYTES] = os.urandom(CSB_BYTES)
        os.eventfd_write(rings.answer.fds[rings.tx.kick], 1)
        time.sleep(0.001)


def noise_in_the_ring(rings: Rings) -> None:
    """Every word of the ring, and of all slots, is anything."""
    end = rings.tx.ring_offset + SLOTS + SLOT.size * rings.slots
    rings.map[rings.tx.ring_offset : end] = os.urandom(end - rings.tx.ring_offset)
    rings.head(rings.slots - 1)


def noise_in_the_directory(rings: Rings) -> None:
    """The backend never reads back what it wrote there."""
    tail = os.urandom(4096)
    rings.map[0:4096] = tail
    rings.slot(0, 60)
    rings.head(1)


def lying_slot(**slot: int) -> Callable[[Rings], None]:
    """Send one slot that is not what a slot may be."""

    def send(rings: Rings) -> None:
        rings.slot(0, **slot)
        rings.head(1)

    return send


#: What a program does, and what is said of its port; empty: it is not broken by that.
LIES: dict[str, tuple[Callable[[Rings], None], str]] = {
    "head beyond the ring": (lambda rings: rings.head(rings.slots), "head"),
    "head of all ones": (lambda rings: rings.head(-1), "head"),
    "buffer outside the region": (lying_slot(length=60, buf_idx=0xFFFFFFFF), "buffer"),
    "buffer that is reserved": (lying_slot(length=60, buf_idx=0), "buffer"),
    "length over the buffer": (lying_slot(length=0xFFFF), "length"),
    "chain without an end": (short_chain, ""),
    "noise in the CSB": (noise, ""),
    "noise in the ring": (noise_in_the_ring, ""),
    "noise in the directory": (noise_in_the_directory, ""),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_program_that_lies_hurts_itself_alone(
    daemon: ProbedDaemon, program: Program, guests: tuple[MiniGuest, MiniGuest], lie: str
) -> None:
    tell, why = LIES[lie]
    with registered(program) as rings:
        tell(rings)
        if why:
            assert why in daemon.wait_port(PORT, "broken").reason
        exchange(guests)
    program.close()
    wait_until(lambda: PORT not in state(daemon)[1], "the port is gone")
    with Program(daemon.runtime_dir / "netmap.sock") as again, registered(again) as rings:
        rings.slot(0, 60)
        rings.head(1)
        wait_until(lambda: daemon.port(PORT).tx.frames == 1, "a new open works")


def test_a_program_sees_nothing_of_what_others_send(
    program: Program, guests: tuple[MiniGuest, MiniGuest], daemon: ProbedDaemon
) -> None:
    secret = os.urandom(32)
    with (
        registered(program) as rings,
        Program(daemon.runtime_dir / "netmap.sock") as other,
        registered(other, "vale0:other") as theirs,
    ):
        exchange(guests, secret)
        assert rings.map.find(secret) < 0
        theirs.map[-len(secret) :] = secret
        assert rings.map.find(secret) < 0
        ours, others = (
            {(found.st_dev, found.st_ino) for found in map(os.fstat, answer.fds[:1])}
            for answer in (rings.answer, theirs.answer)
        )
        assert not ours & others
        kinds = {str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in rings.answer.fds[1:]}
        assert kinds == {"anon_inode:[eventfd]"}


def test_a_region_cannot_be_truncated_or_grown(program: Program) -> None:
    with registered(program) as rings:
        region = rings.answer.fds[0]
        seals = fcntl.fcntl(region, fcntl.F_GET_SEALS)
        assert seals & fcntl.F_SEAL_SHRINK
        assert seals & fcntl.F_SEAL_GROW
        for size in (0, len(rings.map) // 2, len(rings.map) * 2):
            with pytest.raises(PermissionError):
                os.ftruncate(region, size)


def test_a_descriptor_closed_twice_is_closed_once(program: Program) -> None:
    with registered(program) as rings:
        for fd in rings.answer.fds[1:]:
            os.close(fd)
        del rings.answer.fds[1:]
        rings.map[rings.csb : rings.csb + 8] = struct.pack("<II", 1, 1)
    program.close()
    program.close()


def test_programs_killed_with_frames_underway_leave_nothing(daemon: ProbedDaemon) -> None:
    child = os.fork()
    if child == 0:
        send_for_a_while(daemon.runtime_dir / "netmap.sock")
    try:
        wait_until(lambda: PORT in state(daemon)[1], "the port is there")
        wait_until(lambda: daemon.port(PORT).tx.frames > 1000, "frames are underway")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    wait_until(lambda: PORT not in state(daemon)[1], "the port is gone")


def send_for_a_while(path: Path) -> None:
    """Send frames, faster than the backend takes them, until killed; never return."""
    try:
        signal.alarm(60)
        program = Program(path)  # its rings are its own as long as it is connected
        rings = registered(program)
        for number in range(rings.slots):
            rings.fill(number, frame(PROGRAM, PROGRAM, b"for nobody else"))
        head = 0
        while True:
            head = (head + 16) % rings.slots
            rings.head(head)
            time.sleep(0.0001)
    finally:
        os._exit(1)


@pytest.mark.parametrize("request_type", list(Request))
@pytest.mark.parametrize("byte", [b"\x00", b"\x7f", b"\xff"])
def test_requests_with_every_field_at_its_limit_have_an_answer(
    program: Program, request_type: Request, byte: bytes
) -> None:
    for size in (0, 8, 40, 64, 256):
        with program.control(request_type, PORT, byte * size) as answer:
            assert answer.error >= 0
            assert answer.error == 0 or answer.text
    with program.control(request_type, "\xff" * 64, byte * 64) as answer:
        assert answer.error > 0
