# SPDX-License-Identifier: BSD-2-Clause
"""What there is to measure between two guests, beside what, and to what goal."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ringpass.bench.g2g.ways import LINKS
from ringpass.bench.g2g.ways.vhost import RECEIVERS, VARIANTS
from ringpass.bench.report import NO_GOAL, Goal
from ringpass.bench.tools import NETMAP, NUMPY, PACKET, PKTGEN, Tool

Metric = Literal["flood", "tcp", "udp", "rtt", "idle"]
Policy = Literal["adaptive", "busy"]

SMALL, FULL = SIZES = (60, 1500)
#: What ns is the time of for TCP and UDP: so many bytes of payload.
STREAM_UNIT = 1000
#: Ethernet, IP and ICMP headers with 56 bytes.
PING_SIZE = 98
METRIC_SIZES = {"tcp": STREAM_UNIT, "udp": STREAM_UNIT, "rtt": PING_SIZE}
#: What a flood of the ways is called, by what sends it.
FLOODS = {PKTGEN: "flood", NETMAP: "flood", NUMPY: "flood-numpy"}

#: What a reference is called in a row.
REFERENCES = {
    "null": "into a null port",
    "loopback": "its own loopback",
    "limit": "0.5 % of a core",
    "stream": "QEMU's -netdev stream",
    "dgram": "QEMU's -netdev dgram",
    "tap": "QEMU's -netdev tap, on a bridge",
    "netdevs": "the best of QEMU's own netdevs",
}
NETDEVS = ("stream", "dgram", "tap")
#: Links of which the one that is best at something is a reference.
BEST_OF = {"netdevs": NETDEVS}

UML_FLOOD_GOAL = Goal("at least 0.6 times the frames/s into the null port", 1 / 0.6)
TCP_GOAL = Goal(
    "at least 1.3 times the guest's own loopback, nothing dropped by us", 1 / 1.3, lossless=True
)
IDLE_GOAL = Goal("under 0.5 % of a core", 1.0)
PASSTHROUGH_IDLE_GOAL = Goal("under 0.3 % of a core", 0.6)
HOLD_GOAL = Goal("nothing dropped by us", lossless=True)
NETDEV_GOAL = Goal("no slower than QEMU's own", 1.0)
#: By what sends small frames through a port that the guest has passed through.
FLOOD_GOALS = {
    NETMAP: Goal("at least 40 times the frames/s of QEMU's own netdevs", 1 / 40),
    NUMPY: Goal("at least 20 times the frames/s of QEMU's own netdevs", 1 / 20),
}


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
    tool: Tool = PACKET
    """What sends a flood."""
    ref_tool: Tool = PACKET
    """What sends that of the reference."""
    policy: Policy = "adaptive"
    """Of the worker: whether it sleeps without work, or spins."""

    @property
    def via(self) -> str:
        """The front end and the kind of port that frames pass."""
        return LINKS[self.link].via

    @property
    def patched(self) -> bool:
        """Whether its guests need the patched QEMU."""
        return LINKS[self.link].patched

    @property
    def refs(self) -> tuple[str, ...]:
        """The links whose best is the reference."""
        return BEST_OF.get(self.ref, (self.ref,))

    @property
    def round(self) -> tuple[Metric, int, int, Policy]:
        """What cases that are measured in turn have in common."""
        return self.metric, self.size, self.streams, self.policy


def common(label: str, flood_goal: Goal, tcp_goal: Goal) -> list[Case]:
    """Return what is measured between guests of every kind."""
    return [
        *(
            Case(label, f"{label}/flood", "flood", size, "vale", "null", flood_goal)
            for size in SIZES
        ),
        *(
            Case(
                label,
                f"{label}/tcp-{n}",
                "tcp",
                STREAM_UNIT,
                "vale",
                "loopback",
                tcp_goal,
                streams=n,
            )
            for n in (1, 4)
        ),
        Case(label, f"{label}/rtt", "rtt", PING_SIZE, "vale", "loopback"),
        Case(label, f"{label}/idle", "idle", 0, "vale", "limit", IDLE_GOAL),
    ]


def variants() -> list[Case]:
    """Return TCP with fewer offloads and with other receivers, for User-mode Linux."""
    return [
        Case("uml", f"uml/{name}/{link}", "tcp", STREAM_UNIT, link, "loopback", goal, streams)
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
            Case("tcg", f"qemu/{ref}/tcp", "tcp", STREAM_UNIT, "vale", ref, NETDEV_GOAL),
            Case("tcg", f"qemu/{ref}/rtt", "rtt", PING_SIZE, "vale", ref, NETDEV_GOAL),
        )
    ]


def way(link: str, *tools: Tool, metrics: Sequence[Metric] = ("tcp", "udp", "rtt")) -> list[Case]:
    """Return what is measured on every way between guests of QEMU, beside the best netdev.

    `tools` send the floods; kernel pktgen always sends those of the reference.
    """
    via = LINKS[link].via
    passthrough = via.startswith("passthrough")
    floods = [
        Case(
            *("tcg", f"{via}/{FLOODS[tool]}", "flood", size, link, "netdevs"),
            goal=FLOOD_GOALS.get(tool, NO_GOAL) if passthrough and size == SMALL else NO_GOAL,
            tool=tool,
            ref_tool=PKTGEN,
        )
        for tool in tools
        for size in SIZES
    ]
    others = [
        Case(
            *("tcg", f"{via}/{metric}", metric, METRIC_SIZES[metric], link, "netdevs"),
            goal=NETDEV_GOAL if passthrough and metric == "tcp" else NO_GOAL,
        )
        for metric in metrics
    ]
    return floods + others


def spinning(link: str) -> Case:
    """Return the round trip with a worker that does not sleep."""
    name = f"{LINKS[link].via}/rtt-spin"
    return Case("tcg", name, "rtt", PING_SIZE, link, "netdevs", policy="busy")


CASES = [
    *common("uml", UML_FLOOD_GOAL, TCP_GOAL),
    *variants(),
    *common("tcg", NO_GOAL, NO_GOAL),
    *against_netdevs(),
    *way("stream", PKTGEN),
    *way("dgram", PKTGEN),
    *way("tap", PKTGEN),
    *way("vale", PKTGEN),
    spinning("vale"),
    *way("passthrough", NETMAP, NUMPY),
    spinning("passthrough"),
    Case("tcg", "passthrough-vale/idle", "idle", 0, "passthrough", "limit", PASSTHROUGH_IDLE_GOAL),
    *way("pipe", NETMAP, NUMPY),
    *way("mixed", NETMAP),
    *way("process", NETMAP, NUMPY, metrics=["rtt"]),
    *way("nic", NETMAP),
    *way("chain-1", NUMPY, metrics=["rtt"]),
    *way("chain-2", NUMPY, metrics=["rtt"]),
    *way("chain-3", NUMPY, metrics=["rtt"]),
    # Of other guests from here on: those of the patched QEMU.
    *way("ptnet", NETMAP, NUMPY),
    *way("ptnet-pipe", NETMAP, NUMPY),
    *way("netdev-virtio", PKTGEN),
]
