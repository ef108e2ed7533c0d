# SPDX-License-Identifier: BSD-2-Clause
"""`bench passthrough`: front ends as guests have them, but in threads of this process.

They exchange cursors with the backend's worker, or with the other end of a pipe, through CSBs, and
notify as a guest's driver does: only who asked. csrc/bench/passthrough.c has the loops. So this is
what passthrough costs without what a virtual machine adds to it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from tempfile import TemporaryFile
from typing import NamedTuple

from ringpass.bench import pipe, switch
from ringpass.bench.machine import one_cpu, two_cpus
from ringpass.bench.measure import Options, in_turn
from ringpass.bench.report import NO_GOAL, Goal, Row, rounded, row
from ringpass.bench.testbed import Testbed
from ringpass.dataplane import (
    NO_WORKER,
    DataPlane,
    FrontEndKind,
    Kind,
    Policy,
    PortId,
    PortSpec,
    RegionSpec,
    WorkerId,
)
from ringpass.dataplane.frontends import Between, Flood, FrontEnds, ping_pong, wake_ups
from ringpass.dataplane.loops import Loop, Loops, PipeLoop, PipeLoops

BATCH = 256
SIZES = (60, 1500)
SLOTS = 1024
#: So long that nothing is dropped when the receiver's thread does not run for a while.
HOLD_US = 1_000_000

FLOOD_GOALS = {
    "vale": Goal("at most 1.15 times VALE itself", 1.15),
    "pipe": Goal("at most 1.3 times a pipe", 1.3),
}
#: The ends of a pipe, which has no worker, sleep as they like.
KICKS_GOALS = {"vale": Goal("at most 0.002 kicks a frame", limit_kicks=0.002), "pipe": NO_GOAL}
SPIN_GOAL = Goal("at most 2 times the bare round trip", 2)
SLEEP_GOAL = Goal("at most 1.5 times the bare wake-ups", 1.5)

IDLE_CASE = "vale/idle"
IDLE_GOAL = Goal("at most 0.3 % of a core", 1.0)
IDLE_LIMIT_NS = 3e6
#: A run is as long, at least: shorter ones would measure what measuring takes.
IDLE_S = 0.5
IDLE_CONFIG = """\
[daemon]
workers = 1

[switch.vale0]

[port."vale0:vm"]
kind = "passthrough"
"""

Talk = Callable[[str], None]


class Trip(NamedTuple):
    """A case of round trips."""

    name: str
    between: Between
    sleep: bool
    through: bool
    """A worker or a relay is passed twice: four wake-ups, not two."""
    lines: int = 0
    """Cache lines that cross with a frame each way, beside the cursor: its slot, its bytes."""


TRIPS = (
    Trip("vale/rtt-spin", Between.WORKER, sleep=False, through=False, lines=2),
    Trip("pipe/rtt-spin", Between.PIPE, sleep=False, through=False, lines=1),
    Trip("vale/rtt-sleep", Between.WORKER, sleep=True, through=False),
    Trip("pipe/rtt-sleep", Between.PIPE, sleep=True, through=False),
    Trip("vale/rtt-sleep-through", Between.WORKER, sleep=True, through=True),
    Trip("pipe/rtt-sleep-through", Between.RELAYED, sleep=True, through=True),
)


def measure(options: Options, talk: Talk) -> list[Row]:
    """Measure all wanted cases; `talk` is told which one is running."""
    rows = []
    for cores, flood in ((1, one_core), (2, two_cores)):
        for kind in FLOOD_GOALS:
            sizes = [size for size in SIZES if options.want(f"{kind}/flood", size, cores)]
            if sizes:
                talk(f"{kind}/flood, {cores} core{'s' * (cores > 1)}")
                rows += flood(kind, sizes, options)
    for trip in TRIPS:
        if options.want(trip.name, SIZES[0], 2):
            talk(trip.name)
            rows.append(round_trip(trip, options))
    if options.want(IDLE_CASE, 0, 1):
        talk(IDLE_CASE)
        rows.append(idle(options))
    return rows


class Path(NamedTuple):
    """Two front ends, and the worker between them if there is one."""

    ends: FrontEnds
    dataplane: DataPlane
    worker: WorkerId

    @contextmanager
    def policy(self, policy: Policy, cpu: int | None) -> Iterator[None]:
        """Let the worker run so for a while; it sleeps otherwise."""
        if self.worker != NO_WORKER:
            self.dataplane.set_worker(self.worker, policy, cpu=cpu)
        yield
        if self.worker != NO_WORKER:
            self.dataplane.set_worker(self.worker, Policy.NOTIFY, cpu=cpu)


@contextmanager
def path(between: Between) -> Iterator[Path]:
    """Yield two front ends of an embedded backend."""
    with TemporaryFile() as counters, DataPlane(counters.fileno()) as dataplane:
        worker = NO_WORKER
        if between is Between.WORKER:
            worker = dataplane.add_worker(Policy.NOTIFY)
        if between in (Between.PIPE, Between.RELAYED):
            ports = _pipe(dataplane)
        else:
            ports = _vale(dataplane, worker)
        with FrontEnds(dataplane, *ports, between=between) as ends:
            yield Path(ends, dataplane, worker)


def _vale(dataplane: DataPlane, worker: WorkerId) -> tuple[PortId, PortId]:
    vale = dataplane.add_switch("vale0", ageing_s=0)

    def port(name: str) -> PortId:
        return dataplane.add_port(
            PortSpec(
                name,
                front_end=FrontEndKind.RINGS,
                switch=vale,
                worker=worker,
                slots=SLOTS,
                csb=True,
                hold_us=HOLD_US,
            )
        )

    return port("vale0:near"), port("vale0:far")


def _pipe(dataplane: DataPlane) -> tuple[PortId, PortId]:
    region = dataplane.add_region(RegionSpec("pipe", slots_max=SLOTS, buf_max=4 * SLOTS))

    def end(name: str) -> PortId:
        return dataplane.add_port(
            PortSpec(
                name,
                kind=Kind.LINK,
                front_end=FrontEndKind.RINGS,
                slots=SLOTS,
                region=region,
                csb=True,
            )
        )

    ends = end("vale0:p{1"), end("vale0:p}1")
    dataplane.link_ports(*ends)
    return ends


class Reference(NamedTuple):
    """What a flood is beside: the loops without passthrough, or those without a backend."""

    loops: Loops | PipeLoops

    def one(self, size: int, seconds: float, cpu: int) -> float:
        """Return the nanoseconds of a frame through the same thing without front ends."""
        return self._run(Loop.PORT_ONE, PipeLoop.PIPE_ONE, size, seconds, (cpu, cpu))

    def two(self, size: int, seconds: float, cpus: tuple[int, int]) -> float:
        """Return those of a bare ring between two cores."""
        return self._run(Loop.SPSC, PipeLoop.RING, size, seconds, cpus)

    def _run(
        self, loop: Loop, of_pipe: PipeLoop, size: int, seconds: float, cpus: tuple[int, int]
    ) -> float:
        if isinstance(self.loops, Loops):
            done = self.loops.run(loop, size=size, batch=BATCH, seconds=seconds, cpus=cpus)
        else:
            done = self.loops.run(of_pipe, size=size, batch=BATCH, seconds=seconds, cpus=cpus)
        return done.ns / done.frames


@contextmanager
def reference(kind: str) -> Iterator[Reference]:
    """Yield the references of a flood."""
    with switch.path() if kind == "vale" else pipe.pipe() as loops:
        yield Reference(loops)


def one_core(kind: str, sizes: list[int], options: Options) -> list[Row]:
    """Measure front ends and the worker's step in one thread, beside the same without CSBs."""
    cpu = one_cpu()
    between = Between.STEPS if kind == "vale" else Between.PIPE
    rows = []
    with path(between) as ours, reference(kind) as theirs:
        for size in sizes:
            sent = _Floods()

            def flood(size: int = size, sent: "_Floods" = sent) -> float:
                return sent.add(
                    ours.ends.flood_one(size=size, batch=BATCH, seconds=options.seconds, cpu=cpu)
                )

            samples, ref_samples = in_turn(
                options.runs,
                flood,
                partial(theirs.one, size, options.seconds, cpu),
            )
            rows.append(
                row(
                    f"{kind}/flood",
                    size,
                    samples,
                    ref={"vale": "VALE without CSBs", "pipe": "a pipe of processes"}[kind],
                    ref_samples=ref_samples,
                    goal=FLOOD_GOALS[kind],
                    threads={"front ends, worker's step" if kind == "vale" else "ends": f"{cpu}"},
                    via=f"passthrough-{kind}",
                    label="native",
                    lost=sent.lost,
                )
            )
    return rows


def two_cores(kind: str, sizes: list[int], options: Options) -> list[Row]:
    """Measure threads that sleep when they can do nothing, and count their notifications."""
    cpus = two_cpus()
    if kind == "vale":
        between, ends = Between.WORKER, (cpus[0], cpus[0])
        threads = {"front ends": f"{cpus[0]}", "worker": f"{cpus[1]}"}
    else:
        between, ends = Between.PIPE, cpus
        threads = {"sender": f"{cpus[0]}", "receiver": f"{cpus[1]}"}
    rows = []
    with path(between) as ours, reference(kind) as theirs:
        for size in sizes:
            sent = _Floods()

            def flood(size: int = size, sent: "_Floods" = sent) -> float:
                with ours.policy(Policy.ADAPTIVE, cpus[1]):
                    return sent.add(
                        ours.ends.flood_two(
                            size=size, batch=BATCH, seconds=options.seconds, cpus=ends
                        )
                    )

            samples, ref_samples = in_turn(
                options.runs, flood, partial(theirs.two, size, options.seconds, cpus)
            )
            rows.append(
                row(
                    f"{kind}/flood",
                    size,
                    samples,
                    ref="single-producer ring" + " with one copy" * (kind == "vale"),
                    ref_samples=ref_samples,
                    goal=KICKS_GOALS[kind],
                    threads=threads,
                    via=f"passthrough-{kind}",
                    label="native",
                    lost=sent.lost,
                    kicks=rounded(sent.kicks / sent.frames),
                    calls=rounded(sent.calls / sent.frames),
                )
            )
    return rows


def round_trip(trip: Trip, options: Options) -> Row:
    """Measure round trips, beside the least that as many wake-ups, or cache lines, take."""
    cpus = two_cpus()
    worker = trip.between is Between.WORKER
    # What is passed in the middle has the second core, both ends have the first.
    ends = (cpus[0], cpus[0]) if worker or trip.through else cpus
    middle = cpus[1] if worker else -1
    policy = Policy.NOTIFY if trip.sleep else Policy.BUSY
    with path(trip.between) as ours:

        def sample() -> float:
            with ours.policy(policy, cpus[1]):
                return ours.ends.round_trip(
                    sleep=trip.sleep,
                    through=trip.through,
                    size=SIZES[0],
                    seconds=options.seconds,
                    cpus=ends,
                )

        def bare() -> float:
            if not trip.sleep:
                return ping_pong(seconds=options.seconds, cpus=cpus)
            across = (cpus[0], middle) if trip.through else cpus
            return wake_ups(middle=trip.through, seconds=options.seconds, cpus=across)

        def bare_frames() -> float:
            return ping_pong(seconds=options.seconds, cpus=cpus, lines=trip.lines)

        things = (sample, bare, bare_frames) if trip.lines else (sample, bare)
        samples, ref_samples, *of_frames = in_turn(options.runs, *things)
    wakes = "four" if trip.through else "two"
    return row(
        trip.name,
        SIZES[0],
        samples,
        ref=f"{wakes} bare wake-ups" if trip.sleep else "two bare cache lines",
        ref_samples=ref_samples,
        goal=SLEEP_GOAL if trip.sleep else SPIN_GOAL,
        threads=_placed(trip, cpus),
        via="passthrough-vale" if worker else "passthrough-pipe",
        label="native",
        metric="rtt",
        ref2="two bare cursors and what they announce" if of_frames else "",
        ref2_ns=rounded(median(of_frames[0])) if of_frames else None,
    )


def _placed(trip: Trip, cpus: tuple[int, int]) -> dict[str, str]:
    both = f"{cpus[0]}, {cpus[1]}"
    if trip.between is Between.WORKER:
        return {"front ends": f"{cpus[0]}", "worker": f"{cpus[1]}"}
    if trip.between is Between.RELAYED:
        return {"ends": f"{cpus[0]}", "relay": both}
    return {"near end": f"{cpus[0]}", "far end": f"{cpus[1]}"}


def idle(options: Options) -> Row:
    """Measure the CPU time of a daemon with a guest's port while nobody sends anything."""
    with Testbed("bench-passthrough", IDLE_CONFIG) as bed:
        time.sleep(IDLE_S)  # it has just started

        def used() -> float:
            before = bed.usage()
            time.sleep(max(options.seconds, IDLE_S))
            usage = bed.usage() - before
            return max(usage.cpu_s / usage.at_s * 1e9, 1.0)

        samples, ref_samples = in_turn(options.runs, used, lambda: IDLE_LIMIT_NS)
    return row(
        IDLE_CASE,
        0,
        samples,
        ref="0.3 % of a core",
        ref_samples=ref_samples,
        goal=IDLE_GOAL,
        threads={"daemon": "any"},
        via="passthrough-vale",
        label="native",
        metric="idle",
    )


class _Floods:
    """Sums over the runs of a flood."""

    frames = lost = kicks = calls = 0

    def add(self, one: Flood) -> float:
        """Add one run; return its nanoseconds a frame."""
        self.frames += one.frames
        self.lost += one.lost
        self.kicks += one.kicks
        self.calls += one.calls
        return one.ns / one.frames
