# SPDX-License-Identifier: BSD-2-Clause
"""A QEMU guest and a User-mode Linux guest on one switch, and what the switch knows of them."""

from collections.abc import Iterator

import pytest

from ringpass.image import Image
from tests.support import faults, traffic
from tests.support.lab import Lab, Station
from tests.support.traffic_tests import TrafficTests
from tests.support.wait import wait_until

pytestmark = pytest.mark.guest

PORTS: dict[str, dict[str, object]] = {
    "vale0:vm1": {"hold_us": 1_000_000},
    "vale0:vm2": {"hold_us": 1_000_000},
    "vale0:vm3": {"full": "drop"},
}

MOVING = "02:00:00:00:00:99"
"""An address that belongs to no card."""

FRAMES = 100
"""More than guests send by themselves in the moment that a test takes."""


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, PORTS) as lab:
        yield lab


@pytest.fixture
def pair(lab: Lab) -> tuple[Station, Station]:
    qemu, uml = lab.up("qemu1", "uml2")
    return qemu, uml


@pytest.fixture
def trio(lab: Lab) -> tuple[Station, Station, Station]:
    qemu, uml, other = lab.up("qemu1", "uml2", "uml3")
    return qemu, uml, other


class TestTraffic(TrafficTests):
    """Between a QEMU guest and a User-mode Linux guest."""


def test_healthy_guests_are_no_problem(lab: Lab, pair: tuple[Station, Station]) -> None:
    traffic.ping(*pair)
    assert lab.daemon.ask("status")["problems"] == []


def test_front_ends_agree_on_the_same_offloads(lab: Lab, pair: tuple[Station, Station]) -> None:
    offloads = []
    for station in pair:
        front_end = lab.daemon.port(station.port).front_end
        assert front_end is not None
        offloads.append({name for name in front_end.features if "TSO" in name or "CSUM" in name})
    assert offloads[0] == offloads[1] != set()


def test_switch_knows_each_guest_by_its_port(lab: Lab, pair: tuple[Station, Station]) -> None:
    traffic.ping(*pair)
    rows = {row["mac"]: row["port"] for row in lab.daemon.ask("switch", "fdb", "vale0")}
    for station in pair:
        assert rows[station.mac] == station.port
        assert station.mac in station.guest.check("cat /sys/class/net/eth0/address")


def test_address_that_moves_to_another_port_is_followed(
    lab: Lab, trio: tuple[Station, Station, Station]
) -> None:
    sender, *homes = trio
    for home in homes:
        announce(lab, home)
        gained = frames_gained(lab, sender, homes)
        for station in homes:
            assert (gained[station.port] >= FRAMES) == (station is home), gained


def test_address_that_is_not_heard_is_forgotten(
    lab: Lab, trio: tuple[Station, Station, Station]
) -> None:
    """And frames for it go to every port again."""
    sender, *homes = trio
    lab.apply(ageing=1)
    try:
        announce(lab, homes[0])
        wait_until(lambda: MOVING not in lab.daemon.fdb(), f"{MOVING} is forgotten")
        gained = frames_gained(lab, sender, homes)
        assert min(gained.values()) >= FRAMES, gained
    finally:
        lab.apply()


@pytest.mark.parametrize("port", ["vale0:vm2", "vale0:vm3"], ids=["hold", "drop"])
def test_frames_that_a_stopped_receiver_misses_are_counted(
    lab: Lab, trio: tuple[Station, Station, Station], port: str
) -> None:
    """Whether senders are held back for a while or not: what did not arrive is in the counter."""
    sender = trio[0]
    receiver = next(station for station in trio if station.port == port)
    faults.flood_stopped_guest(lab, sender, receiver)


def announce(lab: Lab, station: Station) -> None:
    """Let a guest send a frame from the address MOVING, and wait until the switch has noticed."""
    source = MOVING.replace(":", "")
    station.guest.check(
        "python3 -c 'import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); "
        f's.bind(("{station.interface}", 0)); '
        f's.send(bytes.fromhex("ffffffffffff{source}88b6" + 46 * "00"))\''
    )

    def known() -> bool:
        row = lab.daemon.fdb().get(MOVING)
        return row is not None and row.port == station.port

    wait_until(known, f"{MOVING} is known at {station.port}")


def frames_gained(lab: Lab, sender: Station, receivers: list[Station]) -> dict[str, int]:
    """Send FRAMES to the address MOVING; return how many frames each receiver's port was given."""
    before = {station.port: lab.daemon.port(station.port).rx.frames for station in receivers}
    assert traffic.send_flood(sender, MOVING, count=FRAMES).frames == FRAMES
    return {port: lab.daemon.port(port).rx.frames - frames for port, frames in before.items()}
