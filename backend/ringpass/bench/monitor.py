# SPDX-License-Identifier: BSD-2-Clause
"""`bench monitor`: what a monitor adds to the port that it shows.

The same loop on two equal paths, one with a monitor of the sender's port and one without, in turn:
what `ns` is of a row here is the difference. The monitor's ring is emptied by the same thread, and
nothing in it is looked at.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import NamedTuple

from ringpass.bench.machine import one_cpu
from ringpass.bench.measure import Options, in_turn
from ringpass.bench.report import NO_GOAL, Goal, Row, row
from ringpass.dataplane import (
    BindSpec,
    DataPlane,
    FrontEndKind,
    Kind,
    MonitorFlags,
    PortId,
    PortSpec,
    RegionId,
    RegionSpec,
)
from ringpass.dataplane.loops import Loop, Loops

BATCHES = (32, 256)
SIZES = (60, 1500)
SLOTS = 1024
#: A monitor's; twice the largest batch.
MONITOR_SLOTS = 512

GOALS = {
    ("zero-copy", "vale", 60): Goal("at most 2.5 ns", limit_ns=2.5),
    ("zero-copy", "vale", 1500): Goal("at most 2.5 ns, and 5 % of VALE", 0.05, limit_ns=2.5),
    ("zero-copy", "pipe", 60): Goal("at most 2.5 ns", limit_ns=2.5),
    ("zero-copy", "pipe", 1500): Goal("at most 2.5 ns", limit_ns=2.5),
}


class Case(NamedTuple):
    """How the monitor shows frames, and of what kind of port, in batches of how many."""

    how: str
    kind: str
    batch: int

    @property
    def name(self) -> str:
        """What the row is called."""
        return f"{self.how}/{self.kind}-{self.batch}"


CASES = [
    Case(how, kind, batch)
    for how, kind in (("zero-copy", "vale"), ("zero-copy", "pipe"), ("copy", "vale"))
    for batch in BATCHES
]


def measure(options: Options, talk: Callable[[str], None]) -> list[Row]:
    """Measure all wanted cases; `talk` is told which one is running."""
    rows = []
    for case in CASES:
        sizes = [size for size in SIZES if options.want(case.name, size, 1)]
        if not sizes:
            continue
        with path(case.kind, None) as plain, path(case.kind, case.how) as monitored:
            for size in sizes:
                talk(f"{case.name}, {size} bytes")
                rows.append(added(case, size, plain, monitored, options))
    return rows


def added(case: Case, size: int, plain: Loops, monitored: Loops, options: Options) -> Row:
    """Measure both paths in turn, and return the difference."""
    cpu = one_cpu()
    lost = 0

    def run(loops: Loops) -> float:
        nonlocal lost
        result = loops.run(
            Loop.PORT_ONE,
            size=size,
            batch=case.batch,
            seconds=options.seconds,
            cpus=(cpu, cpu),
        )
        lost += result.lost
        return result.ns / result.frames

    with_it, without = in_turn(options.runs, lambda: run(monitored), lambda: run(plain))
    goal = GOALS.get((case.how, case.kind, size), NO_GOAL) if case.batch == 256 else NO_GOAL
    return row(
        case.name,
        size,
        [one - other for one, other in zip(with_it, without, strict=True)],
        ref="a frame on the same path without a monitor",
        ref_samples=without,
        goal=goal,
        threads={"sender, backend, receiver, monitor": f"{cpu}"},
        via=f"rings-{case.kind}",
        label="native",
        lost=lost,
        metric="added",
    )


@contextmanager
def path(kind: str, how: str | None) -> Iterator[Loops]:
    """Yield a path between two ports of an embedded backend, the sender's monitored as `how`."""
    with TemporaryFile() as counters, DataPlane(counters.fileno()) as dataplane:
        region = dataplane.add_region(RegionSpec("bench", slots_max=SLOTS, buf_max=8 * SLOTS))
        ends = vale(dataplane, region) if kind == "vale" else pipe(dataplane, region)
        with Loops(dataplane, *ends) as loops:
            if how is not None:
                loops.watch(monitor(dataplane, region, ends[0], zero_copy=how == "zero-copy"))
            yield loops


def vale(dataplane: DataPlane, region: RegionId) -> tuple[PortId, PortId]:
    """Add two ports of a switch, of which the first one is in `region`."""
    switch = dataplane.add_switch("vale0", ageing_s=0)

    def port(name: str, of: RegionId) -> PortId:
        spec = PortSpec(name, front_end=FrontEndKind.RINGS, switch=switch, slots=SLOTS)
        return dataplane.add_port(spec._replace(region=of))

    return port("vale0:sender", region), port("vale0:receiver", RegionId(0))


def pipe(dataplane: DataPlane, region: RegionId) -> tuple[PortId, PortId]:
    """Add the two ends of a pipe in `region`."""

    def port(name: str) -> PortId:
        spec = PortSpec(name, kind=Kind.LINK, front_end=FrontEndKind.RINGS, slots=SLOTS)
        return dataplane.add_port(spec._replace(region=region, csb=True))

    ends = port("vale0:x{1"), port("vale0:x}1")
    dataplane.link_ports(*ends)
    return ends


def monitor(dataplane: DataPlane, region: RegionId, parent: PortId, *, zero_copy: bool) -> PortId:
    """Add a monitor of what `parent` sends; one that copies has a region of its own."""
    spec = PortSpec("monitor", kind=Kind.MONITOR, front_end=FrontEndKind.RINGS, slots=MONITOR_SLOTS)
    if not zero_copy:
        port = dataplane.add_port(spec)
        dataplane.attach_monitor(port, parent, MonitorFlags.TX)
        return port
    port = dataplane.add_port(spec._replace(region=region, csb=True))
    dataplane.bind(BindSpec(port, tx=(0, 1), rx=(0, 1)))
    dataplane.attach_monitor(port, parent, MonitorFlags.ZCOPY)
    return port
