# SPDX-License-Identifier: BSD-2-Clause
"""Two front ends on one port: who holds it, and when it changes hands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass.observe.status import PortStatus
from ringpass.vhostuser import messages as m
from ringpass.vhostuser.messages import Request
from tests.support.daemon import Daemon
from tests.support.miniguest import MiniGuest, frame, wait_for
from tests.support.wait import PATIENCE_S

CONFIG = """
[switch.vale0]
[port."vale0:vm1"]
[port."vale0:vm2"]
"""
PORT = "vale0:vm1"
A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d"), CONFIG) as daemon:
        yield daemon


@pytest.fixture
def other(daemon: Daemon) -> Iterator[MiniGuest]:
    """Return a guest on another port."""
    with MiniGuest(daemon.socket("vale0:vm2"), mac=B) as guest:
        yield guest


@pytest.fixture
def two(daemon: Daemon) -> Iterator[tuple[MiniGuest, MiniGuest]]:
    """Return two guests on one port, whose rings should run. The first one holds it."""
    path: Path = daemon.socket(PORT)
    with MiniGuest(path, mac=A) as first, MiniGuest(path, mac=A) as second:
        yield first, second
    wait_for(lambda: status(daemon).front_end is None, "both to be gone")


def status(daemon: Daemon) -> PortStatus:
    return daemon.client.ask(PortStatus, "port.show", name=PORT)


def stop(guest: MiniGuest) -> list[int]:
    """Stop the rings of a guest; return their indexes."""
    answers = [
        guest.front_end.ask(Request.GET_VRING_BASE, m.VringState(ring.index, 0))
        for ring in guest.rings
    ]
    return [m.VringState.unpack(answer).value for answer in answers]


def hears(other: MiniGuest, guest: MiniGuest, deaf: MiniGuest) -> None:
    """Check that what is sent to their address reaches one guest and not the other."""
    guest.send(frame(B, A, b"from A"))
    assert other.receive() == frame(B, A, b"from A")
    other.send(frame(A, B, b"to A"))
    assert guest.receive() == frame(A, B, b"to A")
    assert deaf.pending() is None


def test_a_standby_waits_until_the_rings_of_the_holder_are_stopped(
    daemon: Daemon, other: MiniGuest, two: tuple[MiniGuest, MiniGuest]
) -> None:
    first, second = two
    hears(other, first, second)
    before = status(daemon)
    assert before.standby is not None
    assert before.standby.waits
    (problem,) = daemon.call("status")["problems"]
    assert "give each guest a port of its own" in problem
    assert stop(first) == [1, 1]
    hears(other, second, first)
    after = status(daemon)
    assert after.handovers == before.handovers + 1
    assert 0 < after.pause_s < PATIENCE_S
    assert after.standby is not None
    assert not after.standby.waits


def test_a_holder_that_goes_leaves_its_port_to_the_standby(
    daemon: Daemon, other: MiniGuest, two: tuple[MiniGuest, MiniGuest]
) -> None:
    first, second = two
    first.front_end.socket.close()
    wait_for(lambda: status(daemon).standby is None, "one to be gone")
    hears(other, second, first)


def test_a_standby_is_told_of_the_mtu_that_the_port_has_now(
    daemon: Daemon, two: tuple[MiniGuest, MiniGuest]
) -> None:
    holder, standby = two
    running = daemon.call("config.show")
    for mtu in (9000, 1500):
        running["port"][PORT]["mtu"] = mtu
        daemon.call("apply", config=running, source="test", dry_run=False)
        for guest in (holder, standby):
            answer = guest.front_end.ask(Request.NET_SET_MTU, m.Number(9000))
            assert m.Number.unpack(answer).value == (0 if mtu == 9000 else 1)


def test_a_standby_that_goes_is_not_missed(
    daemon: Daemon, other: MiniGuest, two: tuple[MiniGuest, MiniGuest]
) -> None:
    first, second = two
    second.front_end.socket.close()
    wait_for(lambda: status(daemon).standby is None, "one to be gone")
    hears(other, first, second)


def test_a_holder_that_starts_again_before_the_standby_does_keeps_its_port(
    daemon: Daemon, other: MiniGuest, two: tuple[MiniGuest, MiniGuest]
) -> None:
    """Its guest rebooted, or could not migrate."""
    first, second = two
    stop(second)
    before = status(daemon).handovers
    stop(first)
    for ring in first.rings:
        ring_state = m.VringState(ring.index, ring.used_index())
        first.front_end.send(Request.SET_VRING_BASE, ring_state)
        first.front_end.send(Request.SET_VRING_KICK, m.VringFile(ring.index), [ring.kick])
    hears(other, first, second)
    assert status(daemon).handovers == before


def test_a_standby_that_cannot_take_over_costs_the_holder_nothing(
    daemon: Daemon, two: tuple[MiniGuest, MiniGuest]
) -> None:
    first, second = two
    beyond = m.VringAddress(0, 0, 1 << 50, 1 << 50, 1 << 50, 0)
    second.front_end.send(Request.SET_VRING_ADDR, beyond)
    before = status(daemon)
    stop(first)
    assert second.front_end.closed()
    after = status(daemon)
    assert after.violations == before.violations + 1
    assert after.handovers == before.handovers
    for ring in first.rings:
        first.start_ring(ring)
    assert status(daemon).state == "up"
