# SPDX-License-Identifier: BSD-2-Clause
"""A second front end at a port, that stands by: right or wrong, the first one's frames go on.

Against a daemon in its own process; it must keep nothing of either when both are gone.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass.dataplane import MemorySlot
from ringpass.vhostuser import messages as m
from ringpass.vhostuser.messages import Request
from tests.support.miniguest import ENTRIES, USER_ADDRESS, MiniGuest, frame, wait_for
from tests.support.probe import ProbedDaemon, configuration
from tests.support.vhost import RawFrontEnd, memfd
from tests.support.wait import wait_until

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
VM1, VM2 = "vale0:vm1", "vale0:vm2"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProbedDaemon]:
    with ProbedDaemon(tmp_path_factory.mktemp("d"), configuration({VM1: {}, VM2: {}})) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def other(daemon: ProbedDaemon) -> Iterator[MiniGuest]:
    """Return the driver of the other port."""
    with MiniGuest(daemon.socket(VM2), mac=B) as other:
        yield other


@pytest.fixture
def holder(daemon: ProbedDaemon, other: MiniGuest) -> Iterator[MiniGuest]:
    """Return the driver that has the port; nothing of it and its standby is kept."""
    daemon.wait_port(VM1, "waiting")
    before = daemon.descriptors(), mappings(daemon)
    with MiniGuest(daemon.socket(VM1), mac=A) as holder:
        exchange(holder, other)
        yield holder
    daemon.wait_port(VM1, "waiting")
    wait_until(lambda: (daemon.descriptors(), mappings(daemon)) == before, f"{before} again")


def mappings(daemon: ProbedDaemon) -> int:
    """Return how many pieces of guest memory the daemon has mapped."""
    return Path(f"/proc/{daemon.pid}/maps").read_text().count("memfd:guest")


def exchange(guest: MiniGuest, other: MiniGuest) -> None:
    """Send frames to and fro and compare them."""
    for _ in range(3):
        there, back = frame(B, A, os.urandom(100)), frame(A, B, os.urandom(100))
        guest.send(there)
        assert other.receive() == there
        other.send(back)
        assert guest.receive() == back


def test_standby_takes_over_when_the_holder_goes(
    daemon: ProbedDaemon, holder: MiniGuest, other: MiniGuest
) -> None:
    with MiniGuest(daemon.socket(VM1), mac=A) as standby:
        exchange(holder, other)
        holder.front_end.socket.close()
        exchange(standby, other)
        assert daemon.port(VM1).state == "up"


def test_standby_takes_over_when_the_holders_rings_stop_and_hands_back(
    daemon: ProbedDaemon, holder: MiniGuest, other: MiniGuest
) -> None:
    with MiniGuest(daemon.socket(VM1), mac=A) as standby:
        holder.front_end.ask(Request.SET_STATUS, m.Number(0))
        exchange(standby, other)
        holder.start()
        standby.front_end.ask(Request.SET_STATUS, m.Number(0))
        exchange(holder, other)


def test_third_front_end_is_turned_away(
    daemon: ProbedDaemon, holder: MiniGuest, other: MiniGuest
) -> None:
    refused = daemon.port(VM1).refused
    with (
        RawFrontEnd.connect(daemon.socket(VM1)) as standby,
        RawFrontEnd.connect(daemon.socket(VM1)) as third,
    ):
        assert third.closed()
        standby.send(Request.GET_FEATURES)
        assert standby.receive()
    assert daemon.port(VM1).refused == refused + 1
    exchange(holder, other)


def test_standby_that_breaks_the_protocol_is_ended_alone(
    daemon: ProbedDaemon, holder: MiniGuest, other: MiniGuest
) -> None:
    before = daemon.port(VM1)
    for round_ in range(5):
        with RawFrontEnd.connect(daemon.socket(VM1)) as standby:
            standby.send(Request.SET_VRING_NUM, m.VringState(255, 64))
            assert standby.closed()
        assert daemon.port(VM1).violations == before.violations + round_ + 1
        exchange(holder, other)
    assert "virtqueue 255" in daemon.port(VM1).last_error


@pytest.mark.parametrize("lie", ["index", "memory"])
def test_standby_that_lies_is_harmless_until_it_holds_the_port_and_then_suffers_alone(
    daemon: ProbedDaemon, holder: MiniGuest, other: MiniGuest, lie: str
) -> None:
    """What it described is looked at when the port is its own."""
    standby = MiniGuest(daemon.socket(VM1), mac=A)
    standby.start()
    if lie == "memory":
        slot, short = MemorySlot(0, len(standby.memory), USER_ADDRESS, 0), memfd()
        standby.front_end.send(Request.SET_MEM_TABLE, m.MemoryTable((slot,)), [short])
        os.close(short)
    standby.rings[1].set_avail_index(ENTRIES + 1)
    os.eventfd_write(standby.rings[1].kick, 1)
    exchange(holder, other)
    holder.front_end.ask(Request.SET_STATUS, m.Number(0))
    if lie == "memory":
        assert standby.front_end.closed()
        assert "memory" in daemon.port(VM1).last_error
    else:
        assert "runs backwards" in daemon.wait_port(VM1, "broken").reason
    standby.close()
    holder.start()
    exchange(holder, other)


@pytest.mark.parametrize("messages", range(0, 14, 2))
def test_standby_that_vanishes_between_messages_leaves_the_holder_alone(
    daemon: ProbedDaemon, holder: MiniGuest, other: MiniGuest, messages: int
) -> None:
    standby = MiniGuest(daemon.socket(VM1), mac=A)
    rings = [m.VringState(ring.index, 1) for ring in standby.rings]
    slot = MemorySlot(0, len(standby.memory), USER_ADDRESS, 0)
    words: list[tuple[Request, m.Payload, list[int]]] = [
        (Request.SET_OWNER, m.Empty(), []),
        (Request.SET_FEATURES, m.Number(standby.features), []),
        (Request.SET_MEM_TABLE, m.MemoryTable((slot,)), [standby.memory_fd]),
        *((Request.SET_VRING_ENABLE, state, []) for state in rings),
        *((Request.SET_VRING_NUM, m.VringState(ring, ENTRIES), []) for ring in (0, 1)),
        *((Request.SET_VRING_KICK, m.VringFile(r.index), [r.kick]) for r in standby.rings),
        *((Request.SET_VRING_CALL, m.VringFile(r.index), [r.call]) for r in standby.rings),
        *((Request.SET_VRING_BASE, m.VringState(ring, 0), []) for ring in (0, 1)),
    ]
    for request, payload, fds in words[:messages]:
        standby.front_end.send(request, payload, fds)
    exchange(holder, other)
    standby.close()
    exchange(holder, other)


def test_holder_that_breaks_its_port_leaves_it_like_new_to_the_standby(
    daemon: ProbedDaemon, holder: MiniGuest, other: MiniGuest
) -> None:
    with MiniGuest(daemon.socket(VM1), mac=A) as standby:
        holder.rings[1].set_avail_index(0xFFFF)
        os.eventfd_write(holder.rings[1].kick, 1)
        daemon.wait_port(VM1, "broken")
        holder.front_end.socket.close()
        wait_for(lambda: daemon.port(VM1).state == "up", "the standby's turn")
        exchange(standby, other)
