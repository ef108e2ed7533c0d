# SPDX-License-Identifier: BSD-2-Clause
"""Cases of `bench switch`: some senders, each a thread, and one receiver, beside one sender.

`ns` is the time of a frame that arrived. Senders of `hold` wait while the receiver is full, and
run on the same cores as it; those of `drop` go on, on a core of their own, and what they lose is
counted. Each frame is checked: it is whole, and behind all earlier ones of its sender.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from ringpass.bench.machine import two_cpus
from ringpass.bench.measure import Options, in_turn
from ringpass.bench.report import Goal, Row, row
from ringpass.dataplane import DataPlane, FrontEndKind, Full, PortSpec
from ringpass.dataplane.loops import Loops, run_senders
from ringpass.errors import RingpassError
from ringpass.observe.counters import Counters

SENDERS = (2, 4, 8)
SIZES = (60, 1500)
BATCH = 256
#: For a receiver that does not run for a while.
HOLD_US = 1_000_000
ANY_CPU = -1

GOAL = Goal("at most 2 times one sender", 2)


class Meeting:
    """A receiver's port, and as many senders' as there may be."""

    def __init__(self, paths: list[Loops], dropped: Callable[[], int], cpus: tuple[int, int]):
        self._paths = paths
        self._dropped = dropped
        self._cpus = cpus
        self.lost = 0

    def run(self, senders: int, size: int, seconds: float) -> float:
        """Let so many send; return the nanoseconds of a frame.

        Raises RingpassError if the data plane lost frames that it did not count.
        """
        before = self._dropped()
        result = run_senders(
            self._paths[:senders], size=size, batch=BATCH, seconds=seconds, cpus=self._cpus
        )
        counted = self._dropped() - before
        if counted != result.lost:
            raise RingpassError(
                f"{senders} senders lost {result.lost} frames",
                f"the counters say {counted}",
                "this is a bug of the data plane: please report it",
            )
        self.lost += counted
        return result.ns / result.frames


@contextmanager
def meeting(full: Full, cpus: tuple[int, int]) -> Iterator[Meeting]:
    """Yield the ports of an embedded backend; `cpus` are those of the senders and the receiver."""
    with NamedTemporaryFile() as file, DataPlane(file.fileno()) as dataplane, ExitStack() as stack:
        switch = dataplane.add_switch("vale0", ageing_s=0)
        receiver, *senders = (
            dataplane.add_port(
                PortSpec(
                    f"vale0:{name}",
                    front_end=FrontEndKind.RINGS,
                    switch=switch,
                    full=full,
                    hold_us=HOLD_US,
                )
            )
            for name in ("receiver", *(f"sender{number}" for number in range(max(SENDERS))))
        )
        counters = stack.enter_context(Counters(Path(file.name)))
        paths = [stack.enter_context(Loops(dataplane, port, receiver)) for port in senders]
        (record,) = dataplane.port_status(receiver).rx_records

        def dropped() -> int:
            ring = counters.ring(record)
            assert ring is not None
            return ring.drops.get("full", 0)

        yield Meeting(paths, dropped, cpus)


def measure(options: Options, talk: Callable[[str], None]) -> list[Row]:
    """Measure all wanted cases."""
    rows = []
    for full in Full:
        wanted = [
            (size, senders)
            for size in SIZES
            for senders in SENDERS
            if options.want(case_name(senders, full), size, 2)
        ]
        if not wanted:
            continue
        first, second = two_cpus()
        cpus = (first, second) if full is Full.DROP else (ANY_CPU, ANY_CPU)
        with meeting(full, cpus) as ports:
            for size, senders in wanted:
                talk(f"{case_name(senders, full)}, {size} bytes")
                rows.append(_case(ports, senders, full, size, (first, second), options))
    return rows


def case_name(senders: int, full: Full) -> str:
    """Return the name of a case."""
    return f"senders-{senders}/{full.name.lower()}"


def _case(
    ports: Meeting, senders: int, full: Full, size: int, cpus: tuple[int, int], options: Options
) -> Row:
    ports.lost = 0
    samples, ref_samples = in_turn(
        options.runs,
        lambda: ports.run(senders, size, options.seconds),
        lambda: ports.run(1, size, options.seconds),
    )
    both = f"{cpus[0]}, {cpus[1]}"
    return row(
        case_name(senders, full),
        size,
        samples,
        ref="one sender",
        ref_samples=ref_samples,
        goal=GOAL,
        threads={"senders, switch": f"{cpus[0]}", "receiver": f"{cpus[1]}"}
        if full is Full.DROP
        else {"senders, switch, receiver": both},
        via="rings-vale",
        label="native",
        lost=ports.lost,
    )
