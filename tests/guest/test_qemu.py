# SPDX-License-Identifier: BSD-2-Clause
"""QEMU guests: traffic between two, and what befalls one while others go on.

The neighbours, two User-mode Linux guests on the same switch, exchange numbered frames during each
mishap and must lose none.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from ringpass.image import Image
from ringpass.vm.guest import Guest
from ringpass.vm.qmp import Qmp
from tests.support import faults, traffic
from tests.support.lab import BOOT_S, Lab, Station
from tests.support.probe import ProbedDaemon
from tests.support.traffic_tests import TrafficTests
from tests.support.wait import wait_until

pytestmark = [pytest.mark.guest, pytest.mark.timeout(240)]

PORTS = {f"vale0:vm{number}": {"hold_us": 1_000_000} for number in range(1, 7)}

MODULE = 128 << 20
"""Bytes of a memory module, the least that Linux takes."""


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, PORTS) as lab:
        yield lab


@pytest.fixture
def pair(lab: Lab) -> tuple[Station, Station]:
    first, second = lab.up("qemu1", "qemu2")
    return first, second


@pytest.fixture
def neighbours(lab: Lab) -> tuple[Station, Station]:
    third, fourth = lab.up("uml3", "uml4")
    return third, fourth


class TestTraffic(TrafficTests):
    """Between two QEMU guests."""


def test_guest_that_reboots_comes_back(
    lab: Lab, pair: tuple[Station, Station], neighbours: tuple[Station, Station]
) -> None:
    """On the same connection: QEMU resets its device, and starts it again."""
    first, second = pair
    before = lab.daemon.port(first.port)
    with traffic.Stream(*neighbours):
        first.guest.reboot(BOOT_S)
        traffic.ping(first, second)
        traffic.flood(second, first).assert_whole()
    after = lab.daemon.port(first.port)
    assert (after.sessions, after.violations) == (before.sessions, before.violations)


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
        traffic.ping(*lab.up("qemu1", "qemu2"))
    assert lab.daemon.descriptors() == before


def test_memory_is_plugged_and_unplugged_under_traffic(
    lab: Lab, pair: tuple[Station, Station]
) -> None:
    """Frames lie in memory that came later; none is lost when other memory goes.

    A kernel takes its buffers from the highest zone: the first module founds a new one. The second
    module is only lent to programs, so that it can be taken away.
    """
    station = lab.station("qemu5", extra=["-m", "slots=2,maxmem=1G"])
    guest = station.guest
    guest.wait_ready(BOOT_S)
    with guest.qmp() as qmp, traffic.Stream(pair[0], station, rate=500, size=1514):
        before = shared_memory(lab, station)
        plug(qmp, guest, "kernel")
        wait_until(lambda: shared_memory(lab, station) == before + MODULE, "the first module")
        wait_until(lambda: pages(guest, "Normal", "numa_hit") > 2000, "buffers in it", 30)
        plug(qmp, guest, "movable")
        wait_until(lambda: shared_memory(lab, station) == before + 2 * MODULE, "the second module")
        wait_until(lambda: pages(guest, "Movable", "managed") > 0, "the second one in use", 30)
        qmp.execute("device_del", id="movable")
        qmp.wait_event("DEVICE_DELETED", 60)
        wait_until(lambda: shared_memory(lab, station) == before + MODULE, "one module left")
    assert lab.daemon.port(station.port).violations == 0
    guest.kill()


def plug(qmp: Qmp, guest: Guest, name: str) -> None:
    """Add a memory module, which the guest's kernel onlines as `name` says."""
    guest.check(f"echo online_{name} >/sys/devices/system/memory/auto_online_blocks")
    backend = f"ram-{name}"
    qmp.execute("object-add", qom_type="memory-backend-memfd", id=backend, size=MODULE, share=True)
    qmp.execute("device_add", driver="pc-dimm", id=name, memdev=backend)


def shared_memory(lab: Lab, station: Station) -> int:
    """Return the bytes of a guest's memory that the back end sees."""
    front_end = lab.daemon.port(station.port).front_end
    assert front_end is not None
    return front_end.memory_bytes


def pages(guest: Guest, zone: str, counter: str) -> int:
    """Return a counter of one of the zones of memory of the guest's kernel; 0 without the zone."""
    for section in guest.check("cat /proc/zoneinfo").split("Node ")[1:]:
        if re.match(rf"\d+, zone +{zone}\n", section):
            found = re.search(rf"\b{counter} +(\d+)\n", section)
            return int(found[1]) if found else 0
    return 0


@pytest.mark.parametrize("memory", ["none", "private"])
def test_memory_that_is_not_shared_is_named_as_the_reason(
    lab: Lab, neighbours: tuple[Station, Station], memory: str
) -> None:
    """Be there no file of it at all, or one of which QEMU changes a copy of its own."""
    station = lab.station("qemu6", start=False)
    guest = station.guest
    command = "\0".join(guest.launch.argv).replace("share=on", "share=off")
    if memory == "none":
        command = re.sub("-object\0memory-backend-memfd[^\0]+\0", "", command)
        command = command.replace(",memory-backend=ram", "")
    guest.launch = replace(guest.launch, argv=command.split("\0"))
    with traffic.Stream(*neighbours):
        guest.start()
        guest.wait_ready(BOOT_S)
        shown = lab.daemon.run("port", "show", station.port).stdout
        assert "is not shared; start QEMU with memory-backend-memfd,share=on" in shown
        problems = lab.daemon.ask("status")["problems"]
        assert [station.port in problem for problem in problems] == [True]
        guest.kill()
        lab.daemon.wait_port(station.port, "waiting")
        assert not lab.daemon.ask("status")["problems"]


@pytest.mark.parametrize("end", [ProbedDaemon.stop, ProbedDaemon.kill], ids=["stop", "crash"])
def test_guests_reach_a_restarted_daemon_by_themselves(
    lab: Lab, pair: tuple[Station, Station], end: Callable[[ProbedDaemon], None]
) -> None:
    first, second = pair
    end(lab.daemon)
    lab.daemon.start()
    for station in pair:
        lab.daemon.wait_port(station.port, "up")
    traffic.ping(first, second)
    traffic.flood(first, second, size=1514).assert_whole()
    traffic.exchange_tcp(first, second)
