# SPDX-License-Identifier: BSD-2-Clause
"""A report as a picture: each row as a multiple of its reference, with its goal."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl

from ringpass.bench.report import Report, Row

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

INK, FAINT, GRID = "#1f2933", "#8b95a1", "#e4e7eb"
MEASURED, MISSED, REFERENCE, GOAL = "#1769aa", "#c62828", "#8b95a1", "#2e7d32"

STYLE: Any = {  # of names that matplotlib lists one by one
    "font.size": 9,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": INK,
}

#: Multiples beyond these are drawn at the edge, as arrows: an idle daemon's is almost zero.
LEAST, MOST = 0.1, 50.0


def draw(report: Report, file: Path) -> None:
    """Draw `report` into a PNG at `file`: a panel for each kind of row, a line for each row."""
    panels = [(title, list(rows)) for title, rows in groupby(report.rows, _title)]
    heights = [len(rows) + 0.4 for _, rows in panels]
    with mpl.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(panels),
            figsize=(9, 1.4 + 0.4 * sum(heights) + 0.3 * len(panels)),
            height_ratios=heights,
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        for axes, (title, rows) in zip(grid[:, 0], panels, strict=True):
            _draw_panel(axes, title, rows)
        figure.suptitle(f"ringpass bench {report.bench}", x=0.01, ha="left", weight="bold", size=13)
        figure.legend(
            handles=_legend(report.rows), loc="outside upper right", ncols=4, frameon=False
        )
        figure.supxlabel(
            f"{_measured(report)}, as a multiple of the reference's; "
            f"{report.machine}, {report.date}",
            size=7,
            color=FAINT,
        )
        figure.savefig(file, dpi=150, format="png")
        plt.close(figure)


def _title(row: Row) -> str:
    placed = "; ".join(f"{thread} on {cores}" for thread, cores in row.threads.items())
    return f"{row.label} {row.via}, {row.metric}; {placed}; reference: {row.ref}"


def _draw_panel(axes: Any, title: str, rows: Sequence[Row]) -> None:
    axes.set_title(title, loc="left", size=9)
    for at, row in enumerate(rows):
        colour = MEASURED if row.met else MISSED
        axes.annotate(
            _says(row), (1.01, at), xycoords=("axes fraction", "data"), va="center", color=colour
        )
        if row.ref_ns is not None:
            _draw_row(axes, at, row, row.ref_ns, colour)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}x")
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", which="major", color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, which="both")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _draw_row(axes: Any, at: float, row: Row, unit: float, colour: str) -> None:
    low, high = _clipped(row.ns_min / unit), _clipped(row.ns_max / unit)
    middle = _clipped(row.ns / unit)
    marker = {LEAST: "<", MOST: ">"}.get(middle, "o")
    axes.hlines(
        at + 0.16,
        _clipped((row.ref_ns_min or unit) / unit),
        _clipped((row.ref_ns_max or unit) / unit),
        REFERENCE,
        linewidth=1,
    )
    axes.plot(1, at + 0.16, "D", color="white", markeredgecolor=REFERENCE, ms=5)
    if row.limit is not None:
        axes.plot(row.limit, at - 0.14, "|", color=GOAL, ms=13, mew=2.2)
    axes.hlines(at - 0.14, low, high, colour, linewidth=1.4)
    axes.plot(middle, at - 0.14, marker, color=colour, ms=6.5)


def _clipped(multiple: float) -> float:
    return min(max(multiple, LEAST), MOST)


def _name(row: Row) -> str:
    return f"{row.case}  {row.size} B" if row.size else row.case


def _says(row: Row) -> str:
    if row.ratio is None or row.ref_ns is None:
        return _amount(row, row.ns)
    return f"{row.ratio:.2f}x: {_amount(row, row.ns)} / {_amount(row, row.ref_ns)}"


def _measured(report: Report) -> str:
    counted = all(row.metric == "instructions" for row in report.rows)
    return "instructions" if counted else "time"


def _amount(row: Row, value: float) -> str:
    return f"{value:.3g}" if row.metric == "instructions" else _time(value)


def _time(ns: float) -> str:
    """Return a time in the unit that leaves one to three digits before its point."""
    for unit, length in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= length:
            return f"{ns / length:.3g} {unit}"
    return f"{ns:.3g} ns"


def _legend(rows: Sequence[Row]) -> list[Line2D]:
    def mark(label: str, marker: str, colour: str, face: str | None = None) -> Line2D:
        return Line2D(
            [], [], marker=marker, ls="", label=label, mec=colour, mfc=face or colour, mew=1.5
        )

    marks = [mark("median, min to max", "o", MEASURED)]
    if any(not row.met for row in rows):
        marks.append(mark("goal not met", "o", MISSED))
    if any(row.ref_ns is not None for row in rows):
        marks.append(mark("reference", "D", REFERENCE, "white"))
    if any(row.limit is not None for row in rows):
        marks.append(mark("goal: left of this", "|", GOAL))
    return marks
