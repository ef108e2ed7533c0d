# SPDX-License-Identifier: BSD-2-Clause
"""QEMU guests: every kind of network card that its users can choose.

Two guests have a card of each kind.
"""

import json
from collections.abc import Iterator

import pytest

from ringpass.image import Image
from ringpass.vm.guest import BOOT_S
from tests.support import traffic
from tests.support.lab import Lab, Station
from tests.support.matrix import CSUM, EVERYTHING, TSO, Cell, Matrix, MatrixTests, ports

pytestmark = pytest.mark.guest

PACKED = EVERYTHING | {"RING_PACKED"}
NO_MRG_RXBUF = {"mrg_rxbuf": False}
PLAIN = {"event_idx": False, "indirect_desc": False, "mrg_rxbuf": False}
PACKED_RINGS = {"packed": True}
TWO_QUEUES = {"queues": 2}
JUMBO = {"host_mtu": 9000}

CELLS = {
    "split": Cell(),
    "no_event_idx": Cell(EVERYTHING - {"EVENT_IDX"}, {"event_idx": False}),
    "no_indirect": Cell(EVERYTHING - {"INDIRECT_DESC"}, {"indirect_desc": False}),
    # One buffer then takes a whole segment, in 19 pieces.
    "no_mrg_rxbuf": Cell(EVERYTHING - {"MRG_RXBUF"}, NO_MRG_RXBUF),
    "no_mrg_rxbuf_no_tso": Cell(
        EVERYTHING - {"MRG_RXBUF"} - TSO, NO_MRG_RXBUF, {"offloads": ["csum"]}
    ),
    "no_csum": Cell(EVERYTHING - CSUM - TSO, port={"offloads": []}),
    "plain": Cell(frozenset(), PLAIN, {"offloads": []}),
    "rings_512": Cell(nic={"rx_queue_size": 512, "tx_queue_size": 512}, entries=512),
    "rings_1024": Cell(nic={"rx_queue_size": 1024, "tx_queue_size": 1024}, entries=1024),
    "small_mtu": Cell(nic={"host_mtu": 1280}, mtu=1280),
    "jumbo_mtu": Cell(nic=JUMBO, port={"mtu": 9000}, mtu=9000),
    "two_queues": Cell(EVERYTHING | {"MQ"}, TWO_QUEUES, TWO_QUEUES),
    "packed": Cell(PACKED, PACKED_RINGS),
    "packed_no_event_idx": Cell(PACKED - {"EVENT_IDX"}, {**PACKED_RINGS, "event_idx": False}),
    "packed_no_indirect": Cell(
        PACKED - {"INDIRECT_DESC"}, {**PACKED_RINGS, "indirect_desc": False}
    ),
    "packed_no_mrg_rxbuf": Cell(PACKED - {"MRG_RXBUF"}, {**PACKED_RINGS, **NO_MRG_RXBUF}),
    "packed_plain": Cell(frozenset({"RING_PACKED"}), {**PACKED_RINGS, **PLAIN}, {"offloads": []}),
    "packed_jumbo_mtu": Cell(PACKED, {**PACKED_RINGS, **JUMBO}, {"mtu": 9000}, mtu=9000),
    "packed_two_queues": Cell(PACKED | {"MQ"}, {**PACKED_RINGS, **TWO_QUEUES}, TWO_QUEUES),
    "packed_to_split": Cell(PACKED, PACKED_RINGS, other=Cell()),
    # The guest asks for packed rings, and the port has none to offer.
    "packed_withheld": Cell(nic=PACKED_RINGS, port={"withhold": ["packed"]}),
}

NAMES = list(CELLS)

LACKING = "vale90:lacking"
"""A port with two pairs of queues, and nothing else."""


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, {**ports(CELLS), LACKING: TWO_QUEUES}, workers=2) as lab:
        yield lab


@pytest.fixture(scope="module")
def guests(lab: Lab) -> Matrix:
    return Matrix(lab, "qemu", CELLS, memory=512, smp=2)


@pytest.fixture
def matrix(guests: Matrix) -> Matrix:
    guests.up()
    return guests


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestCells(MatrixTests):
    """Of QEMU."""


@pytest.mark.parametrize("name", [name for name in NAMES if "two_queues" in name])
def test_both_queues_of_a_pair_carry_frames(lab: Lab, matrix: Matrix, name: str) -> None:
    """What a processor sends leaves by its own queue, and arrives in the receiver's of the same."""
    sender, receiver = matrix.pair(name)
    for station in (sender, receiver):
        station.guest.check(f"ethtool -L {station.interface} combined 2")
        rings = matrix.front_end(station).rings
        assert [ring.running for ring in rings] == [True] * 4
    traffic.introduce(receiver, sender)
    before = frames_by_ring(lab, sender, receiver)
    traffic.start_sink(receiver, f"--idle {traffic.IDLE_S} --count 4000")
    flood = f"rp-flood {sender.interface} --vary --dst {receiver.mac} --count 2000"
    output = sender.guest.check(
        f"taskset 1 {flood} --stream 1 >/tmp/first & taskset 2 {flood} --stream 2 && wait; "
        "cat /tmp/first"
    )
    assert [json.loads(line)["frames"] for line in output.splitlines()] == [2000, 2000]
    received = traffic.end_sink(receiver)
    assert received == traffic.Received(4000, 4000 * 60, 0, 0, 0, 0, 0)
    for ring, frames in frames_by_ring(lab, sender, receiver).items():
        port, tx, _ = ring
        if tx == (port == sender.port):
            assert frames - before[ring] >= 2000, ring


def frames_by_ring(lab: Lab, *stations: Station) -> dict[tuple[str, bool, int], int]:
    """Return the frames of each ring: by port, whether it is the guest's sending side, number."""
    rings = [ring for station in stations for ring in lab.daemon.rings(station.port)]
    return {(ring.port, ring.tx, ring.ring): ring.frames for ring in rings}


def test_more_queues_than_the_port_has_are_refused(lab: Lab) -> None:
    """QEMU asks how many there are, tells its user, and tries again for ever."""
    guest = lab.guest("qemu", "greedy", [lab.nic(LACKING, queues=3)])
    guest.expect("you are asking more queues than supported: 2", "being refused", BOOT_S)
    guest.kill()
    assert lab.daemon.wait_port(LACKING, "waiting").violations == 0
