# SPDX-License-Identifier: BSD-2-Clause
"""What any two guests must be able to do, whatever they are: tests to inherit."""

import pytest

from tests.support import traffic
from tests.support.account import Account
from tests.support.lab import Lab, Station


class TrafficTests:
    """A subclass stands in a module with the fixtures `lab` and `pair`, two stations of it.

    Its ports hold senders back instead of losing frames, so all that is sent must arrive.
    """

    @pytest.mark.parametrize("size", [56, 1472], ids=["small", "mtu"])
    def test_guests_ping_each_other(self, pair: tuple[Station, Station], size: int) -> None:
        first, second = pair
        traffic.ping(first, second, size=size)
        traffic.ping(second, first, size=size)

    @pytest.mark.parametrize("size", [60, 1514])
    @pytest.mark.parametrize("direction", [1, -1], ids=["there", "back"])
    def test_flood_arrives_whole(
        self, pair: tuple[Station, Station], direction: int, size: int
    ) -> None:
        sender, receiver = pair[::direction]
        traffic.flood(sender, receiver, size=size).assert_whole()

    def test_tcp_both_ways_delivers_every_byte_and_segments_in_one_piece(
        self, pair: tuple[Station, Station]
    ) -> None:
        first, second = pair
        traffic.exchange_tcp(first, second, segments=True)

    @pytest.mark.parametrize("options", ["", "-R", "-P 4"], ids=["one", "reverse", "four"])
    def test_iperf3_uses_segmentation_offload(
        self, lab: Lab, pair: tuple[Station, Station], options: str
    ) -> None:
        server, client = pair
        sender = server if options == "-R" else client
        before = lab.daemon.port(sender.port).tx
        result = traffic.iperf(server, client, options=options)
        after = lab.daemon.port(sender.port).tx
        assert after.bytes - before.bytes > result.received > 0
        assert (after.bytes - before.bytes) / (after.frames - before.frames) > 1514

    def test_payload_is_copied_once(self, lab: Lab, pair: tuple[Station, Station]) -> None:
        """From the sender's memory straight into the receiver's, frames and segments alike."""
        first, second = pair
        before = account(lab, first, second)
        traffic.flood(first, second, size=1514, count=2000).assert_whole()
        traffic.flood(second, first, size=60, count=2000).assert_whole()
        traffic.iperf(second, first)
        moved = account(lab, first, second).since(before)
        assert moved.delivered > 2000 * (1514 + 60)
        assert moved.copied / moved.delivered == 1.0


def account(lab: Lab, *stations: Station) -> Account:
    return Account.of(ring for station in stations for ring in lab.daemon.rings(station.port))
