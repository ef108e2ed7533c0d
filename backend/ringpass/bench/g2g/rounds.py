# SPDX-License-Identifier: BSD-2-Clause
"""A round: cases of one metric and size and their references, measured in turn.

What a row's ns is the time of: a frame for a flood, 1000 bytes of payload for TCP and UDP, a round
trip, CPU time in a second for the idle daemon. So the ratio is that of times for each: half the
throughput of its reference is a ratio of 2.
"""

import time
from collections import Counter
from collections.abc import Sequence
from statistics import median, quantiles

from ringpass.bench import traffic
from ringpass.bench.g2g.cases import REFERENCES, STREAM_UNIT, Case
from ringpass.bench.g2g.link import Link
from ringpass.bench.g2g.pair import Pair
from ringpass.bench.g2g.ways import LIMIT, LINKS
from ringpass.bench.measure import Options, in_turn
from ringpass.bench.report import Row, rounded, row
from ringpass.bench.tools import Tool
from ringpass.bench.usage import Usage
from ringpass.errors import RingpassError

PINGS = 200
IDLE_S = 5.0
IDLE_LIMIT_NS = 5e6


def measure_round(pair: Pair, cases: Sequence[Case], options: Options) -> dict[Case, Row]:
    """Measure each link that `cases`, all of one round, need; return their rows.

    In a flood vm1 has a core for itself, vm2 and the daemon have the other. Else all of them run
    where the scheduler puts them.
    """
    first = cases[0]
    threads = pair.apart() if first.metric == "flood" else pair.anywhere()
    there = {link.name for link in pair.links}
    refs = {case: [(name, case.ref_tool) for name in case.refs if name in there] for case in cases}
    wanted = dict.fromkeys(what for case in cases for what in [(case.link, case.tool), *refs[case]])
    meters = {
        what: KINDS[first.metric](pair, LINKS[what[0]], what[1], first, options) for what in wanted
    }
    with pair.policy(first.policy):
        samples = dict(zip(meters, in_turn(options.runs, *meters.values()), strict=True))
    rows = {}
    for case in cases:
        mine = case.link, case.tool
        best = min((samples[ref] for ref in refs[case]), key=median)
        rows[case] = meters[mine].row(case, threads, samples[mine], best)
    return rows


class Meter:
    """Takes samples of one link, in ns, and adds up what the daemon did and used meanwhile."""

    def __init__(self, pair: Pair, link: Link, tool: Tool, case: Case, options: Options) -> None:
        self.pair = pair
        self.link = link
        self.tool = tool
        self.size = case.size
        self.streams = case.streams
        self.options = options
        self.used: list[Usage] = []
        self.guests_cpu_s = 0.0

    def __call__(self) -> float:
        before, guests_before = self.pair.bed.usage(), self.pair.guests_cpu_s()
        ns = self.sample()
        self.used.append(self.pair.bed.usage() - before)
        self.guests_cpu_s += self.pair.guests_cpu_s() - guests_before
        return ns

    def sample(self) -> float:
        """Return one sample."""
        raise NotImplementedError

    def frames(self) -> int:
        """Return how many frames all samples were."""
        return sum(usage.frames for usage in self.used)

    def more(self) -> dict[str, object]:
        """Return fields of a row that only this metric has."""
        return {}

    def row(
        self,
        case: Case,
        threads: dict[str, str],
        samples: Sequence[float],
        ref_samples: Sequence[float],
    ) -> Row:
        """Return the row of `case`, whose link this is."""
        drops = sum((usage.drops for usage in self.used), Counter[str]())
        bits = 8 * case.size if case.metric in ("flood", "tcp", "udp") else 0
        seconds = sum(usage.at_s for usage in self.used)
        frames = self.frames()
        return row(
            case.name,
            case.size,
            samples,
            ref=REFERENCES[case.ref],
            ref_samples=ref_samples,
            goal=case.goal,
            threads=threads,
            via=case.via,
            label=case.label,
            metric=case.metric,
            gbps=rounded(bits / median(samples)) if bits else None,
            ref_gbps=rounded(bits / median(ref_samples)) if bits else None,
            drops={reason: n for reason, n in drops.items() if reason != "discard"},
            backend_cores=rounded(sum(usage.cpu_s for usage in self.used) / seconds),
            guest_cores=rounded(self.guests_cpu_s / seconds),
            kicks_per_frame=each(sum(usage.kicks for usage in self.used), frames),
            calls_per_frame=each(sum(usage.calls for usage in self.used), frames),
            **self.more(),
        )


class Flood(Meter):
    """A flood, which the receiver counts where frames enter it."""

    lost = 0
    received = 0

    def sample(self) -> float:
        done = self.link.flood(self.pair, self.tool, self.size, self.options.seconds)
        if not done.pps:
            raise RingpassError(
                f"cannot measure a flood by {self.tool.name} over {self.link.via}",
                f"{done.received} of {done.sent} frames arrived",
                "look whether both ends are up: ringpass port ls",
            )
        self.lost += done.missing
        self.received += done.received
        return 1e9 / done.pps

    def frames(self) -> int:
        return self.received

    def more(self) -> dict[str, object]:
        return {"lost": self.lost}


class Tcp(Meter):
    """A transfer by TCP to the other guest, or over the sender's own loopback."""

    retransmits = 0

    def sample(self) -> float:
        with self.link.answering(self.pair):
            done = traffic.tcp(
                self.pair.vm1,
                self.link.address(self.pair),
                self.options.seconds,
                streams=self.streams,
            )
        self.retransmits += done.retransmits
        return STREAM_UNIT * 8 / done.gbps

    def more(self) -> dict[str, object]:
        return {"retransmits": self.retransmits}


class Udp(Meter):
    """A stream of datagrams to the other guest, as fast as they go."""

    def sample(self) -> float:
        address = self.link.address(self.pair)
        with self.link.answering(self.pair):
            return STREAM_UNIT * 8 / traffic.udp(self.pair.vm1, address, self.options.seconds)


class Rtt(Meter):
    """Pings of the other guest, or of the sender itself."""

    def __init__(self, pair: Pair, link: Link, tool: Tool, case: Case, options: Options) -> None:
        super().__init__(pair, link, tool, case, options)
        self.times: list[float] = []

    def sample(self) -> float:
        times = self.link.ping(self.pair, PINGS)
        self.times += times
        return median(times) * 1e3

    def more(self) -> dict[str, object]:
        percents = quantiles(self.times, n=100, method="inclusive")
        return {
            "rtt_us": {
                "min": rounded(min(self.times)),
                "median": rounded(median(self.times)),
                "p90": rounded(percents[89]),
                "p99": rounded(percents[98]),
            }
        }


class Idle(Meter):
    """The CPU time of the daemon while nobody sends anything; its limit is a constant."""

    def sample(self) -> float:
        if self.link is LIMIT:
            return IDLE_LIMIT_NS
        before = self.pair.bed.usage()
        time.sleep(IDLE_S / self.options.runs)
        usage = self.pair.bed.usage() - before
        return max(usage.cpu_s / usage.at_s * 1e9, 1.0)


KINDS: dict[str, type[Meter]] = {
    "flood": Flood,
    "tcp": Tcp,
    "udp": Udp,
    "rtt": Rtt,
    "idle": Idle,
}


def each(total: int, frames: int) -> float | None:
    """Return `total` for each of `frames`, None if there were none."""
    return rounded(total / frames) if frames else None
