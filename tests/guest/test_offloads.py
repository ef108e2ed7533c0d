# SPDX-License-Identifier: BSD-2-Clause
"""TCP between a guest that leaves checksums and segments to others, and guests that take neither.

What the first one sends is cut and completed on the way; nothing is lost to it, nor in checksums
that a receiver finds wrong.
"""

from collections.abc import Iterator

import pytest

from ringpass.image import Image
from tests.support import traffic
from tests.support.lab import Lab, Station

pytestmark = pytest.mark.guest

PORTS: dict[str, dict[str, object]] = {
    "vale0:vm1": {"hold_us": 1_000_000},
    "vale0:vm2": {"hold_us": 1_000_000, "offloads": []},
    "vale0:vm3": {"hold_us": 1_000_000, "offloads": ["csum"]},
}
OFFLOADS = {"GUEST_CSUM", "GUEST_TSO4", "GUEST_TSO6"}


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, PORTS) as lab:
        yield lab


@pytest.mark.parametrize(
    ("name", "takes"), [("uml2", set()), ("uml3", {"GUEST_CSUM"})], ids=["nothing", "checksums"]
)
def test_tcp_with_a_guest_that_takes_few_offloads(lab: Lab, name: str, takes: set[str]) -> None:
    rich, poor = lab.up("uml1", name)
    assert taken(lab, rich) == OFFLOADS
    assert taken(lab, poor) == takes
    traffic.ping(rich, poor)
    before = lab.daemon.port(rich.port)
    traffic.exchange_tcp(poor, rich)
    traffic.iperf(poor, rich)
    after = lab.daemon.port(rich.port)
    assert after.tx.segments - before.tx.segments > 1000
    assert (after.tx.checksums > before.tx.checksums) == (not takes)
    for station in (rich, poor):
        port = lab.daemon.port(station.port)
        assert port.tx.drops == {}
        assert port.rx.drops.get("full", 0) == 0
        assert checksum_errors(station) == 0


def taken(lab: Lab, station: Station) -> set[str]:
    """Return the offloads that a guest takes of others."""
    front_end = lab.daemon.port(station.port).front_end
    assert front_end is not None
    return OFFLOADS & set(front_end.features)


def checksum_errors(station: Station) -> int:
    """Return how many packets the guest's stack has thrown away for their checksums."""
    read = "awk '/^Tcp:/ && $2 ~ /[0-9]/ { print $NF }' /proc/net/snmp"
    return int(station.guest.check(read))
