# SPDX-License-Identifier: BSD-2-Clause
"""TCP between guests whose receivers are full again and again.

Eight streams have far more under way than a receive ring holds. Senders held back lose nothing;
dropped on, they lose what is counted as `full` and nothing else, and TCP delivers every byte.

The receivers' processors are shared with all that runs here, so a receiver may stand still for as
long as the scheduler likes, and the senders must be held for as long.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest

from ringpass.image import Image
from tests.support import traffic
from tests.support.lab import Lab, Station

pytestmark = pytest.mark.guest

PORTS = [f"vale0:vm{number}" for number in range(1, 5)]
PAIRS = [("qemu1", "qemu2"), ("uml3", "uml4")]
HELD = {name: {"full": "hold", "hold_us": 1_000_000} for name in PORTS}
DROPPED = {name: {"full": "drop"} for name in PORTS}


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, HELD) as lab:
        yield lab


@pytest.fixture(params=PAIRS, ids=["qemu", "uml"])
def pair(lab: Lab, request: pytest.FixtureRequest) -> list[Station]:
    return lab.up(*request.param)


def drops(lab: Lab, pair: Sequence[Station]) -> Counter[str]:
    """Return what the ports of a pair have dropped, by reason."""
    found: Counter[str] = Counter()
    for station in pair:
        port = lab.daemon.port(station.port)
        found += Counter(port.tx.drops) + Counter(port.rx.drops)
    return found


def holds(lab: Lab, pair: Sequence[Station]) -> int:
    """Return how often senders to a pair were held back."""
    return sum(lab.daemon.port(station.port).rx.holds for station in pair)


def send_until(server: Station, client: Station, full: Callable[[], bool]) -> None:
    """Send by eight streams until the receiver was full; on a busy machine that takes a while."""
    for _ in range(10):
        traffic.iperf(server, client, options="-P 8")
        if full():
            return
    pytest.fail("the receiver was never full")


def test_tcp_loses_nothing_when_senders_are_held_back(lab: Lab, pair: list[Station]) -> None:
    server, client = pair
    lab.apply(HELD)
    traffic.ping(server, client)
    lost, held = drops(lab, pair), holds(lab, pair)
    send_until(server, client, lambda: holds(lab, pair) > held)
    traffic.exchange_tcp(server, client, size=1_000_000)
    assert drops(lab, pair) == lost


def test_tcp_survives_receivers_that_drop_and_all_losses_are_counted(
    lab: Lab, pair: list[Station]
) -> None:
    server, client = pair
    lab.apply(DROPPED)
    traffic.ping(server, client)
    lost, held = drops(lab, pair), holds(lab, pair)
    send_until(server, client, lambda: drops(lab, pair) != lost)
    traffic.exchange_tcp(server, client, size=1_000_000)
    assert set(drops(lab, pair) - lost) == {"full"}
    assert holds(lab, pair) == held
