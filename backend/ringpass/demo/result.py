# SPDX-License-Identifier: BSD-2-Clause
"""What the demo finds out, as data."""

from statistics import median, quantiles
from typing import Self

import msgspec

from ringpass.bench.report import rounded
from ringpass.bench.usage import Usage


class Rtt(msgspec.Struct):
    """Round trip times in microseconds."""

    count: int
    min: float
    median: float
    p99: float

    @classmethod
    def of(cls, times: list[float]) -> Self:
        """Return the summary of `times`, at least two."""
        return cls(
            count=len(times),
            min=rounded(min(times)),
            median=rounded(median(times)),
            p99=rounded(quantiles(times, n=100, method="inclusive")[98]),
        )


class Step(msgspec.Struct, kw_only=True):
    """One kind of traffic between the two guests, and what it cost the backend.

    Frames are those that the backend delivered, in both directions, with one exception: for a
    flood, `frames_per_s`, `ns` and `gbps` are what the receiving driver counted.
    """

    name: str
    frames: int
    frames_per_s: float
    ns: float
    """A frame."""
    gbps: float
    """Gbit/s: of Ethernet frames for a flood, else of payload; 0 for pings."""
    rtt_us: Rtt | None = None
    retransmits: int | None = None
    offered_per_s: float | None = None
    """Frames a second that the sending driver took, for a flood."""
    drops: dict[str, int]
    """Frames that were not delivered, by reason."""
    cpu_s_per_mframe: float
    """CPU seconds of the whole backend for a million delivered frames."""
    copies: float
    """Bytes that the backend copied, divided by bytes delivered."""


class Result(msgspec.Struct, kw_only=True):
    """All of the demo."""

    label: str
    """What the guests run on: their speed, not the backend's, is what these figures show."""
    machine: str
    date: str
    seconds: float
    """How long it took, all in all."""
    steps: list[Step]
    rtts_us: list[float]
    """Every round trip, in order."""


def step(
    name: str,
    usage: Usage,
    *,
    frames_per_s: float | None = None,
    gbps: float = 0,
    rtt_us: Rtt | None = None,
    retransmits: int | None = None,
    offered_per_s: float | None = None,
) -> Step:
    """Return the step `name`, during which the backend had `usage`.

    `frames_per_s` is by default what the backend delivered.
    """
    rate = usage.frames / usage.at_s if frames_per_s is None else frames_per_s
    return Step(
        name=name,
        frames=usage.frames,
        frames_per_s=rounded(rate),
        ns=rounded(1e9 / rate),
        gbps=rounded(gbps),
        rtt_us=rtt_us,
        retransmits=retransmits,
        offered_per_s=None if offered_per_s is None else rounded(offered_per_s),
        drops=dict(usage.drops),
        cpu_s_per_mframe=rounded(usage.cpu_s / usage.frames * 1e6),
        copies=rounded(usage.copied / usage.bytes),
    )
