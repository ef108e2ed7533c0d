# SPDX-License-Identifier: BSD-2-Clause
"""A report as a picture: a dot for each figure, one for its reference, a mark for its goal."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl

from ringpass.bench.report import Report, Row

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, StrMethodFormatter

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


def draw(report: Report, file: Path) -> None:
    """Draw `report` into a PNG at `file`: a panel for each kind of row, a line for each row."""
    panels = [(title, list(rows)) for title, rows in groupby(report.rows, _title)]
    heights = [len(rows) + 0.6 for _, rows in panels]
    with mpl.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(panels),
            figsize=(8.5, 1.5 + 0.42 * sum(heights) + 0.5 * len(panels)),
            height_ratios=heights,
            squeeze=False,
            layout="constrained",
        )
        for axes, (title, rows) in zip(grid[:, 0], panels, strict=True):
            _draw_panel(axes, title, rows)
        figure.suptitle(f"ringpass bench {report.bench}", x=0.01, ha="left", weight="bold", size=13)
        figure.legend(
            handles=_legend(report.rows), loc="outside upper right", ncols=4, frameon=False
        )
        figure.supxlabel(f"{report.machine}, {report.date}", size=7, color=FAINT)
        figure.savefig(file, dpi=150, format="png")
        plt.close(figure)


def _title(row: Row) -> str:
    placed = "; ".join(f"{thread} on {cores}" for thread, cores in row.threads.items())
    cores = "1 core" if row.cores == 1 else f"{row.cores} cores"
    return f"{row.label} {row.via}, {row.metric}, {cores} ({placed})"


def _draw_panel(axes: Any, title: str, rows: Sequence[Row]) -> None:
    axes.set_title(title, loc="left", size=9.5)
    axes.set_xscale("log")
    for at, row in enumerate(rows):
        colour = MEASURED if row.met else MISSED
        if row.ref_ns is not None:
            axes.hlines(at + 0.17, row.ref_ns_min, row.ref_ns_max, REFERENCE, linewidth=1)
            axes.plot(row.ref_ns, at + 0.17, "D", color="white", markeredgecolor=REFERENCE, ms=5)
            if row.limit is not None:
                axes.plot(row.ref_ns * row.limit, at - 0.13, "|", color=GOAL, ms=15, mew=2.2)
        axes.hlines(at - 0.13, row.ns_min, row.ns_max, colour, linewidth=1.4)
        axes.plot(row.ns, at - 0.13, "o", color=colour, ms=6.5)
        axes.annotate(
            _says(row), (1.01, at), xycoords=("axes fraction", "data"), va="center", color=colour
        )
    axes.set_yticks(range(len(rows)), [f"{row.case}  {row.size} B" for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g} ns"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="x", which="major", color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, which="both")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _says(row: Row) -> str:
    if row.ratio is None:
        return f"{row.ns:g} ns"
    return f"{row.ns:g} ns, {row.ratio:.2f}x"


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
