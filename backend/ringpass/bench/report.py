# SPDX-License-Identifier: BSD-2-Clause
"""What every benchmark yields: rows of one shape, and how they are made from samples."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any, NamedTuple

import msgspec

from ringpass.bench.machine import describe_machine


class Goal(NamedTuple):
    """What a row is to reach: `ratio` at most `limit`, `ns` at most `limit_ns`, said in `words`.

    One that is `lossless` also asks for counted drops, and that there are none; `limit_kicks` is
    for the notifications a frame, where they are counted.
    """

    words: str
    limit: float | None = None
    lossless: bool = False
    limit_ns: float | None = None
    limit_kicks: float | None = None

    def met(
        self,
        ns: float,
        ratio: float,
        drops: Mapping[str, int] | None,
        kicks: float | None = None,
    ) -> bool:
        """Return whether a row of these figures meets it; what is None was not counted."""
        if self.limit_kicks is not None and (kicks is None or kicks > self.limit_kicks):
            return False
        if self.lossless and (drops is None or any(drops.values())):
            return False
        if self.limit_ns is not None and ns > self.limit_ns:
            return False
        return self.limit is None or ratio <= self.limit


NO_GOAL = Goal("none")


class Row(msgspec.Struct, kw_only=True):
    """One case of one frame size, beside its reference.

    `ns` and `ref_ns` are medians in nanoseconds a frame, unless `metric` says otherwise; the
    reference was measured in turn with it, in the same run. A row without a goal is met.
    """

    case: str
    size: int
    """Bytes of a frame, without its checksum."""
    cores: int
    ns: float
    mpps: float
    """1000 / ns: million frames a second, where ns is the time of a frame."""
    ref: str
    """Name of the reference, '' if there is none."""
    ref_ns: float | None
    ratio: float | None
    """ns / ref_ns."""
    goal: str
    met: bool
    metric: str
    via: str
    """The front end and the kind of port that the frames pass."""
    label: str
    """Where the ends run: native, tcg, uml."""
    threads: dict[str, str]
    """Which thread or process ran on which cores."""
    runs: int
    ns_min: float
    ns_max: float
    ref_ns_min: float | None = None
    ref_ns_max: float | None = None
    limit: float | None = None
    """The highest ratio that meets the goal."""
    limit_ns: float | None = None
    """The highest ns that meets it."""
    limit_kicks: float | None = None
    """The highest `kicks` that meet it."""
    lossless: bool = False
    """Whether the goal also wants no drops."""
    lost: int = 0
    """Frames sent and not received, in all runs."""
    gbps: float | None = None
    """Gbit/s: of Ethernet frames, for TCP of payload."""
    ref_gbps: float | None = None
    retransmits: int | None = None
    """Of TCP, in all runs."""
    rtt_us: dict[str, float] | None = None
    """min, median, p90 and p99 of every round trip of all runs."""
    drops: dict[str, int] | None = None
    """Frames that a daemon did not deliver, by reason, in all runs."""
    kicks: float | None = None
    """Notifications a frame by front ends: of the backend, or of the other end of a pipe."""
    calls: float | None = None
    """Notifications a frame of front ends."""
    ref2: str = ""
    """Name of a second reference, which does more of what `case` must do; '' if there is none."""
    ref2_ns: float | None = None
    backend_cores: float | None = None
    """CPU time of a daemon divided by time."""
    guest_cores: float | None = None
    """CPU time of the processes that guests run in, together, divided by time."""
    kicks_per_frame: float | None = None
    """Notifications of a daemon by front ends, for each frame that it delivered."""
    calls_per_frame: float | None = None
    """Notifications of front ends by a daemon, likewise."""


class Report(msgspec.Struct, kw_only=True):
    """All that one benchmark found."""

    bench: str
    machine: str
    date: str
    rows: Sequence[Row]


def new_report(bench: str, rows: Sequence[Row]) -> Report:
    """Return the report of `rows`, measured on this machine and just now."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return Report(bench=bench, machine=describe_machine(), date=date, rows=rows)


def to_json(report: Report) -> str:
    """Return `report` as one indented JSON object."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def row(
    case: str,
    size: int,
    samples: Sequence[float],
    *,
    ref: str,
    ref_samples: Sequence[float],
    goal: Goal,
    threads: Mapping[str, str],
    via: str,
    label: str,
    metric: str = "flood",
    drops: dict[str, int] | None = None,
    **more: Any,
) -> Row:
    """Make the row of a case from its `samples` and those of its reference, in ns a frame.

    Its cores are those that `threads` names, numbers with commas between; `more` are fields that
    not every row has.
    """
    ns, ref_ns = median(samples), median(ref_samples)
    ratio = ns / ref_ns
    return Row(
        case=case,
        size=size,
        cores=len({cpu for cpus in threads.values() for cpu in cpus.split(", ")}),
        ns=rounded(ns),
        mpps=rounded(1e3 / ns),
        ref=ref,
        ref_ns=rounded(ref_ns),
        ratio=rounded(ratio),
        goal=goal.words,
        met=goal.met(ns, ratio, drops, more.get("kicks")),
        metric=metric,
        via=via,
        label=label,
        threads=dict(threads),
        runs=len(samples),
        ns_min=rounded(min(samples)),
        ns_max=rounded(max(samples)),
        ref_ns_min=rounded(min(ref_samples)),
        ref_ns_max=rounded(max(ref_samples)),
        limit=goal.limit,
        limit_ns=goal.limit_ns,
        limit_kicks=goal.limit_kicks,
        lossless=goal.lossless,
        drops=drops,
        **more,
    )


def rounded(value: float) -> float:
    """Return `value` with four significant digits: more would be noise."""
    return float(f"{value:.4g}")
