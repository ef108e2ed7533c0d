# SPDX-License-Identifier: BSD-2-Clause
"""User-mode Linux guests: traffic between two, and what befalls one while others go on.

The neighbours, a second pair on the same switch, exchange numbered frames during each mishap and
must lose none.
"""

from collections.abc import Iterator

import pytest

from ringpass.image import Image
from tests.support import faults, traffic
from tests.support.lab import Lab, Station
from tests.support.traffic_tests import TrafficTests
from tests.support.wait import wait_until

pytestmark = pytest.mark.guest

PORTS = {f"vale0:vm{number}": {"hold_us": 1_000_000} for number in range(1, 5)}


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, PORTS) as lab:
        yield lab


@pytest.fixture
def pair(lab: Lab) -> tuple[Station, Station]:
    first, second = lab.up("uml1", "uml2")
    return first, second


@pytest.fixture
def neighbours(lab: Lab) -> tuple[Station, Station]:
    third, fourth = lab.up("uml3", "uml4")
    return third, fourth


class TestTraffic(TrafficTests):
    """Between two User-mode Linux guests."""


def test_port_is_free_again_when_its_guest_powers_off(
    lab: Lab, pair: tuple[Station, Station], neighbours: tuple[Station, Station]
) -> None:
    guest = pair[0]
    before = lab.daemon.descriptors()
    with traffic.Stream(*neighbours):
        guest.guest.stop()
        status = lab.daemon.wait_port(guest.port, "waiting")
        assert status.violations == 0
        assert lab.daemon.descriptors() < before
        traffic.ping(*lab.up("uml1", "uml2"))


def test_guest_that_reboots_comes_back(
    lab: Lab, pair: tuple[Station, Station], neighbours: tuple[Station, Station]
) -> None:
    """Its kernel begins anew, with another connection to the same port."""
    first, second = pair
    before = lab.daemon.port(first.port)
    with traffic.Stream(*neighbours):
        first.guest.reboot()
        traffic.ping(first, second)
        traffic.flood(second, first).assert_whole()
    after = lab.daemon.port(first.port)
    assert (after.sessions, after.violations) == (before.sessions + 1, before.violations)


def test_driver_that_is_unbound_and_bound_brings_its_interface_back(
    lab: Lab, pair: tuple[Station, Station], neighbours: tuple[Station, Station]
) -> None:
    first, second = pair
    before = lab.daemon.port(first.port)
    with traffic.Stream(*neighbours):
        for _ in range(3):
            faults.rebind_driver(first)
            traffic.ping(second, first)
        traffic.flood(first, second).assert_whole()
    after = lab.daemon.port(first.port)
    assert (after.sessions, after.violations) == (before.sessions, before.violations)


def test_killed_front_end_leaves_its_port_to_the_next(
    lab: Lab, pair: tuple[Station, Station], neighbours: tuple[Station, Station]
) -> None:
    first, second = pair
    before = lab.daemon.descriptors()
    with traffic.Stream(*neighbours):
        faults.flood_in_background(second, first.mac)
        faults.flood_in_background(first, second.mac)
        faults.kill_front_end(lab, first)
        status = lab.daemon.wait_port(first.port, "waiting")
        assert (status.violations, status.front_end) == (0, None)
        assert lab.daemon.descriptors() < before
        faults.end_flood(second)
        traffic.ping(*lab.up("uml1", "uml2"))
    wait_until(lambda: lab.daemon.descriptors() == before, f"{before} descriptors")


def test_guest_reaches_a_restarted_daemon_when_it_reboots(
    lab: Lab, pair: tuple[Station, Station]
) -> None:
    """User-mode Linux gives its device up for ever when the connection ends: it must reboot."""
    first, second = pair
    lab.daemon.stop()
    lab.daemon.start()
    assert lab.daemon.port(first.port).state == "waiting"
    for station in pair:
        station.guest.reboot()
    traffic.ping(first, second)
    traffic.flood(first, second).assert_whole()
