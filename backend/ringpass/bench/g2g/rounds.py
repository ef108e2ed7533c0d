# SPDX-License-Identifier: BSD-2-Clause
"""A round: cases of one metric and size and their references, measured in turn.

What a row's ns is the time of: a frame for a flood, 1000 bytes of payload for TCP, a round trip,
CPU time in a second for the idle daemon. So the ratio is that of times for each: half the
throughput of its reference is a ratio of 2.
"""

import time
from collections import Counter
from collections.abc import Sequence
from statistics import median, quantiles

from ringpass.bench import traffic
from ringpass.bench.g2g.cases import REFERENCES, TCP_UNIT, Case
from ringpass.bench.g2g.pair import Pair
from ringpass.bench.measure import Options, in_turn
from ringpass.bench.report import Row, rounded, row
from ringpass.bench.usage import Usage

#: Behind the null port: a locally administered address that nobody has.
NOBODY = "02:00:00:00:00:09"
PINGS = 200
IDLE_S = 5.0
IDLE_LIMIT_NS = 5e6


def measure_round(pair: Pair, cases: Sequence[Case], options: Options) -> dict[Case, Row]:
    """Measure each link that `cases`, all of one round, need; return their rows.

    In a flood vm1 has a core for itself, vm2 and the daemon have the other. Else all of them run
    where the scheduler puts them.
    """
    kind = KINDS[cases[0].metric]
    threads = pair.apart() if cases[0].metric == "flood" else pair.anywhere()
    links = dict.fromkeys(name for case in cases for name in (case.link, case.ref))
    meters = {link: kind(pair, link, cases[0], options) for link in links}
    samples = dict(zip(meters, in_turn(options.runs, *meters.values()), strict=True))
    return {
        case: meters[case.link].row(case, threads, samples[case.link], samples[case.ref])
        for case in cases
    }


class Meter:
    """Takes samples of one link, in ns, and adds up what the daemon did and used meanwhile."""

    def __init__(self, pair: Pair, link: str, case: Case, options: Options) -> None:
        self.pair = pair
        self.link = link
        self.size = case.size
        self.streams = case.streams
        self.options = options
        self.used: list[Usage] = []

    def __call__(self) -> float:
        before = self.pair.bed.usage()
        ns = self.sample()
        self.used.append(self.pair.bed.usage() - before)
        return ns

    def sample(self) -> float:
        """Return one sample."""
        raise NotImplementedError

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
        bits = 8 * case.size if case.metric in ("flood", "tcp") else 0
        cpu_s = sum(usage.cpu_s for usage in self.used)
        seconds = sum(usage.at_s for usage in self.used)
        return row(
            case.name,
            case.size,
            samples,
            ref=REFERENCES[case.ref],
            ref_samples=ref_samples,
            goal=case.goal,
            threads=threads,
            via="vhost-vale",
            label=case.label,
            metric=case.metric,
            gbps=rounded(bits / median(samples)) if bits else None,
            ref_gbps=rounded(bits / median(ref_samples)) if bits else None,
            drops={reason: n for reason, n in drops.items() if reason != "discard"},
            backend_cores=rounded(cpu_s / seconds),
            **self.more(),
        )


class Flood(Meter):
    """A flood, which the receiver counts in its driver; into the null port, the sender does."""

    lost = 0

    def sample(self) -> float:
        pair, nic, seconds = self.pair, self.pair.nic(self.link), self.options.seconds
        if self.link == "null":
            sent = traffic.flood_to(pair.vm1, NOBODY, size=self.size, seconds=seconds, nic=nic)
            return 1e9 / sent.pps
        done = traffic.flood(
            *(pair.vm1, pair.vm2),
            size=self.size,
            seconds=seconds,
            sender_nic=nic,
            receiver_nic=nic,
        )
        self.lost += done.missing
        return 1e9 / done.pps

    def more(self) -> dict[str, object]:
        return {"lost": self.lost}


class Tcp(Meter):
    """A transfer by TCP to the other guest, or over the sender's own loopback."""

    retransmits = 0

    def sample(self) -> float:
        done = traffic.tcp(
            self.pair.vm1,
            self.pair.address(self.link),
            self.options.seconds,
            streams=self.streams,
        )
        self.retransmits += done.retransmits
        return TCP_UNIT * 8 / done.gbps

    def more(self) -> dict[str, object]:
        return {"retransmits": self.retransmits}


class Rtt(Meter):
    """Pings of the other guest, or of the sender itself."""

    def __init__(self, pair: Pair, link: str, case: Case, options: Options) -> None:
        super().__init__(pair, link, case, options)
        self.times: list[float] = []

    def sample(self) -> float:
        times = traffic.ping(self.pair.vm1, self.pair.address(self.link), PINGS)
        self.times += times
        return median(times) * 1e3

    def more(self) -> dict[str, object]:
        return {
            "rtt_us": {
                "min": rounded(min(self.times)),
                "median": rounded(median(self.times)),
                "p99": rounded(quantiles(self.times, n=100, method="inclusive")[98]),
            }
        }


class Idle(Meter):
    """The CPU time of the daemon while nobody sends anything; its limit is a constant."""

    def sample(self) -> float:
        if self.link == "limit":
            return IDLE_LIMIT_NS
        before = self.pair.bed.usage()
        time.sleep(IDLE_S / self.options.runs)
        usage = self.pair.bed.usage() - before
        return max(usage.cpu_s / usage.at_s * 1e9, 1.0)


KINDS: dict[str, type[Meter]] = {"flood": Flood, "tcp": Tcp, "rtt": Rtt, "idle": Idle}
