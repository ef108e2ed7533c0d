# SPDX-License-Identifier: BSD-2-Clause
"""`bench g2g`: from a real guest to a real guest, through a daemon's VALE switch.

    vm1                                                 vm2
    eth0 --- vale0:vm1 ==== switch ==== vale0:vm2 --- eth0
    eth1 --- valenull:vm1, which throws frames away: the flood's reference

A full receiver holds its senders back for 20 ms, not for the 1 ms of the default: a User-mode Linux
guest whose clock ticks a hundred times a second may not look at its ring for 10 ms.

In a flood vm1 has a core for itself, vm2 and the daemon have the other. Else all of them run
where the scheduler puts them, as they would for a user.

What a row's ns is the time of: a frame for a flood, 1000 bytes of payload for TCP, a round trip,
CPU time in a second for the idle daemon. So the ratio is that of times for each: half the
throughput of its reference is a ratio of 2.
"""

import time
from collections.abc import Callable, Sequence
from statistics import median, quantiles

from ringpass.bench import traffic
from ringpass.bench.machine import place, prefer, two_cpus
from ringpass.bench.measure import Options, in_turn
from ringpass.bench.report import NO_GOAL, Goal, Row, rounded, row
from ringpass.bench.testbed import Testbed
from ringpass.bench.usage import Usage
from ringpass.image import ensure
from ringpass.vm.guest import Guest

CONFIG = """\
[daemon]
workers = 1

[switch.vale0]

[port."vale0:vm1"]
hold_us = 20000

[port."vale0:vm2"]
hold_us = 20000

[port."valenull:vm1"]
kind = "null"
"""

VM1, VM2, LOOPBACK = "10.0.0.1", "10.0.0.2", "127.0.0.1"
#: Behind the null port: a locally administered address that nobody has.
NOBODY = "02:00:00:00:00:09"
SIZES = (60, 1500)
STREAMS = (1, 4)
TCP_UNIT = 1000
PINGS = 200
#: Ethernet, IP and ICMP headers with 56 bytes.
PING_SIZE = 98
IDLE_S = 5.0

FLOOD_GOAL = Goal("at least 0.6 times the frames/s into the null port", 1 / 0.6)
TCP_GOAL = Goal(
    "at least 1.3 times the guest's own loopback, nothing dropped by us", 1 / 1.3, lossless=True
)
IDLE_GOAL = Goal("under 0.5 % of a core", 1.0)
IDLE_LIMIT_NS = 5e6

Talk = Callable[[str], None]


def measure(options: Options, talk: Talk) -> list[Row]:
    """Measure all wanted cases with guests of User-mode Linux, then with QEMU's."""
    rows: list[Row] = []
    for label in ("uml", "tcg"):
        wanted = [case for case in cases(label) if options.want(case.name, case.size, 2)]
        if wanted:
            rows += with_guests(label, wanted, options, talk)
    return rows


class Case:
    """One thing to measure between two guests; `run` returns its row."""

    def __init__(
        self, label: str, name: str, size: int, run: Callable[["Pair", "Case", Options], Row]
    ) -> None:
        self.label = label
        self.name = f"{label}/{name}"
        self.size = size
        self.run = run


def cases(label: str) -> list[Case]:
    """Return all cases of guests of this kind."""
    return [
        *(Case(label, "flood", size, flood) for size in SIZES),
        *(Case(label, f"tcp-{streams}", TCP_UNIT, tcp) for streams in STREAMS),
        Case(label, "rtt", PING_SIZE, rtt),
        Case(label, "idle", 0, idle),
    ]


class Pair:
    """Two running guests on a testbed, and where everything runs."""

    def __init__(self, bed: Testbed, label: str, cpus: tuple[int, int]) -> None:
        self.bed = bed
        make = bed.uml if label == "uml" else bed.qemu
        image = ensure()
        self.vm1 = make(image, "vm1", {"vale0:vm1": f"{VM1}/24", "valenull:vm1": ""})
        self.vm2 = make(image, "vm2", {"vale0:vm2": f"{VM2}/24"})
        bed.boot([self.vm1, self.vm2])
        self.cpus = cpus
        for process in (self.vm1.pid, self.vm2.pid, bed.daemon_pid):
            prefer(process)
        for guest in (self.vm1, self.vm2):
            traffic.serve_tcp(guest)

    def apart(self) -> dict[str, str]:
        """Give the sender a core, the daemon and the receiver the other; return who is where."""
        first, second = self.cpus
        place(self.vm1.pid, {first})
        for process in (self.vm2.pid, self.bed.daemon_pid):
            place(process, {second})
        return {"sender": f"{first}", "worker, receiver": f"{second}"}

    def anywhere(self) -> dict[str, str]:
        """Let all run on both cores; return who is where."""
        for process in (self.vm1.pid, self.vm2.pid, self.bed.daemon_pid):
            place(process, self.cpus)
        return {"sender, worker, receiver": f"{self.cpus[0]}, {self.cpus[1]}"}

    def guests(self) -> tuple[Guest, Guest]:
        """Return the sender and the receiver."""
        return self.vm1, self.vm2


def with_guests(label: str, wanted: Sequence[Case], options: Options, talk: Talk) -> list[Row]:
    """Boot a pair of guests and measure the cases `wanted` between them."""
    cpus = two_cpus()
    rows = []
    talk(f"booting two guests ({label})")
    with Testbed("bench-g2g", CONFIG) as bed:
        pair = Pair(bed, label, cpus)
        for case in wanted:
            talk(f"{case.name}, {case.size} bytes")
            rows.append(case.run(pair, case, options))
    return rows


def flood(pair: Pair, case: Case, options: Options) -> Row:
    """Flood the receiver, which counts in its driver, and the null port."""
    threads, lost = pair.apart(), 0

    def to_receiver() -> float:
        nonlocal lost
        done = traffic.flood(*pair.guests(), size=case.size, seconds=options.seconds)
        lost += done.missing
        return 1e9 / done.pps

    def to_null() -> float:
        return (
            1e9
            / traffic.flood_to(
                pair.vm1, NOBODY, size=case.size, seconds=options.seconds, nic="eth1"
            ).pps
        )

    before = pair.bed.usage()
    samples, ref_samples = in_turn(options.runs, to_receiver, to_null)
    return guest_row(
        case,
        threads,
        samples,
        ref="into a null port",
        ref_samples=ref_samples,
        goal=FLOOD_GOAL if case.label == "uml" else NO_GOAL,
        metric="flood",
        usage=pair.bed.usage() - before,
        unit_bits=case.size * 8,
        lost=lost,
    )


def tcp(pair: Pair, case: Case, options: Options) -> Row:
    """Transfer by TCP to the other guest, and over the sender's own loopback."""
    streams = int(case.name.rpartition("-")[2])
    threads, retransmits = pair.anywhere(), 0

    def to_receiver() -> float:
        nonlocal retransmits
        done = traffic.tcp(pair.vm1, VM2, options.seconds, streams=streams)
        retransmits += done.retransmits
        return TCP_UNIT * 8 / done.gbps

    def over_loopback() -> float:
        done = traffic.tcp(pair.vm1, LOOPBACK, options.seconds, streams=streams)
        return TCP_UNIT * 8 / done.gbps

    before = pair.bed.usage()
    samples, ref_samples = in_turn(options.runs, to_receiver, over_loopback)
    return guest_row(
        case,
        threads,
        samples,
        ref="its own loopback",
        ref_samples=ref_samples,
        goal=TCP_GOAL if case.label == "uml" else NO_GOAL,
        metric="tcp",
        usage=pair.bed.usage() - before,
        unit_bits=TCP_UNIT * 8,
        retransmits=retransmits,
    )


def rtt(pair: Pair, case: Case, options: Options) -> Row:
    """Ping the other guest, and the sender's own loopback."""
    threads = pair.anywhere()
    times: list[float] = []

    def to_receiver() -> float:
        done = traffic.ping(pair.vm1, VM2, PINGS)
        times.extend(done)
        return median(done) * 1e3

    def over_loopback() -> float:
        return median(traffic.ping(pair.vm1, LOOPBACK, PINGS)) * 1e3

    before = pair.bed.usage()
    samples, ref_samples = in_turn(options.runs, to_receiver, over_loopback)
    return guest_row(
        case,
        threads,
        samples,
        ref="its own loopback",
        ref_samples=ref_samples,
        goal=NO_GOAL,
        metric="rtt",
        usage=pair.bed.usage() - before,
        rtt_us={
            "min": rounded(min(times)),
            "median": rounded(median(times)),
            "p99": rounded(quantiles(times, n=100, method="inclusive")[98]),
        },
    )


def idle(pair: Pair, case: Case, options: Options) -> Row:
    """Measure the CPU time of the daemon while nobody sends anything."""
    threads = pair.anywhere()
    time.sleep(1)  # the last answers to earlier traffic

    def cpu_ns_a_second() -> float:
        before = pair.bed.usage()
        time.sleep(IDLE_S / options.runs)
        usage = pair.bed.usage() - before
        return max(usage.cpu_s / usage.at_s * 1e9, 1.0)

    before = pair.bed.usage()
    samples = [cpu_ns_a_second() for _ in range(options.runs)]
    return guest_row(
        case,
        threads,
        samples,
        ref="0.5 % of a core",
        ref_samples=[IDLE_LIMIT_NS],
        goal=IDLE_GOAL,
        metric="idle",
        usage=pair.bed.usage() - before,
    )


def guest_row(
    case: Case,
    threads: dict[str, str],
    samples: Sequence[float],
    *,
    ref: str,
    ref_samples: Sequence[float],
    goal: Goal,
    metric: str,
    usage: Usage,
    unit_bits: int | None = None,
    lost: int = 0,
    retransmits: int | None = None,
    rtt_us: dict[str, float] | None = None,
) -> Row:
    """Return a row with what the daemon did and used; `unit_bits` are sent in each sample's ns."""
    return row(
        case.name,
        case.size,
        samples,
        ref=ref,
        ref_samples=ref_samples,
        goal=goal,
        threads=threads,
        via="vhost-vale",
        label=case.label,
        metric=metric,
        lost=lost,
        gbps=rounded(unit_bits / median(samples)) if unit_bits else None,
        ref_gbps=rounded(unit_bits / median(ref_samples)) if unit_bits else None,
        retransmits=retransmits,
        rtt_us=rtt_us,
        drops={reason: n for reason, n in usage.drops.items() if reason != "discard"},
        backend_cores=rounded(usage.cpu_s / usage.at_s),
    )
