# SPDX-License-Identifier: BSD-2-Clause
"""What befalls QEMU guests with split and packed rings, of one queue pair and of two.

The neighbours, two User-mode Linux guests on the switch of the first kind, exchange numbered frames
during each mishap and must lose none.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from ringpass.image import Image
from ringpass.vm.guest import Guest
from tests.support import faults, hotplug, traffic
from tests.support.lab import Lab, Station
from tests.support.matrix import EVERYTHING, Cell, Matrix, ports
from tests.support.probe import ProbedDaemon
from tests.support.processes import stopped
from tests.support.wait import wait_until

pytestmark = pytest.mark.guest

PACKED = EVERYTHING | {"RING_PACKED"}
TWO_QUEUES = {"queues": 2}

CELLS = {
    "split": Cell(),
    "packed": Cell(PACKED, {"packed": True}),
    "two_queues": Cell(EVERYTHING | {"MQ"}, TWO_QUEUES, TWO_QUEUES),
    "packed_two_queues": Cell(PACKED | {"MQ"}, {"packed": True, **TWO_QUEUES}, TWO_QUEUES),
}

NAMES = list(CELLS)

BOTH_FORMATS = ["split", "packed"]

PLUGGED = "vale90"
"""The switch of cards that are plugged in while the guests run."""

FIRST_MODULE_FRAMES = 2000
"""Allocations of the guest's kernel in new memory that leave no doubt that it uses it."""


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    patient = {"hold_us": 1_000_000}
    neighbours = {"vale0:vm3": patient, "vale0:vm4": patient}
    plugged = {f"{PLUGGED}:{letter}": {**patient, **TWO_QUEUES} for letter in "ab"}
    with Lab(image, {**ports(CELLS), **neighbours, **plugged}, workers=2) as lab:
        yield lab


@pytest.fixture(scope="module")
def guests(lab: Lab) -> Matrix:
    memory_modules = ["-m", "slots=2,maxmem=1G"]
    return Matrix(lab, "qemu", CELLS, memory=256, smp=2, extra=memory_modules)


@pytest.fixture
def matrix(guests: Matrix) -> Matrix:
    guests.up()
    return guests


@pytest.fixture
def neighbours(lab: Lab) -> tuple[Station, Station]:
    third, fourth = lab.up("uml3", "uml4")
    return third, fourth


def test_driver_that_is_unbound_and_bound_brings_its_interface_back(
    lab: Lab, matrix: Matrix, neighbours: tuple[Station, Station]
) -> None:
    with traffic.Stream(*neighbours):
        for name in NAMES:
            first, second = matrix.pair(name)
            before = lab.daemon.port(first.port)
            for _ in range(2):
                faults.rebind_driver(first)
                traffic.ping(second, first)
            matrix.exchange(name)
            assert lab.daemon.port(first.port).sessions == before.sessions


@pytest.mark.parametrize("name", NAMES)
def test_card_is_plugged_in_and_out_under_traffic(
    lab: Lab, matrix: Matrix, neighbours: tuple[Station, Station], name: str
) -> None:
    """A card of the kind of `name` into each guest, and out of one that is sent frames."""
    interface, number = f"eth{len(CELLS)}", len(CELLS) + NAMES.index(name)
    descriptors = lab.daemon.descriptors()
    stations = []
    with traffic.Stream(*neighbours):
        for host, station in enumerate(matrix.pair(name), start=1):
            port = f"{PLUGGED}:{station.port[-1]}"
            nic = lab.nic(port, **CELLS[name].nic)
            with station.guest.qmp() as qmp:
                hotplug.plug_nic(qmp, station.guest, nic, number, interface)
            plugged = Station(station.guest, port, nic.mac, f"10.0.90.{host}", interface)
            faults.configure(plugged)
            stations.append(plugged)
        first, second = stations
        traffic.flood(first, second, size=1514).assert_whole()
        traffic.flood(second, first).assert_whole()
        agreed = matrix.front_end(first).features
        # Both ports have two pairs of queues, of which the card may take one.
        assert set(agreed) - {"MQ"} == set(matrix.front_end(matrix.pair(name)[0]).features) - {"MQ"}
        faults.flood_in_background(second, first.mac)
        for station in stations:
            with station.guest.qmp() as qmp:
                hotplug.unplug_nic(qmp, number)
            assert lab.daemon.wait_port(station.port, "waiting").violations == 0
        faults.end_flood(second)
    wait_until(lambda: lab.daemon.descriptors() == descriptors, f"{descriptors} descriptors")


def test_guest_that_reboots_comes_back(
    lab: Lab, matrix: Matrix, neighbours: tuple[Station, Station]
) -> None:
    """On the same connections: QEMU resets its devices, and starts them again.

    Before memory is plugged in: with that, under TCG, it takes a minute longer.
    """
    guest = matrix.pair(NAMES[0])[0].guest
    before = lab.daemon.port("vale0:a").sessions
    with traffic.Stream(*neighbours):
        guest.reboot()
        for name in NAMES:
            matrix.exchange(name)
    assert lab.daemon.port("vale0:a").sessions == before


def test_memory_is_plugged_and_unplugged_under_traffic(matrix: Matrix) -> None:
    """Frames lie in memory that came later; none is lost when other memory goes.

    A kernel takes its buffers from the highest zone: the first module founds a new one. The second
    module is only lent to programs, so that it can be taken away.
    """
    one, other = (matrix.pair(name) for name in BOTH_FORMATS)
    station = one[1]
    guest = station.guest
    there = traffic.Stream(*one, rate=500, size=1514)
    back = traffic.Stream(*reversed(other), rate=500, size=1514)
    with guest.qmp() as qmp, there, back:
        before = matrix.front_end(station).memory_bytes
        hotplug.plug_memory(qmp, guest, "kernel")
        wait_memory(matrix, station, before + hotplug.MODULE)
        used = FIRST_MODULE_FRAMES
        wait_until(lambda: pages(guest, "Normal", "numa_hit") > used, "buffers in it")
        hotplug.plug_memory(qmp, guest, "movable")
        wait_memory(matrix, station, before + 2 * hotplug.MODULE)
        wait_until(lambda: pages(guest, "Movable", "managed") > 0, "the second one in use")
        hotplug.unplug(qmp, "movable")
        wait_memory(matrix, station, before + hotplug.MODULE)


def wait_memory(matrix: Matrix, station: Station, size: int) -> None:
    """Wait until the back end sees `size` bytes of a guest's memory."""
    what = f"{size} bytes of memory at {station.port}"
    wait_until(lambda: matrix.front_end(station).memory_bytes == size, what)


def pages(guest: Guest, zone: str, counter: str) -> int:
    """Return a counter of one of the zones of memory of the guest's kernel; 0 without the zone."""
    for section in guest.check("cat /proc/zoneinfo").split("Node ")[1:]:
        if re.match(rf"\d+, zone +{zone}\n", section):
            found = re.search(rf"\b{counter} +(\d+)\n", section)
            return int(found[1]) if found else 0
    return 0


@pytest.mark.parametrize("name", NAMES)
def test_stopped_guest_gets_its_frames_late_or_they_are_counted(
    lab: Lab, matrix: Matrix, neighbours: tuple[Station, Station], name: str
) -> None:
    with traffic.Stream(*neighbours):
        faults.flood_stopped_guest(lab, *matrix.pair(name))
        matrix.exchange(name)


def test_stopped_daemon_loses_nothing(lab: Lab, matrix: Matrix) -> None:
    """Guests wait for it in the middle of their traffic."""
    there = traffic.Stream(*matrix.pair(BOTH_FORMATS[0]), rate=2000)
    back = traffic.Stream(*reversed(matrix.pair(BOTH_FORMATS[1])), rate=2000)
    with there, back:
        for _ in range(3):
            with stopped(lab.daemon.pid):
                there.sender.guest.check("sleep 0.5")
            there.sender.guest.check("sleep 0.2")


def test_killed_front_end_leaves_its_ports_to_the_next(
    lab: Lab, matrix: Matrix, neighbours: tuple[Station, Station]
) -> None:
    """In the middle of traffic in both directions, on cards of two kinds."""
    (sender, peer), (victim, flooder) = (matrix.pair(name) for name in BOTH_FORMATS)
    descriptors = lab.daemon.descriptors()
    with traffic.Stream(*neighbours):
        faults.flood_in_background(sender, peer.mac)
        faults.flood_in_background(flooder, victim.mac)
        faults.kill_front_end(lab, victim)
        for station in (sender, victim):
            status = lab.daemon.wait_port(station.port, "waiting")
            assert (status.violations, status.front_end) == (0, None)
        assert lab.daemon.descriptors() < descriptors
        faults.end_flood(flooder)
        matrix.up()
        for name in NAMES:
            matrix.exchange(name)
    wait_until(lambda: lab.daemon.descriptors() == descriptors, f"{descriptors} descriptors")


@pytest.mark.parametrize("end", [ProbedDaemon.stop, ProbedDaemon.kill], ids=["stop", "crash"])
def test_guests_reach_a_restarted_daemon_by_themselves(
    lab: Lab, matrix: Matrix, end: Callable[[ProbedDaemon], None]
) -> None:
    """With each of their cards, and what they were sending meanwhile is sent then."""
    one, other = (matrix.pair(name) for name in BOTH_FORMATS)
    faults.flood_in_background(one[0], one[1].mac)
    faults.flood_in_background(other[1], other[0].mac)
    end(lab.daemon)
    lab.daemon.start()
    for sender, _ in (one, other[::-1]):
        wait_until(partial(has_sent, lab, sender), f"the flood of {sender.port} goes on")
        faults.end_flood(sender)
    for name in NAMES:
        for station in matrix.pair(name):
            lab.daemon.wait_port(station.port, "up")
        matrix.exchange(name)


def has_sent(lab: Lab, station: Station) -> bool:
    return lab.daemon.port(station.port).tx.frames > 0
