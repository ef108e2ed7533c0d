# SPDX-License-Identifier: BSD-2-Clause
"""Rows about calls of the control plane, which take a caller some time and move no frames."""

import time
from collections.abc import Callable, Sequence
from statistics import quantiles

from ringpass.bench.report import Goal, Row, rounded, row


def a_row(case: str, samples: Sequence[Sequence[float]], *, ref: str, goal: Goal, via: str) -> Row:
    """Return the row of a case from its `samples` and its reference's, in ns a call.

    `via` says what was called.
    """
    percentiles = quantiles(samples[0], n=100, method="inclusive") if len(samples[0]) > 1 else []
    shown = {"median": 49, "p90": 89, "p99": 98} if percentiles else {}
    return row(
        case,
        0,
        samples[0],
        ref=ref,
        ref_samples=samples[1],
        goal=goal,
        threads={"daemon": "any", "caller": "any"},
        via=via,
        label="native",
        metric="call",
        rtt_us={name: rounded(percentiles[at] / 1e3) for name, at in shown.items()},
    )


def took(thing: Callable[[], object]) -> float:
    """Return the nanoseconds that `thing` takes."""
    begun = time.perf_counter_ns()
    thing()
    return float(time.perf_counter_ns() - begun)
