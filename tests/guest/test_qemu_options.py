# SPDX-License-Identifier: BSD-2-Clause
"""What QEMU lets its user choose of a network card, and what of its port.

Two guests have a card each for every choice; a switch of their own joins the two.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from ringpass.image import Image
from ringpass.observe.status import FrontEndStatus
from tests.support import traffic
from tests.support.lab import BOOT_S, Lab, Station

pytestmark = [pytest.mark.guest, pytest.mark.timeout(240)]


@dataclass(frozen=True)
class Choice:
    """Options of a card and of its port; features that must not be agreed on; entries of rings."""

    nic: dict[str, Any]
    port: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    entries: int = 256
    mtu: int = 1500


CHOICES = {
    "no_event_idx": Choice({"event_idx": False}, without=("EVENT_IDX",)),
    "no_indirect": Choice({"indirect_desc": False}, without=("INDIRECT_DESC",)),
    # One buffer then takes a whole segment, in 19 pieces.
    "no_mrg_rxbuf": Choice({"mrg_rxbuf": False}, without=("MRG_RXBUF",)),
    "no_mrg_rxbuf_no_tso": Choice(
        {"mrg_rxbuf": False},
        {"offloads": ["csum"]},
        without=("MRG_RXBUF", "GUEST_TSO4", "HOST_TSO4"),
    ),
    "plain": Choice(
        {"event_idx": False, "indirect_desc": False, "mrg_rxbuf": False},
        {"offloads": []},
        without=("EVENT_IDX", "INDIRECT_DESC", "MRG_RXBUF", "CSUM", "GUEST_CSUM", "HOST_TSO4"),
    ),
    "rings_512": Choice({"rx_queue_size": 512, "tx_queue_size": 512}, entries=512),
    "rings_1024": Choice({"rx_queue_size": 1024, "tx_queue_size": 1024}, entries=1024),
    "small_mtu": Choice({"host_mtu": 1280}, mtu=1280),
    "jumbo_mtu": Choice({"host_mtu": 9000}, {"mtu": 9000}, mtu=9000),
    "two_queues": Choice({"queues": 2}, {"queues": 2}),
}

NAMES = list(CHOICES)

Cards = dict[str, tuple[Station, Station]]


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    ports = {
        f"vale{number}:{guest}": {"hold_us": 1_000_000, **CHOICES[name].port}
        for number, name in enumerate(NAMES)
        for guest in ("a", "b")
    }
    with Lab(image, ports, workers=2) as lab:
        yield lab


@pytest.fixture(scope="module")
def cards(lab: Lab) -> Cards:
    """Return the cards of the two guests, in pairs, by the choice that was made for them."""
    first, second = (stations(lab, letter, host) for host, letter in enumerate("ab", start=1))
    for station in (first[0], second[0]):
        station.guest.wait_ready(BOOT_S)
    return dict(zip(NAMES, zip(first, second, strict=True), strict=True))


def stations(lab: Lab, letter: str, host: int) -> list[Station]:
    """Start a guest with a card for each choice."""
    nics = [
        lab.nic(f"vale{number}:{letter}", address=f"10.0.{number}.{host}/24", **CHOICES[name].nic)
        for number, name in enumerate(NAMES)
    ]
    guest = lab.guest("qemu", f"qemu-{letter}", nics, memory=384, smp=2)
    return [
        Station(guest, f"vale{number}:{letter}", nic.mac, f"10.0.{number}.{host}", f"eth{number}")
        for number, nic in enumerate(nics)
    ]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def front_end(lab: Lab, station: Station) -> FrontEndStatus:
    found = lab.daemon.port(station.port).front_end
    assert found is not None
    return found


def test_choice_is_what_was_agreed(lab: Lab, cards: Cards, name: str) -> None:
    choice = CHOICES[name]
    for station in cards[name]:
        agreed = front_end(lab, station)
        assert not set(choice.without) & set(agreed.features)
        assert {ring.size for ring in agreed.rings} == {choice.entries}
        assert (
            station.guest.check(f"cat /sys/class/net/{station.interface}/mtu") == f"{choice.mtu}\n"
        )


def test_frames_of_all_sizes_arrive_whole(cards: Cards, name: str) -> None:
    first, second = cards[name]
    full = CHOICES[name].mtu + 14
    traffic.ping(first, second, size=CHOICES[name].mtu - 28)
    traffic.flood(first, second, size=full, count=3000).assert_whole()
    traffic.flood(second, first, size=60, count=3000).assert_whole()


def test_tcp_delivers_every_byte(lab: Lab, cards: Cards, name: str) -> None:
    first, second = cards[name]
    traffic.exchange_tcp(first, second, size=1_000_000)
    if "HOST_TSO4" in front_end(lab, first).features:
        traffic.send_segment(first, second)
    else:
        sent = lab.daemon.port(first.port).tx
        assert sent.bytes / sent.frames <= 1514


def test_both_queues_of_a_pair_carry_frames(lab: Lab, cards: Cards) -> None:
    """What a processor sends leaves by its own queue, and arrives in the receiver's of the same."""
    sender, receiver = cards["two_queues"]
    for station in (sender, receiver):
        station.guest.check(f"ethtool -L {station.interface} combined 2")
        rings = front_end(lab, station).rings
        assert [ring.running for ring in rings] == [True] * 4
    before = frames_by_ring(lab, sender, receiver)
    traffic.start_sink(receiver, "--seconds 60 --idle 3 --count 4000")
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
