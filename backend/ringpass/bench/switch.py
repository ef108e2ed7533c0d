# SPDX-License-Identifier: BSD-2-Clause
"""`bench switch`: from a sender's netmap ring through a VALE switch into a receiver's.

The backend is embedded: the sender's thread runs the switch in its txsync. The loops are C
(csrc/bench); each frame is written by the sender and checked by the receiver. Several senders are
in senders.py, processes outside the backend in processes.py.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

from ringpass.bench import processes, senders
from ringpass.bench.machine import one_cpu, two_cpus
from ringpass.bench.measure import Options, in_turn
from ringpass.bench.report import NO_GOAL, Goal, Row, row
from ringpass.dataplane import DataPlane, FrontEndKind, PortSpec
from ringpass.dataplane.loops import Loop, Loops

BATCHES = (1, 32, 256)
SIZES = (60, 1500)
SLOTS = 1024
#: So long that nothing is dropped when the receiver's thread does not run for a while.
HOLD_US = 1_000_000

ONE_CORE_GOAL = {
    60: Goal("at most 4 times the memcpy", 4),
    1500: Goal("at most 1.5 times the memcpy", 1.5),
}
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
    with path() as loops:
        for cores, size, batch in wanted:
            talk(f"{case_name(batch)}, {size} bytes, {cores} core{'s' * (cores > 1)}")
            measure_case = one_core if cores == 1 else two_cores
            rows.append(measure_case(loops, size, batch, options))
        rows += processes.measure(options, talk, loops)
    return rows + senders.measure(options, talk)


def case_name(batch: int) -> str:
    """Return the name of the case with batches of so many frames."""
    return f"vale/batch-{batch}"


@contextmanager
def path() -> Iterator[Loops]:
    """Yield the path through the switch of an embedded backend."""
    with TemporaryFile() as counters, DataPlane(counters.fileno()) as dataplane:
        switch = dataplane.add_switch("vale0", ageing_s=0)
        sender, receiver = (
            dataplane.add_port(
                PortSpec(
                    name,
                    front_end=FrontEndKind.RINGS,
                    switch=switch,
                    slots=SLOTS,
                    hold_us=HOLD_US,
                )
            )
            for name in ("vale0:sender", "vale0:receiver")
        )
        with Loops(dataplane, sender, receiver) as loops:
            yield loops


def one_core(loops: Loops, size: int, batch: int, options: Options) -> Row:
    """Measure sender, switch and receiver in one thread, beside a memcpy of the same frames."""
    cpu = one_cpu()
    samples, ref_samples, lost = _sample(
        loops, (Loop.PORT_ONE, Loop.MEMCPY), size, batch, (cpu, cpu), options
    )
    return row(
        case_name(batch),
        size,
        samples,
        ref="memcpy",
        ref_samples=ref_samples,
        goal=ONE_CORE_GOAL[size] if batch == 256 else NO_GOAL,
        threads={"sender, switch, receiver": f"{cpu}"},
        via="rings-vale",
        label="native",
        lost=lost,
    )


def two_cores(loops: Loops, size: int, batch: int, options: Options) -> Row:
    """Measure sender and switch on one core, receiver on another, beside a bare ring."""
    cpus = two_cpus()
    samples, ref_samples, lost = _sample(
        loops, (Loop.PORT_TWO, Loop.SPSC), size, batch, cpus, options
    )
    return row(
        case_name(batch),
        size,
        samples,
        ref="single-producer ring with one copy",
        ref_samples=ref_samples,
        goal=TWO_CORES_GOAL,
        threads={"sender, switch": f"{cpus[0]}", "receiver": f"{cpus[1]}"},
        via="rings-vale",
        label="native",
        lost=lost,
    )


def _sample(
    loops: Loops,
    pair: tuple[Loop, Loop],
    size: int,
    batch: int,
    cpus: tuple[int, int],
    options: Options,
) -> tuple[list[float], list[float], int]:
    """Return the samples of a loop and of its reference in ns a frame, and how many were lost."""
    lost = 0

    def run(loop: Loop) -> float:
        nonlocal lost
        result = loops.run(loop, size=size, batch=batch, seconds=options.seconds, cpus=cpus)
        lost += result.lost
        return result.ns / result.frames

    samples, ref_samples = in_turn(options.runs, lambda: run(pair[0]), lambda: run(pair[1]))
    return samples, ref_samples, lost


def profile(argv: list[str]) -> None:
    """Run the loop of one core alone, a fixed number of times: for callgrind and perf.

    `valgrind --tool=callgrind python -m ringpass.bench.switch --frames 100000`
    """
    parser = argparse.ArgumentParser(prog="python -m ringpass.bench.switch")
    parser.add_argument("--frames", type=int, default=20_000_000)
    parser.add_argument("--size", type=int, default=60)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--cpu", type=int, default=0)
    chosen = parser.parse_args(argv)
    with path() as loops:
        result = loops.run(
            Loop.PORT_ONE,
            size=chosen.size,
            batch=chosen.batch,
            seconds=86400,
            cpus=(chosen.cpu, chosen.cpu),
            frames=chosen.frames,
        )
    sys.stdout.write(f"{result.frames} frames, {result.ns / result.frames:.2f} ns each\n")


if __name__ == "__main__":
    profile(sys.argv[1:])
