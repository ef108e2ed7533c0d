# SPDX-License-Identifier: BSD-2-Clause
"""What there is to measure between two guests, beside what, and to what goal."""

from typing import Literal, NamedTuple

from ringpass.bench.g2g.links import NETDEVS, RECEIVERS, VARIANTS
from ringpass.bench.report import NO_GOAL, Goal

Metric = Literal["flood", "tcp", "rtt", "idle"]

SIZES = (60, 1500)
#: What ns is the time of for TCP: so many bytes of payload.
TCP_UNIT = 1000
#: Ethernet, IP and ICMP headers with 56 bytes.
PING_SIZE = 98

#: What a reference is called in a row.
REFERENCES = {
    "null": "into a null port",
    "loopback": "its own loopback",
    "limit": "0.5 % of a core",
    "stream": "QEMU's -netdev stream",
    "dgram": "QEMU's -netdev dgram",
    "tap": "QEMU's -netdev tap, on a bridge",
}

FLOOD_GOAL = Goal("at least 0.6 times the frames/s into the null port", 1 / 0.6)
TCP_GOAL = Goal(
    "at least 1.3 times the guest's own loopback, nothing dropped by us", 1 / 1.3, lossless=True
)
IDLE_GOAL = Goal("under 0.5 % of a core", 1.0)
HOLD_GOAL = Goal("nothing dropped by us", lossless=True)
NETDEV_GOAL = Goal("no slower than QEMU's own", 1.0)


class Case(NamedTuple):
    """One row: what is measured on `link`, beside the same on `ref`."""

    label: str
    """The kind of guests: uml, or tcg for QEMU's."""
    name: str
    metric: Metric
    size: int
    link: str
    ref: str
    goal: Goal = NO_GOAL
    streams: int = 1

    @property
    def round(self) -> tuple[Metric, int, int]:
        """What cases that are measured in turn have in common."""
        return self.metric, self.size, self.streams


def common(label: str, flood_goal: Goal, tcp_goal: Goal) -> list[Case]:
    """Return what is measured between guests of every kind."""
    return [
        *(
            Case(label, f"{label}/flood", "flood", size, "vale", "null", flood_goal)
            for size in SIZES
        ),
        *(
            Case(
                label, f"{label}/tcp-{n}", "tcp", TCP_UNIT, "vale", "loopback", tcp_goal, streams=n
            )
            for n in (1, 4)
        ),
        Case(label, f"{label}/rtt", "rtt", PING_SIZE, "vale", "loopback"),
        Case(label, f"{label}/idle", "idle", 0, "vale", "limit", IDLE_GOAL),
    ]


def variants() -> list[Case]:
    """Return TCP with fewer offloads and with other receivers, for User-mode Linux."""
    return [
        Case("uml", f"uml/{name}/{link}", "tcp", TCP_UNIT, link, "loopback", goal, streams)
        for name, streams, links in (("tcp", 1, VARIANTS), ("tcp-4", 4, RECEIVERS))
        for link in links
        for goal in [NO_GOAL if link.endswith("drop") else HOLD_GOAL]
    ]


def against_netdevs() -> list[Case]:
    """Return the switch beside each network that QEMU has without us, for guests of QEMU."""
    return [
        case
        for ref in NETDEVS
        for case in (
            *(
                Case("tcg", f"qemu/{ref}/flood", "flood", size, "vale", ref, NETDEV_GOAL)
                for size in SIZES
            ),
            Case("tcg", f"qemu/{ref}/tcp", "tcp", TCP_UNIT, "vale", ref, NETDEV_GOAL),
            Case("tcg", f"qemu/{ref}/rtt", "rtt", PING_SIZE, "vale", ref, NETDEV_GOAL),
        )
    ]


CASES = [
    *common("uml", FLOOD_GOAL, TCP_GOAL),
    *variants(),
    *common("tcg", NO_GOAL, NO_GOAL),
    *against_netdevs(),
]
