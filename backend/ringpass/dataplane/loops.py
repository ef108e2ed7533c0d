# SPDX-License-Identifier: BSD-2-Clause
"""The timed loops of csrc/bench: from a tx ring of one port to an rx ring of another."""

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import Any, NamedTuple, Self

from ringpass._dp import ffi, lib
from ringpass.dataplane import DataPlane, PortId, _failure
from ringpass.errors import RingpassError


class Loop(Enum):
    """What a run does; csrc/bench/rp_bench.h describes each."""

    PORT_ONE = "rp_bench_port_one"
    """Through the data plane, in one thread."""
    MEMCPY = "rp_bench_memcpy"
    """Its reference: memcpy from the same buffers to the same buffers."""
    PORT_TWO = "rp_bench_port_two"
    """Through the data plane, with the sender and the receiver on a core each."""
    SPSC = "rp_bench_spsc"
    """Its reference: a bare single-producer ring with one copy."""


class LoopResult(NamedTuple):
    """What a run saw: `frames` arrived as they were sent, within `ns` nanoseconds."""

    frames: int
    ns: int
    lost: int
    """Frames that were sent and never received."""


class LoopPath:
    """What a loop of csrc/bench runs on, made of two ports. Use it as a context manager.

    The data plane must outlive it.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        free: Callable[[Any], None],
        failed: str,
        dataplane: DataPlane,
        *arguments: int,
    ) -> None:
        error = ffi.new("struct rp_err *")
        handle = make(dataplane._dp, *arguments, error)  # noqa: SLF001  one part
        if handle == ffi.NULL:
            raise _failure(failed, error)
        self._handle: Any = handle
        self._free = free

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the ports and what was made for them. A second close does nothing."""
        if self._handle is not None:
            self._free(self._handle)
            self._handle = None

    @property
    def handle(self) -> Any:
        """What the data plane calls it."""
        return self._handle


class Loops(LoopPath):
    """A path between two ports with netmap rings that have no worker."""

    def __init__(self, dataplane: DataPlane, sender: PortId, receiver: PortId) -> None:
        make, free = lib.rp_bench_new, lib.rp_bench_free
        super().__init__(make, free, "cannot prepare the loops", dataplane, sender, receiver)

    def watch(self, monitor: PortId) -> None:
        """Let the loop of one thread empty the ring of a monitor, too."""
        error = ffi.new("struct rp_err *")
        if lib.rp_bench_watch(self._handle, monitor, error) < 0:
            raise _failure("cannot watch a monitor", error)

    def run(
        self,
        loop: Loop,
        *,
        size: int,
        batch: int,
        seconds: float,
        cpus: tuple[int, int],
        frames: int = 0,
    ) -> LoopResult:
        """Run `loop` with frames of `size` bytes for `seconds`, or for `frames` frames if not 0.

        `cpus` are those of the sender and of the receiver; a loop of one thread uses the first.
        Raises RingpassError if it cannot run, or if a frame arrived damaged or out of order.
        """
        return _run_path(loop.value, self._handle, size, batch, seconds, cpus, frames)


def run_senders(
    paths: Sequence[Loops], *, size: int, batch: int, seconds: float, cpus: tuple[int, int]
) -> LoopResult:
    """Run a sender's thread for each of `paths`, which all end in one port, and a receiver's.

    `cpus` are those of the senders and of the receiver, -1 for any. Raises RingpassError if a
    sync fails, or if a frame arrived damaged or before an earlier one of its sender.
    """
    handles = ffi.new("rp_bench *[]", [path.handle for path in paths])

    def loop(config: Any, out: Any, error: Any) -> int:
        return int(lib.rp_bench_senders(handles, len(paths), config, out, error))

    return _run("rp_bench_senders", loop, size, batch, seconds, cpus, 0)


class VhostLoops(LoopPath):
    """A path between two ports with virtqueues that have no worker.

    Both drivers agree to the mask `features` of virtio, beside what every driver needs, and have
    virtqueues of `slots` entries, a power of two.
    """

    def __init__(
        self, dataplane: DataPlane, sender: PortId, receiver: PortId, *, features: int, slots: int
    ) -> None:
        make, free = lib.rp_bench_vhost_new, lib.rp_bench_vhost_free
        failed = "cannot prepare the drivers"
        super().__init__(make, free, failed, dataplane, sender, receiver, features, slots)

    def run(
        self, *, size: int, batch: int, seconds: float, cpu: int, frames: int = 0
    ) -> LoopResult:
        """Send, switch and receive in one thread on `cpu`, as `Loops.run` does."""
        return _run_path(
            "rp_bench_vhost_one", self._handle, size, batch, seconds, (cpu, cpu), frames
        )


def _run_path(
    name: str,
    handle: Any,
    size: int,
    batch: int,
    seconds: float,
    cpus: tuple[int, int],
    frames: int,
) -> LoopResult:
    return _run(name, partial(getattr(lib, name), handle), size, batch, seconds, cpus, frames)


class Processes(LoopPath):
    """Two ports with CSBs that the data plane's workers serve."""

    def __init__(self, dataplane: DataPlane, sender: PortId, receiver: PortId) -> None:
        make, free = lib.rp_bench_processes_new, lib.rp_bench_processes_free
        super().__init__(make, free, "cannot open the ports", dataplane, sender, receiver)

    def run(
        self, *, size: int, batch: int, seconds: float, cpus: tuple[int, int], frames: int = 0
    ) -> LoopResult:
        """Send from one process to another, as `Loops.run` does between threads."""
        name = "rp_bench_processes_run"
        return _run_path(name, self._handle, size, batch, seconds, cpus, frames)


class PipeLoop(Enum):
    """What a run with a pipe does; csrc/bench/pipe.c describes each."""

    PIPE_ONE = "rp_bench_pipe_one"
    """Both ends in one thread."""
    SLOTS = "rp_bench_slots"
    """Its reference: bare slots that are filled, swapped and checked."""
    PIPE_TWO = "rp_bench_pipe_two"
    """Each end in a process and on a core of its own."""
    RING = "rp_bench_ring"
    """Its reference: a bare single-producer ring of slots."""
    ASKING_RING = "rp_bench_asking_ring"
    """The same ring; its sender asks after each batch whether the receiver sleeps."""


class PipeLoops(LoopPath):
    """A pipe of two linked ports in one region."""

    def __init__(self, dataplane: DataPlane, sender: PortId, receiver: PortId) -> None:
        make, free = lib.rp_bench_pipe_new, lib.rp_bench_pipe_free
        super().__init__(make, free, "cannot open the pipe", dataplane, sender, receiver)

    def run(
        self, loop: PipeLoop, *, size: int, batch: int, seconds: float, cpus: tuple[int, int]
    ) -> LoopResult:
        """Run `loop` with slots of `size` bytes for `seconds`, as `Loops.run` does."""
        return _run_path(loop.value, self._handle, size, batch, seconds, cpus, 0)


def _run(
    name: str,
    loop: Callable[..., int],
    size: int,
    batch: int,
    seconds: float,
    cpus: tuple[int, int],
    frames: int,
) -> LoopResult:
    out = run_loop(name, loop, size=size, batch=batch, seconds=seconds, cpus=cpus, frames=frames)
    return LoopResult(out.frames, out.ns, out.lost)


def run_loop(
    name: str,
    loop: Callable[..., int],
    *,
    size: int,
    batch: int,
    seconds: float,
    cpus: tuple[int, int],
    frames: int = 0,
) -> Any:
    """Return the `struct rp_bench_result` of a loop of csrc/bench.

    Raises RingpassError if it cannot run, or if a frame arrived damaged or out of order.
    """
    config = ffi.new(
        "struct rp_bench_config *",
        {
            "frame_bytes": size,
            "batch": batch,
            "run_ns": round(seconds * 1e9),
            "max_frames": frames,
            "tx_cpu": cpus[0],
            "rx_cpu": cpus[1],
        },
    )
    out: Any = ffi.new("struct rp_bench_result *")
    error = ffi.new("struct rp_err *")
    if loop(config, out, error) < 0:
        raise _failure(f"cannot run {name}", error)
    if out.bad:
        raise RingpassError(
            f"{name} delivered wrong frames",
            f"{out.bad} of {out.bad + out.frames} were damaged or out of order",
            "this is a bug of the data plane: please report it",
        )
    return out
