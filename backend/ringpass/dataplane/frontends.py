# SPDX-License-Identifier: BSD-2-Clause
"""Front ends as guests have them, in threads of this process: csrc/bench/passthrough.c."""

from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

from ringpass._dp import lib
from ringpass.dataplane import DataPlane, PortId
from ringpass.dataplane.loops import LoopPath, run_loop


class Between(IntEnum):
    """What is between two front ends."""

    STEPS = lib.RP_BENCH_STEPS
    """A switch; the ports have CSBs and no worker, and one thread does all."""
    WORKER = lib.RP_BENCH_WORKER
    """A switch and a worker."""
    PIPE = lib.RP_BENCH_PIPE
    """Nothing: they are the ends of a pipe."""
    RELAYED = lib.RP_BENCH_RELAYED
    """Relays, which pass their notifications on; the ends of a pipe all the same."""


class Flood(NamedTuple):
    """What a flood saw: `frames` within `ns` nanoseconds."""

    frames: int
    ns: int
    lost: int
    kicks: int
    """Notifications by the front ends: of the worker, or of each other."""
    calls: int
    """Notifications of the front ends."""


class FrontEnds(LoopPath):
    """Two front ends and what is between them.

    Of `cpus` the first is the near end's; the far end, where it has a thread of its own, uses the
    second. All methods raise RingpassError if they cannot run, if a frame arrived damaged, or if
    somebody slept and was not called.
    """

    def __init__(
        self, dataplane: DataPlane, near: PortId, far: PortId, *, between: Between
    ) -> None:
        make, free = lib.rp_bench_passthrough_new, lib.rp_bench_passthrough_free
        super().__init__(make, free, "cannot open the ports", dataplane, near, far, between)

    def flood_one(self, *, size: int, batch: int, seconds: float, cpu: int) -> Flood:
        """Send frames of `size` bytes to the far end, `batch` at a time, all in one thread."""
        loop = partial(lib.rp_bench_passthrough_one, self._handle)
        return _flood(loop, size, batch, seconds, (cpu, cpu))

    def flood_two(self, *, size: int, batch: int, seconds: float, cpus: tuple[int, int]) -> Flood:
        """Send them from one thread to another; each sleeps when it can do nothing."""
        loop = partial(lib.rp_bench_passthrough_two, self._handle)
        return _flood(loop, size, batch, seconds, cpus)

    def round_trip(
        self, *, sleep: bool, through: bool, size: int, seconds: float, cpus: tuple[int, int]
    ) -> float:
        """Return the nanoseconds that a frame takes there and back.

        Through a switch it is back when the near end, which then has both ports, sees it; with
        `through` it is the far end that sends it back. A pipe's far end always does.
        """
        how = lib.RP_BENCH_SLEEP * sleep | lib.RP_BENCH_THROUGH * through
        loop = partial(lib.rp_bench_passthrough_rtt, self._handle, how)
        return _trip(loop, size, seconds, cpus)


def ping_pong(*, seconds: float, cpus: tuple[int, int], lines: int = 0) -> float:
    """Return the nanoseconds of a round trip of two spinning threads over a cache line each way.

    It is a cursor; up to two `lines` more are written before it, and read when it has come.
    """

    def loop(config: Any, out: Any, error: Any) -> int:
        return int(lib.rp_bench_ping_pong(config, lines, out, error))

    return _trip(loop, 0, seconds, cpus)


def wake_ups(*, middle: bool, seconds: float, cpus: tuple[int, int]) -> float:
    """Return the nanoseconds of a round trip of two sleeping threads, by eventfds.

    With a thread in the `middle` it has the second of `cpus`, and both others have the first.
    """

    def loop(config: Any, out: Any, error: Any) -> int:
        return int(lib.rp_bench_wake_ups(config, middle, out, error))

    return _trip(loop, 0, seconds, cpus)


def _trip(loop: Callable[..., int], size: int, seconds: float, cpus: tuple[int, int]) -> float:
    out = run_loop("a round trip", loop, size=size, batch=1, seconds=seconds, cpus=cpus)
    return float(out.ns / out.frames)


def _flood(
    loop: Callable[..., int], size: int, batch: int, seconds: float, cpus: tuple[int, int]
) -> Flood:
    out = run_loop("a flood", loop, size=size, batch=batch, seconds=seconds, cpus=cpus)
    return Flood(out.frames, out.ns, out.lost, out.kicks, out.calls)
