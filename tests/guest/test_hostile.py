# SPDX-License-Identifier: BSD-2-Clause
"""A front end that lies or vanishes, next to two guests that exchange numbered frames all the time.

Whatever it does, its own port is all that suffers: the guests lose no frame, and the daemon keeps
nothing of what it was given.
"""

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from ringpass.dataplane import MemorySlot
from ringpass.image import Image
from ringpass.vhostuser import messages as m
from ringpass.vhostuser.messages import Request
from tests.support import faults, traffic
from tests.support.lab import Lab, Station
from tests.support.miniguest import DESC, ENTRIES, FEATURES, USER_ADDRESS, MiniGuest, Ring
from tests.support.vhost import encode
from tests.support.wait import wait_until

pytestmark = pytest.mark.guest

PORT = "vale0:vm1"
MAC = "02:00:00:00:00:99"
HELLO = bytes.fromhex("ffffffffffff" + MAC.replace(":", "") + "88b6" + 46 * "00")
"""A frame to everybody, of a type that the guests have no use for."""

TX = 1
"""The transmit queue of the first pair."""

NEXT = 1
"""The flag of a descriptor that another one follows."""


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    patient = {"hold_us": 1_000_000}
    with Lab(image, {PORT: {}, "vale0:vm3": patient, "vale0:vm4": patient}) as lab:
        yield lab


@pytest.fixture(scope="module")
def guests(lab: Lab) -> Iterator[list[Station]]:
    """Return two guests with a stream of frames between them, all of which must have arrived."""
    guests = lab.up("uml3", "uml4")
    with traffic.Stream(*guests):
        yield guests


@pytest.fixture(autouse=True)
def unharmed(lab: Lab, guests: list[Station]) -> Iterator[None]:
    """Compare the daemon and the guests' ports before and after each test."""
    descriptors = lab.daemon.descriptors()
    before = [lab.daemon.port(guest.port) for guest in guests]
    frames = frames_of(lab, guests)
    yield
    lab.daemon.wait_port(PORT, "waiting")
    wait_until(lambda: lab.daemon.descriptors() == descriptors, f"{descriptors} descriptors")
    wait_until(lambda: frames_of(lab, guests) > frames, "the guests' frames go on")
    for port in before:
        now = lab.daemon.port(port.name)
        assert (now.sessions, now.rx.drops) == (port.sessions, port.rx.drops)


def frames_of(lab: Lab, guests: list[Station]) -> int:
    """Return how many frames the guests have received."""
    return sum(lab.daemon.port(guest.port).rx.frames for guest in guests)


@pytest.fixture
def attacker(lab: Lab) -> Iterator[MiniGuest]:
    with MiniGuest(lab.daemon.socket(PORT)) as attacker:
        yield attacker


Said = tuple[Request, m.Payload | bytes, list[int]]


def conversation(guest: MiniGuest) -> list[Said]:
    """Return what QEMU says, in its order, from connecting to giving a running device up."""
    slot = MemorySlot(0, len(guest.memory), USER_ADDRESS, 0)
    rings = [m.VringState(ring.index, 1) for ring in guest.rings]
    said: list[Said] = [
        (Request.GET_FEATURES, b"", []),
        (Request.GET_PROTOCOL_FEATURES, b"", []),
        (Request.SET_PROTOCOL_FEATURES, m.Number(m.ProtocolFeature.STATUS), []),
        (Request.GET_QUEUE_NUM, b"", []),
        (Request.SET_OWNER, b"", []),
        *((Request.SET_VRING_CALL, m.VringFile(r.index), [r.call]) for r in guest.rings),
        *((Request.SET_VRING_ENABLE, state, []) for state in rings),
        (Request.SET_FEATURES, m.Number(FEATURES), []),
        (Request.GET_STATUS, b"", []),
        (Request.SET_STATUS, m.Number(m.DeviceStatus.DRIVER), []),
        (Request.SET_MEM_TABLE, m.MemoryTable((slot,)), [guest.memory_fd]),
    ]
    for ring in guest.rings:
        address = m.VringAddress(ring.index, 0, *user_addresses(ring), 0)
        said += [
            (Request.SET_VRING_NUM, m.VringState(ring.index, ENTRIES), []),
            (Request.SET_VRING_BASE, m.VringState(ring.index, 0), []),
            (Request.SET_VRING_ADDR, address, []),
            (Request.SET_VRING_KICK, m.VringFile(ring.index), [ring.kick]),
            (Request.SET_VRING_CALL, m.VringFile(ring.index), [ring.call]),
        ]
    said += [
        (Request.SET_STATUS, m.Number(m.DeviceStatus.DRIVER_OK), []),
        (Request.SET_STATUS, m.Number(0), []),
        *((Request.GET_VRING_BASE, m.VringState(r.index, 0), []) for r in guest.rings),
    ]
    return said


def user_addresses(ring: Ring) -> tuple[int, int, int]:
    """Return where descriptors, used and avail ring are, as the front end numbers its memory."""
    return USER_ADDRESS + ring.desc, USER_ADDRESS + ring.used, USER_ADDRESS + ring.avail


def say(guest: MiniGuest, said: list[Said]) -> None:
    """Send messages, and wait for the answers to those that have one."""
    for request, payload, fds in said:
        guest.front_end.send(request, payload, fds)
        if request.name.startswith("GET_"):
            guest.front_end.receive()


#: One queue pair's worth; the test below fails if `conversation` becomes another length.
MESSAGES = 27


@pytest.mark.parametrize("whole", range(MESSAGES + 1))
def test_front_end_vanishes_between_two_messages(lab: Lab, whole: int) -> None:
    with contextlib.closing(MiniGuest(lab.daemon.socket(PORT))) as guest:
        said = conversation(guest)
        assert len(said) == MESSAGES
        say(guest, said[:whole])


@pytest.mark.parametrize("whole", range(MESSAGES))
def test_front_end_vanishes_in_the_middle_of_a_message(lab: Lab, whole: int) -> None:
    """Its descriptors, which come with the first byte, are closed."""
    violations = lab.daemon.port(PORT).violations
    with contextlib.closing(MiniGuest(lab.daemon.socket(PORT))) as guest:
        said = conversation(guest)
        say(guest, said[:whole])
        request, payload, fds = said[whole]
        guest.front_end.send_raw(encode(request, payload)[:-1], fds)
    wait_until(lambda: lab.daemon.port(PORT).violations == violations + 1, "the end is noticed")
    assert lab.daemon.port(PORT).last_error == "the connection ended in the middle of a message"


Attack = Callable[[MiniGuest], None]


def index_ahead(guest: MiniGuest) -> None:
    guest.rings[TX].set_avail_index(ENTRIES + 1)


def index_backwards(guest: MiniGuest) -> None:
    guest.send(HELLO)
    guest.rings[TX].set_avail_index(0)


def descriptor_loop(guest: MiniGuest) -> None:
    ring = guest.rings[TX]
    for number in range(ENTRIES):
        describe(guest, number, ring.buffers, 64, NEXT, (number + 1) % ENTRIES)
    ring.offer(0)


def descriptor_outside(guest: MiniGuest) -> None:
    describe(guest, 0, len(guest.memory) - 32, 64, 0, 0)
    guest.rings[TX].offer(0)


def descriptor_unknown(guest: MiniGuest) -> None:
    guest.rings[TX].offer(ENTRIES)


def memory_cut_off(guest: MiniGuest) -> None:
    os.ftruncate(guest.memory_fd, 0)


def describe(
    guest: MiniGuest, number: int, address: int, length: int, flags: int, following: int
) -> None:
    """Write a descriptor of the transmit queue."""
    at = guest.rings[TX].desc + number * DESC.size
    DESC.pack_into(guest.memory, at, address, length, flags, following)


ATTACKS: dict[Attack, str] = {
    index_ahead: "the avail index runs backwards or more than the queue's size ahead",
    index_backwards: "the avail index runs backwards or more than the queue's size ahead",
    descriptor_loop: "a descriptor chain that is a loop",
    descriptor_outside: "a descriptor outside the guest's memory",
    descriptor_unknown: "a descriptor index beyond its table",
    memory_cut_off: "the front end truncated the guest's memory",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_lie_breaks_the_port_and_its_reason_is_told(lab: Lab, attack: Attack) -> None:
    """Until the next front end, who finds a port like new."""
    with MiniGuest(lab.daemon.socket(PORT)) as attacker:
        attack(attacker)
        os.eventfd_write(attacker.rings[TX].kick, 1)
        assert ATTACKS[attack] in lab.daemon.wait_port(PORT, "broken").reason
        assert ATTACKS[attack] in lab.daemon.run("status").stdout
    with MiniGuest(lab.daemon.socket(PORT)) as other:
        other.send(HELLO)
        assert lab.daemon.port(PORT).state == "up"


@pytest.mark.parametrize("ring", [0, TX], ids=["receive", "transmit"])
def test_ring_outside_memory_ends_the_session(lab: Lab, attacker: MiniGuest, ring: int) -> None:
    say = attacker.front_end
    violations = lab.daemon.port(PORT).violations
    desc, _used, avail = user_addresses(attacker.rings[ring])
    beyond = USER_ADDRESS + len(attacker.memory) - 16
    say.send(Request.SET_VRING_ADDR, m.VringAddress(ring, 0, desc, beyond & ~3, avail, 0))
    assert say.closed()
    status = lab.daemon.wait_port(PORT, "waiting")
    assert status.violations == violations + 1
    assert "the used ring at" in status.last_error
    assert "does not lie in one region of the guest's memory" in status.last_error
    assert status.last_error in lab.daemon.run("status").stdout


def test_memory_is_cut_off_while_frames_are_written_into_it(
    lab: Lab, guests: list[Station]
) -> None:
    """Again and again, for there are many places where a worker may just be."""
    sender = guests[0]
    for _ in range(5):
        with MiniGuest(lab.daemon.socket(PORT)) as attacker:
            attacker.send(HELLO)
            faults.flood_in_background(sender, MAC)
            attacker.receive()
            os.ftruncate(attacker.memory_fd, 0)
            assert "truncated" in lab.daemon.wait_port(PORT, "broken").reason
            faults.end_flood(sender)
