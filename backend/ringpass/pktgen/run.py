# SPDX-License-Identifier: BSD-2-Clause
"""Run a role until it is done, and tell its rates on the way."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

import msgspec

from ringpass.interrupt import Interrupt
from ringpass.pktgen.check import Checker
from ringpass.pktgen.roles import Counts, Pinger, Receiver, Role

#: Steps between two looks at the clock.
_STEPS = 16


class Summary(msgspec.Struct, kw_only=True):
    """What a run was."""

    function: str
    port: str
    frames: int
    bytes: int
    """Of Ethernet frames, without their checksums."""
    batches: int
    seconds: float
    """From the first frame to the last."""
    pps: float
    bps: float
    lost: int | None = None
    """Numbers that did not come; of ping, frames that did not return."""
    reordered: int | None = None
    foreign: int | None = None
    """Frames that were not pktgen's, or damaged."""
    rtt_us: dict[str, float] | None = None


def run(role: Role, interrupt: Interrupt, *, report_s: float, talk: Callable[[str], None]) -> float:
    """Do the steps of `role`; return the seconds from its first frame to its last.

    Each `report_s` seconds `talk` is told what moved since the last time; 0: never.
    """
    first = last = None
    told, told_at = Counts(), time.monotonic()
    while not (interrupt.came or role.done):
        before = time.monotonic()
        moved = _some_steps(role)
        now = time.monotonic()
        if moved:
            first, last = first or before, now
        if report_s and now - told_at >= report_s:
            talk(rate(role.counts, told, now - told_at))
            told, told_at = replace(role.counts), now
        if not moved:
            left = max(told_at + report_s - now, 0.0) if report_s else 1.0
            interrupt.wait(partial(role.wait, left))
    return (last or 0.0) - (first or 0.0)


def _some_steps(role: Role) -> bool:
    """Do steps, as long as they move something, until it is time for a look at the clock."""
    for done in range(_STEPS):
        if role.done or not role.step():
            return done > 0
    return True


def rate(now: Counts, before: Counts, seconds: float) -> str:
    """Return the line that tells what moved in so many seconds."""
    frames, size = now.frames - before.frames, now.bytes - before.bytes
    batches = now.batches - before.batches
    per_batch = frames / batches if batches else 0.0
    return (
        f"{frames / seconds / 1e6:.3f} Mpps  {size * 8 / seconds / 1e9:.3f} Gbit/s  "
        f"{frames} frames in {seconds:.3f} s, {per_batch:.1f} a batch"
    )


def summarize(function: str, port: str, role: Role, seconds: float) -> Summary:
    """Return what `role` has done in so many seconds."""
    counts = role.counts
    per_second = 1 / seconds if seconds else 0.0
    summary = Summary(
        function=function,
        port=port,
        frames=counts.frames,
        bytes=counts.bytes,
        batches=counts.batches,
        seconds=round(seconds, 6),
        pps=round(counts.frames * per_second, 1),
        bps=round(counts.bytes * 8 * per_second, 1),
    )
    if isinstance(role, Receiver) and role.checker:
        _add_check(summary, role.checker)
    if isinstance(role, Pinger):
        summary.lost = role.lost
        summary.rtt_us = _round_trips(role.rtt_ns)
    return summary


def _add_check(summary: Summary, checker: Checker) -> None:
    summary.lost = checker.lost
    summary.reordered = checker.reordered
    summary.foreign = checker.foreign


def _round_trips(times_ns: list[int]) -> dict[str, float]:
    if not times_ns:
        return {}
    ordered = sorted(times_ns)
    found = {
        "min": ordered[0],
        "median": median(ordered),
        "p99": ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)],
        "max": ordered[-1],
    }
    return {name: round(ns / 1e3, 2) for name, ns in found.items()}
