# SPDX-License-Identifier: BSD-2-Clause
"""`bench ringport`: what a bridge and a filter in Python cost, beside a bridge in C.

All between two pipes of one region, in one thread: frames are put into the first pipe, bridged into
the second, taken out and checked. Timed is the bridge alone, its two syncs included. The syncs are
those that every process does at a pipe; a daemon would have no part in them.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ringport
from ringpass.bench.machine import one_cpu
from ringpass.bench.measure import Options, in_turn
from ringpass.bench.report import NO_GOAL, Goal, Row, row
from ringpass.dataplane.relay import Place, Relay
from ringpass.embedded import Backend
from ringpass.ports import translated
from ringport import Port

BATCHES = (256, 512)
SIZE = 60
BRIDGE_GOALS = {
    256: Goal("under 40 ns a frame", limit_ns=40),
    512: Goal("under 25 ns a frame", limit_ns=25),
}
#: An Ethernet type that none of the frames has.
ARP = 0x0806
CASES = ("c-bridge", "python-bridge", "python-filter")


@dataclass
class Path:
    """The four ends of two pipes, each opened as any program would."""

    feeder: Port
    source: Port
    sink: Port
    taker: Port
    places: tuple[Place, Place, Place, Place]

    def bridge(self, most: int) -> None:
        """Do what the examples' bridge does, one way."""
        self.source.rxsync()
        self.source.rx[0].batch(most).move(self.sink.tx[0])
        self.sink.txsync()

    def filter(self, most: int) -> None:
        """Hand on all frames but those of one Ethernet type."""
        self.source.rxsync()
        batch = self.source.rx[0].batch(most)
        batch.move(self.sink.tx[0], keep=batch.field(12, ">u2") != ARP)
        self.sink.txsync()


def measure(options: Options, talk: Callable[[str], None]) -> list[Row]:
    """Measure all wanted cases; `talk` is told which one is running."""
    wanted = [
        (case, batch)
        for case in CASES
        for batch in BATCHES
        if options.want(f"{case}/batch-{batch}", SIZE, 1)
    ]
    if not wanted:
        return []
    cpu = one_cpu()
    before = os.sched_getaffinity(0)
    try:
        with path() as pipes:
            os.sched_setaffinity(0, {cpu})
            return [_measure(pipes, case, batch, cpu, options, talk) for case, batch in wanted]
    except ringport.Error as error:
        raise translated(error) from error
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def path() -> Iterator[Path]:
    """Yield two pipes in one region. What moves their frames is what moves those of processes."""
    ends = ("{1", "}1", "{2", "}2")
    with Backend() as backend:
        # Twice the largest batch and more: a bridge gives slots back when it asks for the next.
        feeder, source, sink, taker = (
            backend.open(f"vale0:x{end}@conf:slots=2048") for end in ends
        )
        places = (
            Place(*backend.handle(feeder.tx[0])),
            Place(*backend.handle(source.rx[0])),
            Place(*backend.handle(sink.tx[0])),
            Place(*backend.handle(taker.rx[0])),
        )
        yield Path(feeder, source, sink, taker, places)


def _measure(
    pipes: Path, case: str, batch: int, cpu: int, options: Options, talk: Callable[[str], None]
) -> Row:
    name = f"{case}/batch-{batch}"
    talk(f"{name}, {SIZE} bytes, 1 core")
    relay = Relay(*pipes.places, SIZE)
    steps: dict[str, Callable[[int], object]] = {
        "c-bridge": relay.step,
        "python-bridge": pipes.bridge,
        "python-filter": pipes.filter,
    }
    in_c = case == "c-bridge"
    samples, ref_samples = in_turn(
        options.runs,
        lambda: _sample(relay, steps[case], batch, options.seconds),
        lambda: _sample(relay, relay.step, batch, options.seconds, relay.swap if in_c else None),
    )
    return row(
        name,
        SIZE,
        samples,
        ref="swap of bare slots" if in_c else "a bridge in C",
        ref_samples=ref_samples,
        goal=BRIDGE_GOALS[batch] if case == "python-bridge" else NO_GOAL,
        threads={"bridge and both ends": f"{cpu}"},
        via="rings-pipe",
        label="native",
        metric="bridge",
    )


def _sample(
    relay: Relay,
    step: Callable[[int], object],
    batch: int,
    seconds: float,
    instead: Callable[[int], object] | None = None,
) -> float:
    """Return the nanoseconds a frame that `step` took, or what was done `instead` behind it."""
    taken = frames = 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        relay.feed(batch)
        if instead is not None:
            step(batch)
        before = time.perf_counter_ns()
        (instead or step)(batch)
        taken += time.perf_counter_ns() - before
        relay.take(batch)
        frames += batch
    return taken / frames
