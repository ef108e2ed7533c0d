# SPDX-License-Identifier: BSD-2-Clause
"""Cases of `bench switch`: from one process to another, through a worker of the backend.

Both use their rings as programs behind a daemon do: cursors in CSBs, eventfds, and a txsync that
returns when the backend took the frames. The two processes share a core, the receiver sleeps when
there is nothing; the worker has the other core, and does not sleep while they run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

from ringpass.bench.machine import two_cpus
from ringpass.bench.measure import Options, in_turn
from ringpass.bench.report import NO_GOAL, Row, row
from ringpass.dataplane import DataPlane, FrontEndKind, Policy, PortSpec, WorkerId
from ringpass.dataplane.loops import Loop, LoopResult, Loops, Processes

BATCHES = (1, 32, 256)
SIZES = (60, 1500)
#: So long that nothing is dropped when the receiver does not run for a while.
HOLD_US = 1_000_000


def measure(options: Options, talk: Callable[[str], None], bare: Loops) -> list[Row]:
    """Measure all wanted cases, beside the bare ring of `bare`."""
    wanted = [
        (size, batch)
        for size in SIZES
        for batch in BATCHES
        if options.want(case_name(batch), size, 2)
    ]
    if not wanted:
        return []
    cpus = two_cpus()
    rows = []
    with path(cpus[1]) as processes:
        for size, batch in wanted:
            talk(f"{case_name(batch)}, {size} bytes")
            rows.append(_case(processes, bare, size, batch, cpus, options))
    return rows


def case_name(batch: int) -> str:
    """Return the name of the case with batches of so many frames."""
    return f"processes/batch-{batch}"


class Path:
    """Two ports for processes, which a worker on the CPU `cpu` serves."""

    def __init__(
        self, dataplane: DataPlane, worker: WorkerId, cpu: int, processes: Processes
    ) -> None:
        self._dataplane = dataplane
        self._worker = worker
        self._cpu = cpu
        self._processes = processes

    def run(
        self, *, size: int, batch: int, seconds: float, cpu: int, frames: int = 0
    ) -> LoopResult:
        """Run both processes on `cpu`; the worker spins meanwhile."""
        self._dataplane.set_worker(self._worker, Policy.BUSY, cpu=self._cpu)
        try:
            return self._processes.run(
                size=size, batch=batch, seconds=seconds, cpus=(cpu, cpu), frames=frames
            )
        finally:
            self._dataplane.set_worker(self._worker, Policy.NOTIFY, cpu=self._cpu)


@contextmanager
def path(worker_cpu: int) -> Iterator[Path]:
    """Yield two ports for processes, which a worker on `worker_cpu` serves."""
    with TemporaryFile() as counters, DataPlane(counters.fileno()) as dataplane:
        switch = dataplane.add_switch("vale0", ageing_s=0)
        worker = dataplane.add_worker(Policy.NOTIFY, cpu=worker_cpu)
        sender, receiver = (
            dataplane.add_port(
                PortSpec(
                    name,
                    front_end=FrontEndKind.RINGS,
                    switch=switch,
                    worker=worker,
                    csb=True,
                    hold_us=HOLD_US,
                )
            )
            for name in ("vale0:sender", "vale0:receiver")
        )
        with Processes(dataplane, sender, receiver) as processes:
            yield Path(dataplane, worker, worker_cpu, processes)


def _case(
    processes: Path,
    bare: Loops,
    size: int,
    batch: int,
    cpus: tuple[int, int],
    options: Options,
) -> Row:
    lost = 0

    def ours() -> float:
        nonlocal lost
        result = processes.run(size=size, batch=batch, seconds=options.seconds, cpu=cpus[0])
        lost += result.lost
        return result.ns / result.frames

    def reference() -> float:
        result = bare.run(Loop.SPSC, size=size, batch=batch, seconds=options.seconds, cpus=cpus)
        return result.ns / result.frames

    samples, ref_samples = in_turn(options.runs, ours, reference)
    return row(
        case_name(batch),
        size,
        samples,
        ref="single-producer ring with one copy, on both cores",
        ref_samples=ref_samples,
        goal=NO_GOAL,
        threads={"sender, receiver": f"{cpus[0]}", "worker": f"{cpus[1]}"},
        via="csb-vale",
        label="native",
        lost=lost,
    )
