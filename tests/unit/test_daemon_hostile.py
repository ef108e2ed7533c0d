# SPDX-License-Identifier: BSD-2-Clause
"""Front ends that break the rules of vhost-user or virtio, against a daemon in its own process.

Whatever one does, its port alone suffers, with the reason in its status: two neighbours exchange
frames all the time and lose none, and the daemon keeps nothing of what it was given, neither
descriptors nor mappings.
"""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringpass.dataplane import MemorySlot
from ringpass.vhostuser import messages as m
from ringpass.vhostuser.messages import Feature, Request
from tests.support.miniguest import (
    DESC,
    ENTRIES,
    FEATURES,
    USER_ADDRESS,
    WRITE,
    MiniGuest,
    Ring,
    frame,
    wait_for,
)
from tests.support.neighbours import Neighbours
from tests.support.probe import ProbedDaemon, configuration
from tests.support.vhost import RawFrontEnd, encode, memfd
from tests.support.wait import wait_until

PORT, MAC = "vale0:evil", "52:54:00:00:00:66"
EVERYBODY = "ff:ff:ff:ff:ff:ff"
CALLER, CALLER_MAC = "vale0:caller", "52:54:00:00:00:67"
NEXT, INDIRECT = 1, 4
AVAIL = 1 << 7
"""The flag of an available descriptor in the first lap of a packed ring."""
PACKED = FEATURES | Feature.RING_PACKED
NO_FD = m.VringFile.NO_FD


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProbedDaemon]:
    text = configuration({name: {} for name in (PORT, CALLER, "vale0:one", "vale0:two")})
    with ProbedDaemon(tmp_path_factory.mktemp("d"), text) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def neighbours(daemon: ProbedDaemon) -> Iterator[Neighbours]:
    with Neighbours(daemon.socket("vale0:one"), daemon.socket("vale0:two")) as neighbours:
        neighbours.go_on()
        yield neighbours


@pytest.fixture(autouse=True)
def unharmed(daemon: ProbedDaemon, neighbours: Neighbours) -> Iterator[None]:
    """Compare the daemon and its other ports before and after each test."""
    daemon.wait_port(PORT, "waiting")
    before = daemon.descriptors(), mappings(daemon)
    yield
    neighbours.go_on()
    daemon.wait_port(PORT, "waiting")
    wait_until(lambda: (daemon.descriptors(), mappings(daemon)) == before, f"{before} again")
    for name in ("vale0:one", "vale0:two"):
        other = daemon.port(name)
        assert (other.sessions, other.violations, other.rx.drops) == (1, 0, {})


def mappings(daemon: ProbedDaemon) -> int:
    """Return how many pieces of guest memory the daemon has mapped."""
    return Path(f"/proc/{daemon.pid}/maps").read_text().count("memfd:guest")


# Lies in virtqueues

Attack = Callable[[MiniGuest, Ring], None]


def put(
    guest: MiniGuest, at: int, address: int, length: int, flags: int = 0, following: int = 0
) -> None:
    """Write a descriptor at an address of the guest, split or packed."""
    if guest.features & Feature.RING_PACKED:
        following, flags = flags | AVAIL, following  # a buffer's number is where split has flags
    DESC.pack_into(guest.memory, at, address, length, flags, following)


def one(guest: MiniGuest, ring: Ring, address: int, length: int, flags: int = 0) -> None:
    """Make one descriptor available."""
    put(guest, ring.desc, address, length, flags)
    ring.offer(0)


def table(guest: MiniGuest, ring: Ring, flags: int, length: int = 16) -> None:
    """Make an indirect table available whose first descriptor has `flags`."""
    put(guest, ring.buffers, ring.buffers + 4096, 64, flags)
    one(guest, ring, ring.buffers, length, INDIRECT)


def loop(guest: MiniGuest, ring: Ring) -> None:
    for number in range(ENTRIES):
        at = ring.desc + number * DESC.size
        put(guest, at, ring.buffers, 64, NEXT, (number + 1) % ENTRIES)
    ring.offer(0)


def itself(guest: MiniGuest, ring: Ring) -> None:
    put(guest, ring.desc, ring.buffers, 64, NEXT, 0)
    ring.offer(0)


def wild_next(guest: MiniGuest, ring: Ring) -> None:
    put(guest, ring.desc, ring.buffers, 64, NEXT, ENTRIES)
    ring.offer(0)


def index_ahead(_guest: MiniGuest, ring: Ring) -> None:
    ring.set_avail_index(ENTRIES + 1)


def index_backwards(_guest: MiniGuest, ring: Ring) -> None:
    ring.set_avail_index(0xFFFF)


BOTH: dict[str, tuple[Attack, str]] = {
    "outside": (lambda g, r: one(g, r, 1 << 60, 64), "outside the guest's memory"),
    "across the end": (lambda g, r: one(g, r, len(g.memory) - 32, 64), "outside the guest's"),
    "endless": (lambda g, r: one(g, r, r.buffers, 2**32 - 1), "outside the guest's memory"),
    "wraps around": (lambda g, r: one(g, r, 2**64 - 32, 64), "outside the guest's memory"),
    "write only": (lambda g, r: one(g, r, r.buffers, 64, WRITE), "may write only"),
    "nested table": (lambda g, r: table(g, r, INDIRECT), "an indirect descriptor in an indirect"),
    "crooked table": (lambda g, r: table(g, r, 0, 24), "not a multiple of 16"),
    "empty table": (lambda g, r: table(g, r, 0, 0), "not a multiple of 16"),
    "table outside": (lambda g, r: one(g, r, 1 << 60, 64, INDIRECT), "an indirect table outside"),
    "table and next": (lambda g, r: one(g, r, r.buffers, 64, INDIRECT | NEXT), "with a next one"),
}
SPLIT: dict[str, tuple[Attack, str]] = BOTH | {
    "index ahead": (index_ahead, "more than the queue's size ahead"),
    "index backwards": (index_backwards, "runs backwards"),
    "wild head": (lambda _, r: r.offer(ENTRIES), "a descriptor index beyond its table"),
    "wild next": (wild_next, "a descriptor index beyond its table"),
    "loop": (loop, "a loop"),
    "loop of one": (itself, "a loop"),
    "loop in a table": (lambda g, r: table(g, r, NEXT), "a loop"),
}
ATTACKS = [
    *(pytest.param(FEATURES, *case, id=f"split, {name}") for name, case in SPLIT.items()),
    *(pytest.param(PACKED, *case, id=f"packed, {name}") for name, case in BOTH.items()),
    pytest.param(PACKED, loop, "a loop, or longer than its table", id="packed, chain of the ring"),
]


@pytest.mark.parametrize(("features", "attack", "why"), ATTACKS)
def test_lie_in_a_transmit_ring_breaks_its_port_and_is_told(
    daemon: ProbedDaemon, features: int, attack: Attack, why: str
) -> None:
    features |= Feature.INDIRECT_DESC
    with MiniGuest(daemon.socket(PORT), mac=MAC, features=features) as guest:
        ring = guest.rings[1]
        attack(guest, ring)
        os.eventfd_write(ring.kick, 1)
        broken = daemon.wait_port(PORT, "broken")
        assert broken.reason.startswith("transmit virtqueue 0: ")
        assert why in broken.reason
        assert any(PORT in problem for problem in daemon.call("status")["problems"])
        status = m.Number.unpack(guest.front_end.ask(Request.GET_STATUS)).value
        assert status & m.DeviceStatus.NEEDS_RESET
        wait_for(lambda: daemon.port(PORT).last_error == broken.reason, "the reason to be kept")


def test_indirect_table_that_was_not_negotiated_breaks_the_port(daemon: ProbedDaemon) -> None:
    with MiniGuest(daemon.socket(PORT), mac=MAC) as guest:
        table(guest, guest.rings[1], 0)
        os.eventfd_write(guest.rings[1].kick, 1)
        assert "which was not negotiated" in daemon.wait_port(PORT, "broken").reason


def test_buffer_in_a_hole_of_memory_breaks_the_port(daemon: ProbedDaemon) -> None:
    with MiniGuest(daemon.socket(PORT), mac=MAC) as guest:
        ring, half = guest.rings[1], len(guest.memory) // 2
        slots = (
            MemorySlot(0, half, USER_ADDRESS, 0),
            MemorySlot(half + 4096, half, USER_ADDRESS + half, half),
        )
        fds = [guest.memory_fd] * 2
        guest.front_end.send(Request.SET_MEM_TABLE, m.MemoryTable(slots), fds)
        guest.front_end.ask(Request.SET_OWNER)
        assert daemon.port(PORT).state == "up"
        one(guest, ring, half - 64, 128)
        os.eventfd_write(ring.kick, 1)
        assert "outside the guest's memory" in daemon.wait_port(PORT, "broken").reason


RX_ATTACKS: dict[str, tuple[Attack, str]] = {
    "read only": (lambda g, r: one(g, r, r.buffers, 2048), "may not write"),
    "outside": (lambda g, r: one(g, r, 1 << 60, 2048, WRITE), "outside the guest's memory"),
    "index": (index_backwards, "runs backwards"),
}


@pytest.mark.parametrize("name", RX_ATTACKS)
def test_lie_in_a_receive_ring_breaks_its_port_and_frames_for_it_are_counted(
    daemon: ProbedDaemon, name: str
) -> None:
    attack, why = RX_ATTACKS[name]
    with (
        MiniGuest(daemon.socket(CALLER)) as caller,
        MiniGuest(daemon.socket(PORT), mac=MAC) as guest,
    ):
        guest.send(frame(EVERYBODY, MAC, b"here I am"))
        ring = guest.rings[0]
        guest.front_end.ask(Request.GET_VRING_BASE, m.VringState(0, 0))
        guest.reset_ring(ring)
        attack(guest, ring)
        guest.start_ring(ring)
        assert daemon.port(PORT).state == "up"
        caller.send(frame(MAC, CALLER_MAC, b"are you there?"))
        broken = daemon.wait_port(PORT, "broken")
        assert broken.reason.startswith("receive virtqueue 0: ")
        assert why in broken.reason
        before = daemon.port(CALLER).tx.drops.get("broken", 0)
        caller.send(frame(MAC, CALLER_MAC, b"or not?"))
        assert daemon.port(CALLER).tx.drops["broken"] == before + 1
    daemon.wait_port(CALLER, "waiting")


# Frames that are no frames


def chain(guest: MiniGuest, ring: Ring, *lengths: int) -> None:
    """Make a chain of buffers of these lengths available."""
    for number, length in enumerate(lengths):
        more = NEXT if number + 1 < len(lengths) else 0
        put(guest, ring.desc + number * DESC.size, ring.buffers, length, more, number + 1)
    ring.offer(0)


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        ((0,), "short"),
        ((6,), "short"),
        ((12,), "short"),
        ((6, 6), "short"),
        ((12, 13), "short"),
        ((12, 0, 0), "short"),
        ((12, 70000), "mtu"),
    ],
    ids=str,
)
def test_chain_that_is_no_frame_is_dropped_and_given_back(
    daemon: ProbedDaemon, lengths: tuple[int, ...], reason: str
) -> None:
    before = daemon.port(PORT).tx.drops.get(reason, 0)
    with MiniGuest(daemon.socket(PORT), mac=MAC) as guest:
        ring = guest.rings[1]
        chain(guest, ring, *lengths)
        os.eventfd_write(ring.kick, 1)
        wait_for(lambda: ring.used_index() == 1, "the chain to be given back")
        assert daemon.port(PORT).tx.drops[reason] == before + 1
        ring.seen = 1
        guest.send(frame(EVERYBODY, MAC, b"and now a frame"))
        assert daemon.port(PORT).state == "up"


# Messages

Speech = Callable[[RawFrontEnd], None]
STATES = (
    Request.SET_VRING_NUM,
    Request.SET_VRING_BASE,
    Request.GET_VRING_BASE,
    Request.SET_VRING_ENABLE,
)
FILES = (Request.SET_VRING_KICK, Request.SET_VRING_CALL, Request.SET_VRING_ERR)
SLOT = MemorySlot(0, 0x1000, USER_ADDRESS, 0)


def with_fds(request: int, payload: m.Payload | bytes, *kinds: str) -> Speech:
    """Return what sends one message with new descriptors."""

    def speak(front_end: RawFrontEnd) -> None:
        fds = [memfd() if kind == "memory" else os.eventfd(0) for kind in kinds]
        front_end.send(request, payload, fds)
        for fd in fds:
            os.close(fd)

    return speak


def raw(data: bytes, *kinds: str, end: bool = False) -> Speech:
    """Return what sends bytes, and hangs up then if it shall `end`."""

    def speak(front_end: RawFrontEnd) -> None:
        front_end.send_raw(data, [0 for _ in kinds])
        if end:
            front_end.socket.shutdown(socket.SHUT_WR)

    return speak


def in_two(first: bytes, second: bytes) -> Speech:
    """Return what sends bytes, and then bytes with a descriptor."""

    def speak(front_end: RawFrontEnd) -> None:
        front_end.send_raw(first)
        front_end.send_raw(second, [0])

    return speak


TWO_ROWS = struct.pack("=II", 2, 0) + m.MemoryRow(SLOT).pack()[8:]
VIOLATIONS: dict[str, tuple[Speech, str]] = {
    "truncated header": (raw(encode(1)[:7], end=True), "ended in the middle of a message"),
    "truncated payload": (raw(encode(2, bytes(8))[:-1], end=True), "ended in the middle"),
    "size too large": (raw(struct.pack("=III", 2, 1, 0xFFFFFFFF)), "a payload of 4294967295 bytes"),
    "size smaller": (raw(struct.pack("=III", 8, 1, 4) + bytes(8)), "a payload of 4 bytes"),
    "size larger": (raw(struct.pack("=III", 8, 1, 16) + bytes(16)), "a payload of 16 bytes"),
    "version 0": (raw(struct.pack("=III", 1, 0, 0)), "protocol version 0"),
    "version 3": (raw(struct.pack("=III", 1, 3, 0)), "protocol version 3"),
    "reply": (raw(struct.pack("=III", 1, 5, 0)), "a reply"),
    "descriptors late": (in_two(encode(2, bytes(8))[:12], bytes(8)), "middle of a message"),
    "nine descriptors": (raw(encode(3), *"123456789"), "more than 8 descriptors"),
    "stray descriptor": (with_fds(Request.SET_OWNER, b"", "memory"), "1 descriptors came with"),
    "two kicks": (with_fds(Request.SET_VRING_KICK, m.VringFile(0), "e", "e"), "at most 1"),
    "table without fds": (with_fds(Request.SET_MEM_TABLE, m.MemoryTable((SLOT,))), "not shared"),
    "fds without table": (
        with_fds(Request.SET_MEM_TABLE, m.MemoryTable(()), "memory"),
        "1 descriptors for 0 regions",
    ),
    "more rows than bytes": (raw(encode(5, TWO_ROWS), "1", "2"), "2 rows in 40 bytes"),
    "nine rows": (raw(encode(5, struct.pack("=II", 9, 0) + bytes(288))), "9 rows"),
    "region without fd": (with_fds(Request.ADD_MEM_REG, m.MemoryRow(SLOT)), "not shared"),
    "memory is an eventfd": (
        with_fds(Request.SET_MEM_TABLE, m.MemoryTable((SLOT,)), "eventfd"),
        "cannot map the memory",
    ),
    "kick is memory": (with_fds(Request.SET_VRING_KICK, m.VringFile(0), "memory"), "no eventfd"),
    "kick is missing": (with_fds(Request.SET_VRING_KICK, m.VringFile(0)), "missing"),
    "kick is too much": (with_fds(Request.SET_VRING_KICK, m.VringFile(NO_FD), "e"), "there altho"),
    "unknown request": (with_fds(28, b""), "not served"),
    "feature not offered": (with_fds(Request.SET_FEATURES, m.Number(1 << 17)), "CTRL_VQ"),
    "in-band calls": (with_fds(Request.SET_PROTOCOL_FEATURES, m.Number(1 << 14)), "bit 14"),
    "index in address": (
        with_fds(Request.SET_VRING_ADDR, m.VringAddress(255, 0, 0, 0, 0, 0)),
        "virtqueue 255 of a port that has 2",
    ),
}
VIOLATIONS |= {
    f"index in {request.name}": (
        with_fds(request, m.VringState(255, 1)),
        "virtqueue 255 of a port that has 2",
    )
    for request in STATES
}
VIOLATIONS |= {
    f"index in {request.name}": (with_fds(request, m.VringFile(255), "e"), "virtqueue 255")
    for request in FILES
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_message_that_breaks_a_rule_ends_its_session_alone_and_is_told(
    daemon: ProbedDaemon, name: str
) -> None:
    speak, why = VIOLATIONS[name]
    before = daemon.port(PORT).violations
    with RawFrontEnd.connect(daemon.socket(PORT)) as front_end:
        front_end.send(Request.SET_PROTOCOL_FEATURES, m.Number(m.ProtocolFeature.REPLY_ACK))
        speak(front_end)
        assert front_end.closed()
    port = daemon.port(PORT)
    assert port.violations == before + 1
    assert why in port.last_error


def test_unknown_request_with_need_reply_is_refused_and_the_session_goes_on(
    daemon: ProbedDaemon,
) -> None:
    with MiniGuest(daemon.socket(PORT), mac=MAC) as guest:
        assert guest.front_end.ask(4000, b"what?") == m.Number(1).pack()
        assert guest.front_end.ask(Request.SET_OWNER) == m.Number(0).pack()
        guest.send(frame(EVERYBODY, MAC, b"no harm done"))


def test_region_is_removed_with_a_descriptor_that_nobody_needs(daemon: ProbedDaemon) -> None:
    other = MemorySlot(1 << 40, 0x1000, 1 << 40, 0)
    with MiniGuest(daemon.socket(PORT), mac=MAC) as guest:
        guest.front_end.ask(Request.SET_OWNER)
        before = daemon.descriptors()
        for _ in range(20):
            guest.front_end.ask(Request.ADD_MEM_REG, m.MemoryRow(other), [guest.memory_fd])
            guest.front_end.ask(Request.REM_MEM_REG, m.MemoryRow(other), [guest.memory_fd])
        assert daemon.descriptors() == before
        guest.send(frame(EVERYBODY, MAC, b"still here"))


def test_queries_that_are_never_answered_do_not_hold_others_up(daemon: ProbedDaemon) -> None:
    """The front end asks and asks, and does not read what it is told."""

    def ask(front_end: RawFrontEnd) -> None:
        for _ in range(100_000):
            front_end.send_raw(encode(Request.GET_FEATURES) * 32)

    with RawFrontEnd.connect(daemon.socket(PORT)) as front_end:
        with pytest.raises(ConnectionError):
            ask(front_end)
        assert "does not read the replies" in daemon.port(PORT).last_error
