# SPDX-License-Identifier: BSD-2-Clause
"""What real front ends do that breaks back ends, against a daemon in its own process.

Each test is a habit of QEMU, DPDK or User-mode Linux; afterwards frames must pass in both
directions, each byte right.
"""

import os
from collections.abc import Iterator

import pytest

from ringpass.dataplane import MemorySlot
from ringpass.vhostuser import messages as m
from ringpass.vhostuser.messages import Feature, ProtocolFeature, Request
from tests.support.miniguest import (
    BUFFER_BYTES,
    ENTRIES,
    FEATURES,
    HEADER,
    USER_ADDRESS,
    WRITE,
    MiniGuest,
    Ring,
    frame,
    wait_for,
)
from tests.support.probe import ProbedDaemon, configuration

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
VM1, VM2 = "vale0:vm1", "vale0:vm2"
RX, TX = 0, 1


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProbedDaemon]:
    text = configuration({VM1: {"queues": 2}, VM2: {}})
    with ProbedDaemon(tmp_path_factory.mktemp("d"), text) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def other(daemon: ProbedDaemon) -> Iterator[MiniGuest]:
    """Return the driver of the other port."""
    with MiniGuest(daemon.socket(VM2), mac=B) as other:
        yield other


@pytest.fixture
def guest(daemon: ProbedDaemon, other: MiniGuest) -> Iterator[MiniGuest]:
    """Return a driver that is up and has exchanged frames; it must at the end, too."""
    daemon.wait_port(VM1, "waiting")
    with MiniGuest(daemon.socket(VM1), pairs=2, mac=A) as guest:
        exchange(guest, other)
        yield guest
        exchange(guest, other)
        port = daemon.port(VM1)
        assert (port.state, port.violations) == ("up", 0)


def exchange(guest: MiniGuest, other: MiniGuest) -> None:
    """Send frames to and fro and compare them."""
    for _ in range(3):
        there, back = frame(B, A, os.urandom(100)), frame(A, B, os.urandom(100))
        guest.send(there)
        assert other.receive() == there
        other.send(back)
        assert guest.receive() == back


def stop(guest: MiniGuest, ring: Ring) -> int:
    """Stop a ring; return where."""
    body = guest.front_end.ask(Request.GET_VRING_BASE, m.VringState(ring.index, 0))
    state = m.VringState.unpack(body)
    assert state.index == ring.index
    return state.value


def describe(guest: MiniGuest, ring: Ring, base: int) -> None:
    """Say what is to be said of a ring but KICK and ENABLE."""
    say, index = guest.front_end, ring.index
    desc, used, avail = (USER_ADDRESS + at for at in (ring.desc, ring.used, ring.avail))
    say.send(Request.SET_VRING_NUM, m.VringState(index, ENTRIES))
    say.send(Request.SET_VRING_BASE, m.VringState(index, base))
    say.send(Request.SET_VRING_ADDR, m.VringAddress(index, 0, desc, used, avail, 0))
    say.send(Request.SET_VRING_CALL, m.VringFile(index), [ring.call])


def kick(guest: MiniGuest, ring: Ring) -> None:
    guest.front_end.send(Request.SET_VRING_KICK, m.VringFile(ring.index), [ring.kick])


def enable(guest: MiniGuest, ring: Ring, value: int) -> None:
    guest.front_end.ask(Request.SET_VRING_ENABLE, m.VringState(ring.index, value))


def synchronize(guest: MiniGuest) -> None:
    """Return when all that was said has been heard."""
    guest.front_end.ask(Request.GET_STATUS)


def put(ring: Ring, sent: bytes) -> None:
    """Make a frame available, without a kick."""
    number = ring.made_available % ENTRIES
    at = ring.buffers + number * BUFFER_BYTES
    ring.memory[at : at + 12 + len(sent)] = HEADER + sent
    ring.describe(number, 12 + len(sent), 0)
    ring.offer(number)


def test_stopped_ring_tells_where_and_goes_on_there(guest: MiniGuest) -> None:
    """BASE is answered and not zeroed, and the used index is what memory says."""
    bases = [stop(guest, ring) for ring in guest.rings]
    assert bases == [3, 3, 0, 0]
    assert [stop(guest, ring) for ring in guest.rings] == bases
    for ring, base in zip(guest.rings, bases, strict=True):
        assert ring.used_index() == base
        describe(guest, ring, base)
        kick(guest, ring)


def test_ring_begins_at_the_indexes_in_memory_and_they_wrap(guest: MiniGuest) -> None:
    for ring in guest.rings[:2]:
        stop(guest, ring)
        guest.reset_ring(ring)
        ring.made_available = ring.seen = 0xFFFE
        ring.words[ring.used // 2 + 1] = 0xFFFE
        ring.set_avail_index(0xFFFE)
        if ring.index == RX:
            for number in range(ENTRIES):
                ring.describe(number, BUFFER_BYTES, WRITE)
                ring.offer(number)
        describe(guest, ring, 0xFFFE)
        kick(guest, ring)


def test_kick_does_not_clear_enable(guest: MiniGuest) -> None:
    for ring in guest.rings:
        for _ in range(3):
            kick(guest, ring)
    synchronize(guest)


def test_rings_are_disabled_before_their_base_is_asked_for(guest: MiniGuest) -> None:
    for ring in guest.rings:
        enable(guest, ring, 0)
    bases = [stop(guest, ring) for ring in guest.rings]
    assert bases == [3, 3, 0, 0]
    for ring, base in zip(guest.rings, bases, strict=True):
        describe(guest, ring, base)
        kick(guest, ring)
        enable(guest, ring, 1)


def test_disabled_ring_holds_its_frames_until_it_is_enabled(
    guest: MiniGuest, other: MiniGuest
) -> None:
    ring, sent = guest.rings[TX], frame(B, A, b"wait for me")
    enable(guest, ring, 0)
    put(ring, sent)
    os.eventfd_write(ring.kick, 1)
    assert other.pending() is None
    enable(guest, ring, 1)
    assert other.receive() == sent
    wait_for(lambda: ring.take_used() is not None, "the frame to be taken")


def test_rings_run_at_once_without_bit_30(daemon: ProbedDaemon, other: MiniGuest) -> None:
    """An old front end knows neither protocol features nor ENABLE."""
    daemon.wait_port(VM1, "waiting")
    guest = MiniGuest(daemon.socket(VM1), pairs=2, mac=A)
    say = guest.front_end
    say.send(Request.SET_OWNER)
    say.send(Request.SET_FEATURES, m.Number(FEATURES & ~Feature.PROTOCOL_FEATURES))
    slot = MemorySlot(0, len(guest.memory), USER_ADDRESS, 0)
    say.send(Request.SET_MEM_TABLE, m.MemoryTable((slot,)), [guest.memory_fd])
    for number in range(ENTRIES):
        guest.rings[RX].describe(number, BUFFER_BYTES, WRITE)
        guest.rings[RX].offer(number)
    for ring in guest.rings:
        describe(guest, ring, 0)
        kick(guest, ring)
    exchange(guest, other)
    guest.close()


def test_frames_that_were_there_before_the_ring_need_no_kick(
    guest: MiniGuest, other: MiniGuest
) -> None:
    """A back end that comes back is not kicked for what is in the rings already."""
    ring, sent = guest.rings[TX], frame(B, A, b"nobody kicked")
    base = stop(guest, ring)
    put(ring, sent)
    describe(guest, ring, base)
    kick(guest, ring)
    assert other.receive() == sent
    wait_for(lambda: ring.take_used() is not None, "the frame to be taken")


def test_ring_without_kicks_is_polled(guest: MiniGuest, other: MiniGuest) -> None:
    ring, sent = guest.rings[TX], frame(B, A, b"look for yourself")
    guest.front_end.send(Request.SET_VRING_KICK, m.VringFile(ring.index | m.VringFile.NO_FD))
    synchronize(guest)
    put(ring, sent)
    assert other.receive() == sent
    wait_for(lambda: ring.take_used() is not None, "the frame to be taken")
    kick(guest, ring)


def halves(guest: MiniGuest) -> tuple[MemorySlot, MemorySlot]:
    """Return the guest's memory as two regions."""
    half = len(guest.memory) // 2
    return (
        MemorySlot(0, half, USER_ADDRESS, 0),
        MemorySlot(half, half, USER_ADDRESS + half, half),
    )


def test_memory_table_changes_under_rings_that_are_not_described_again(guest: MiniGuest) -> None:
    other_place = MemorySlot(1 << 40, 0x1000, 1 << 40, 0)
    whole = MemorySlot(0, len(guest.memory), USER_ADDRESS, 0)
    for slots in (halves(guest), (whole, other_place), (*halves(guest), other_place), (whole,)):
        fds = [guest.memory_fd] * len(slots)
        guest.front_end.send(Request.SET_MEM_TABLE, m.MemoryTable(slots), fds)
        synchronize(guest)


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_memory_of_rings_goes_and_comes_back_in_pieces(
    guest: MiniGuest, other: MiniGuest, *, stopped: bool
) -> None:
    """QEMU takes regions that changed away one by one, before it adds the new ones."""
    say = guest.front_end
    whole = MemorySlot(0, len(guest.memory), USER_ADDRESS, 0)
    if stopped:
        bases = [stop(guest, ring) for ring in guest.rings]
    assert say.ask(Request.REM_MEM_REG, m.MemoryRow(whole)) == bytes(8)
    for slot in halves(guest):
        assert say.ask(Request.ADD_MEM_REG, m.MemoryRow(slot), [guest.memory_fd]) == bytes(8)
    if stopped:
        for ring, base in zip(guest.rings, bases, strict=True):
            describe(guest, ring, base)
            kick(guest, ring)
        return
    exchange(guest, other)
    for slot in halves(guest):
        assert say.ask(Request.REM_MEM_REG, m.MemoryRow(slot)) == bytes(8)
    sent = frame(B, A, b"from a guest without memory")
    put(guest.rings[TX], sent)
    os.eventfd_write(guest.rings[TX].kick, 1)
    assert other.pending() is None
    say.ask(Request.SET_MEM_TABLE, m.MemoryTable((whole,)), [guest.memory_fd])
    assert other.receive() == sent
    wait_for(lambda: guest.rings[TX].take_used() is not None, "the frame to be taken")


def test_ring_that_starts_in_a_broken_port_does_not_end_the_session(
    daemon: ProbedDaemon, guest: MiniGuest
) -> None:
    """The driver can still reset its device, which repairs the port."""
    guest.rings[3].set_avail_index(ENTRIES + 1)
    os.eventfd_write(guest.rings[3].kick, 1)
    daemon.wait_port(VM1, "broken")
    kick(guest, guest.rings[RX])
    enable(guest, guest.rings[TX], 0)
    enable(guest, guest.rings[TX], 1)
    assert daemon.port(VM1).state == "broken"
    guest.front_end.send(Request.SET_STATUS, m.Number(0))
    guest.start()


def test_device_is_reset_by_status_and_by_request(guest: MiniGuest) -> None:
    """Both stop the rings; the driver begins anew, with new features if it wants."""
    for request, payload in (
        (Request.SET_STATUS, m.Number(0)),
        (Request.RESET_DEVICE, m.Empty()),
        (Request.RESET_OWNER, m.Empty()),
    ):
        guest.front_end.send(request, payload)
        synchronize(guest)
        guest.features ^= Feature.EVENT_IDX
        guest.start()


def test_messages_are_cut_and_joined_as_the_socket_likes(guest: MiniGuest) -> None:
    """Several in one piece, one in many pieces."""
    say = guest.front_end
    enabled = [m.VringState(ring.index, 1) for ring in guest.rings]
    words = [m.Header(Request.SET_VRING_ENABLE, 1, 8).pack() + word.pack() for word in enabled]
    say.send_raw(b"".join(words * 50))
    for byte in b"".join(words):
        say.send_raw(bytes([byte]))
    synchronize(guest)
    assert ProtocolFeature.REPLY_ACK in ProtocolFeature(
        m.Number.unpack(say.ask(Request.GET_PROTOCOL_FEATURES)).value
    )
