# SPDX-License-Identifier: BSD-2-Clause
"""The demo's result as a picture."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

from ringpass.demo.result import Result, Step

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullLocator

INK, FAINT, GRID = "#1f2933", "#8b95a1", "#e4e7eb"
DELIVERED, OFFERED, CPU = "#1769aa", "#b8c4d0", "#b26a00"

STYLE: Any = {  # of names that matplotlib lists one by one
    "font.size": 9,
    "axes.edgecolor": GRID,
    "axes.labelcolor": FAINT,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": INK,
}


def draw(result: Result, file: Path) -> None:
    """Draw `result` into a PNG at `file`."""
    with mpl.rc_context(STYLE):
        figure, ((top_left, top_right), (low_left, low_right)) = plt.subplots(
            2, 2, figsize=(10, 5.6), layout=ConstrainedLayoutEngine(wspace=0.06, hspace=0.06)
        )
        _rtt(top_left, result)
        _tcp(top_right, [step for step in result.steps if step.retransmits is not None])
        _flood(low_left, [step for step in result.steps if step.offered_per_s is not None])
        _cpu(low_right, result.steps)
        figure.suptitle(
            f"Two QEMU guests ({result.label}) on a VALE switch",
            x=0.01,
            ha="left",
            weight="bold",
            size=13,
        )
        figure.supxlabel(f"{result.machine}, {result.date}", size=7, color=FAINT)
        figure.savefig(file, dpi=150, format="png")
        plt.close(figure)


def _rtt(axes: Any, result: Result) -> None:
    times = sorted(time / 1000 for time in result.rtts_us)
    _frame(axes, f"ping: {len(times)} round trips, ms", "x")
    axes.set_xscale("log")
    axes.step(times, [100 * (i + 1) / len(times) for i in range(len(times))], color=DELIVERED)
    rtt = next(step.rtt_us for step in result.steps if step.rtt_us)
    for name, value, at in (("median", rtt.median, 50), ("p99", rtt.p99, 99)):
        axes.plot(value / 1000, at, "o", color=DELIVERED)
        axes.annotate(
            f"{name} {value / 1000:.3g} ms",
            (value / 1000, at),
            xytext=(8, -4 if at < 90 else -14),
            textcoords="offset points",
        )
    axes.set_ylabel("% returned within")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, 105)


def _tcp(axes: Any, steps: list[Step]) -> None:
    _frame(axes, "TCP, Gbit/s", "x")
    bars = axes.barh(
        [step.name.removeprefix("TCP ") for step in steps],
        [step.gbps for step in steps],
        color=DELIVERED,
        height=0.45,
    )
    labels = [f"{step.gbps:.3g}, {step.retransmits} retransmits" for step in steps]
    axes.bar_label(bars, labels, padding=4)
    _room(axes)


def _flood(axes: Any, steps: list[Step]) -> None:
    _frame(axes, "flood, thousand frames/s: sent (grey), received (blue)", "x")
    names = [step.name.removeprefix("flood ") for step in steps]
    sent = [(step.offered_per_s or 0) / 1000 for step in steps]
    received = [step.frames_per_s / 1000 for step in steps]
    axes.barh(names, sent, color=OFFERED, height=0.6)
    bars = axes.barh(names, received, color=DELIVERED, height=0.3)
    labels = [
        f"{rate:.3g} of {offer:.3g}, {step.gbps:.2g} Gbit/s"
        for step, rate, offer in zip(steps, received, sent, strict=True)
    ]
    widest = [max(pair) - rate for *pair, rate in zip(sent, received, received, strict=True)]
    for bar, label, beyond in zip(bars, labels, widest, strict=True):
        axes.annotate(
            label,
            (bar.get_width() + beyond, bar.get_y() + bar.get_height() / 2),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    _room(axes)


def _cpu(axes: Any, steps: list[Step]) -> None:
    _frame(axes, "CPU of the backend, seconds per million frames", "x")
    bars = axes.barh(
        [step.name for step in steps], [step.cpu_s_per_mframe for step in steps], color=CPU
    )
    axes.bar_label(bars, [f"{step.cpu_s_per_mframe:.3g}" for step in steps], padding=4)
    _room(axes)


def _frame(axes: Any, title: str, grid: str) -> None:
    axes.set_title(title, loc="left", size=9.5)
    axes.grid(axis=grid, color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, which="both")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _room(axes: Any) -> None:
    """Leave room for labels to the right of the bars, the first bar on top."""
    axes.set_xlim(0, axes.get_xlim()[1] * 1.45)
    axes.invert_yaxis()
