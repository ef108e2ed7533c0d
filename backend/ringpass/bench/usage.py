# SPDX-License-Identifier: BSD-2-Clause
"""What a daemon has done and used, from its counters file and its CPU clock, without asking it."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Self

from ringpass.observe.counters import Counters


@dataclass(frozen=True)
class Usage:
    """Sums over all ports since the daemon began; the difference of two is what lies between."""

    at_s: float
    """CLOCK_MONOTONIC."""
    cpu_s: float
    """CPU time of the whole daemon, user and system."""
    frames: int
    """Delivered to front ends."""
    bytes: int
    """Of these frames."""
    copied: int
    """Bytes of payload that were copied."""
    kicks: int
    """Notifications from front ends."""
    calls: int
    """Notifications to front ends."""
    drops: Counter[str]
    """Frames that were not delivered, by reason."""

    @classmethod
    def of(cls, pid: int, counters: Counters) -> Self:
        """Return the usage of the daemon `pid`, whose counters file is `counters`."""
        rings = counters.rings()
        delivered = [ring for ring in rings if not ring.tx]
        drops: Counter[str] = Counter()
        for ring in rings:
            drops.update(ring.drops)
        return cls(
            at_s=time.monotonic(),
            cpu_s=cpu_seconds(pid),
            frames=sum(ring.frames for ring in delivered),
            bytes=sum(ring.bytes for ring in delivered),
            copied=sum(ring.copied for ring in rings),
            kicks=sum(ring.kicks for ring in rings),
            calls=sum(ring.calls for ring in rings),
            drops=drops,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            at_s=self.at_s - other.at_s,
            cpu_s=self.cpu_s - other.cpu_s,
            frames=self.frames - other.frames,
            bytes=self.bytes - other.bytes,
            copied=self.copied - other.copied,
            kicks=self.kicks - other.kicks,
            calls=self.calls - other.calls,
            drops=self.drops - other.drops,
        )


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that the process `pid` has used, all threads, user and system."""
    # What clock_getcpuclockid() returns for a process: its clock counts nanoseconds, while
    # /proc/PID/stat counts ticks of 10 ms, too coarse for an idle daemon.
    clock = (~pid << 3) | 2
    return time.clock_gettime(clock)
