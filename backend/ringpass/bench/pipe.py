# SPDX-License-Identifier: BSD-2-Clause
"""`bench pipe`: slots through a pipe, from one end to the other.

No worker takes part: each end's own thread moves the slots (csrc/pipe.c), and no byte of a frame is
copied, so the size of a frame changes nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median
from tempfile import TemporaryFile

from ringpass.bench.machine import one_cpu, two_cpus
from ringpass.bench.measure import Options, in_turn
from ringpass.bench.report import NO_GOAL, Goal, Row, rounded, row
from ringpass.dataplane import DataPlane, FrontEndKind, Kind, PortSpec, RegionSpec
from ringpass.dataplane.loops import PipeLoop, PipeLoops

BATCHES = (1, 32, 256)
SIZES = (60, 1500)
SLOTS = 1024

ONE_CORE_GOAL = Goal("at most 6 ns", limit_ns=6)
TWO_CORES_GOAL = Goal("at most 1.5 times the bare ring", 1.5)


def measure(options: Options, talk: Callable[[str], None]) -> list[Row]:
    """Measure all wanted cases; `talk` is told which one is running."""
    wanted = [
        (cores, size, batch)
        for cores in (1, 2)
        for size in SIZES
        for batch in BATCHES
        if options.want(case_name(batch), size, cores)
    ]
    rows = []
    with pipe() as loops:
        for cores, size, batch in wanted:
            talk(f"{case_name(batch)}, {size} bytes, {cores} core{'s' * (cores > 1)}")
            measure_case = one_core if cores == 1 else two_cores
            rows.append(measure_case(loops, size, batch, options))
    return rows


def case_name(batch: int) -> str:
    """Return the name of the case with batches of so many frames."""
    return f"pipe/batch-{batch}"


@contextmanager
def pipe() -> Iterator[PipeLoops]:
    """Yield the two ends of a pipe of an embedded backend."""
    with TemporaryFile() as counters, DataPlane(counters.fileno()) as dataplane:
        region = dataplane.add_region(RegionSpec("pipe", slots_max=SLOTS, buf_max=4 * SLOTS))
        ends = [
            dataplane.add_port(
                PortSpec(
                    name,
                    kind=Kind.LINK,
                    front_end=FrontEndKind.RINGS,
                    slots=SLOTS,
                    region=region,
                    csb=True,
                )
            )
            for name in ("vale0:p{1", "vale0:p}1")
        ]
        dataplane.link_ports(*ends)
        with PipeLoops(dataplane, *ends) as loops:
            yield loops


def one_core(loops: PipeLoops, size: int, batch: int, options: Options) -> Row:
    """Measure both ends in one thread, beside bare slots that are filled, swapped and checked."""
    cpu = one_cpu()
    pair = PipeLoop.PIPE_ONE, PipeLoop.SLOTS
    samples, ref_samples = _sample(loops, pair, size, batch, (cpu, cpu), options)
    return row(
        case_name(batch),
        size,
        samples,
        ref="bare slots: fill, swap, check",
        ref_samples=ref_samples,
        goal=ONE_CORE_GOAL if batch == 256 else NO_GOAL,
        threads={"both ends": f"{cpu}"},
        via="rings-pipe",
        label="native",
    )


def two_cores(loops: PipeLoops, size: int, batch: int, options: Options) -> Row:
    """Measure an end a process, each on its core, beside a bare ring between the same."""
    cpus = two_cpus()
    things = PipeLoop.PIPE_TWO, PipeLoop.RING, PipeLoop.ASKING_RING
    samples, ref_samples, asking = _sample(loops, things, size, batch, cpus, options)
    return row(
        case_name(batch),
        size,
        samples,
        ref="single-producer ring of slots",
        ref_samples=ref_samples,
        goal=TWO_CORES_GOAL,
        threads={"sender": f"{cpus[0]}", "receiver": f"{cpus[1]}"},
        via="rings-pipe",
        label="native",
        ref2="one whose sender asks who sleeps",
        ref2_ns=rounded(median(asking)),
    )


def _sample(
    loops: PipeLoops,
    things: Sequence[PipeLoop],
    size: int,
    batch: int,
    cpus: tuple[int, int],
    options: Options,
) -> list[list[float]]:
    """Return the samples of a loop and of its references in ns a frame."""

    def run(loop: PipeLoop) -> float:
        result = loops.run(loop, size=size, batch=batch, seconds=options.seconds, cpus=cpus)
        return result.ns / result.frames

    return in_turn(options.runs, *(partial(run, loop) for loop in things))
