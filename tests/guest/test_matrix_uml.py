# SPDX-License-Identifier: BSD-2-Clause
"""User-mode Linux guests with every kind of port. Their driver takes each feature that is offered.

Two guests have a card at a port of each kind.
"""

from collections.abc import Iterator

import pytest

from ringpass.errors import ConfigError
from ringpass.image import Image
from tests.support import faults, traffic
from tests.support.lab import Lab
from tests.support.matrix import CSUM, EVERYTHING, TSO, Cell, Matrix, MatrixTests, ports

pytestmark = pytest.mark.guest

PLAIN = EVERYTHING - {"MRG_RXBUF"} - CSUM - TSO
MERGEABLE = PLAIN | {"MRG_RXBUF"}
PACKED = frozenset({"RING_PACKED"})


def port(*withheld: str, offloads: list[str] | None = None) -> dict[str, list[str]]:
    """Return settings of a port without the features `withheld`, with all offloads or these."""
    settings = {"withhold": list(withheld)}
    return settings if offloads is None else {**settings, "offloads": offloads}


CELLS = {
    "plain": Cell(PLAIN, port=port("packed", "mrg_rxbuf", offloads=[])),
    "csum": Cell(PLAIN | CSUM, port=port("packed", "mrg_rxbuf", offloads=["csum"])),
    "mergeable": Cell(MERGEABLE, port=port("packed", offloads=[])),
    "tso": Cell(EVERYTHING - {"MRG_RXBUF"}, port=port("packed", "mrg_rxbuf")),
    "tso_mergeable": Cell(port=port("packed")),
    "no_event_idx": Cell(EVERYTHING - {"EVENT_IDX"}, port=port("packed", "event_idx")),
    "no_indirect": Cell(EVERYTHING - {"INDIRECT_DESC"}, port=port("packed", "indirect_desc")),
    "packed_plain": Cell(PLAIN | PACKED, port=port("mrg_rxbuf", offloads=[])),
    "packed_mergeable": Cell(MERGEABLE | PACKED, port=port(offloads=[])),
    "packed_tso": Cell(EVERYTHING - {"MRG_RXBUF"} | PACKED, port=port("mrg_rxbuf")),
    "packed_tso_mergeable": Cell(EVERYTHING | PACKED),
    "packed_no_event_idx": Cell(EVERYTHING - {"EVENT_IDX"} | PACKED, port=port("event_idx")),
    "packed_no_indirect": Cell(EVERYTHING - {"INDIRECT_DESC"} | PACKED, port=port("indirect_desc")),
    # What the second one did not agree to, the switch does in software.
    "tso_to_plain": Cell(
        port=port("packed"), other=Cell(PLAIN, port=port("packed", "mrg_rxbuf", offloads=[]))
    ),
    "packed_to_split": Cell(EVERYTHING | PACKED, other=Cell(port=port("packed"))),
}

NAMES = list(CELLS)

TWO_QUEUES = "vale90:two"


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, {**ports(CELLS), TWO_QUEUES: {"queues": 2}}) as lab:
        yield lab


@pytest.fixture(scope="module")
def guests(lab: Lab) -> Matrix:
    return Matrix(lab, "uml", CELLS)


@pytest.fixture
def matrix(guests: Matrix) -> Matrix:
    guests.up()
    return guests


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestCells(MatrixTests):
    """Of User-mode Linux."""


def test_more_than_one_queue_pair_is_refused(lab: Lab) -> None:
    """Before the guest is started; if it is all the same, its driver refuses the device."""
    with pytest.raises(ConfigError) as refused:
        lab.guest("uml", "refused", [lab.nic(TWO_QUEUES, queues=2)])
    assert "the port has 2 queue pairs" in refused.value.why
    guest = lab.guest("uml", "greedy", [lab.nic(TWO_QUEUES)])
    guest.wait_ready()
    assert guest.run("test -e /sys/class/net/eth0").status != 0
    guest.kill()
    assert lab.daemon.wait_port(TWO_QUEUES, "waiting").violations == 0


@pytest.mark.parametrize("name", ["tso_mergeable", "packed_tso_mergeable"])
def test_driver_that_is_unbound_and_bound_brings_its_interface_back(
    matrix: Matrix, name: str
) -> None:
    first, second = matrix.pair(name)
    for _ in range(2):
        faults.rebind_driver(first)
        traffic.ping(second, first)
        matrix.exchange(name)


def test_guest_that_reboots_comes_back(matrix: Matrix) -> None:
    """With every card, packed rings from their beginning."""
    matrix.pair(NAMES[0])[0].guest.reboot()
    for name in NAMES:
        matrix.exchange(name, count=300)
