# SPDX-License-Identifier: BSD-2-Clause
"""Rates as tables for people."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from rich.table import Table
from rich.text import Text

from ringpass.observe.rates import Amounts, PortRates, Rates

View = Literal["ports", "rings", "drops", "workers"]


class Rows(NamedTuple):
    """A table before it is drawn. Names of columns that begin with `>` are aligned to the right."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]
    optional: tuple[str, ...] = ()
    """Columns that a narrow terminal can do without, the least important one first."""


def rows(shown: Rates, view: View) -> Rows:
    """Return what `view` shows of some rates."""
    return _VIEWS[view](shown)


def draw(content: Rows, width: int, height: int) -> Table:
    """Return a table that fits `width` columns and `height` lines."""
    left_out = _left_out(content, width)
    kept = [i for i, column in enumerate(content.columns) if column not in left_out]
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for i in kept:
        name = content.columns[i]
        right = name.startswith(">")
        table.add_column(
            name.removeprefix(">"),
            justify="right" if right else "left",
            no_wrap=True,
            overflow="ellipsis",
            # What does not fit is taken of the last column, which is made of words.
            min_width=None if i == kept[-1] else _width(content, i),
        )
    room = max(height - 1, 1)
    visible = content.rows if len(content.rows) <= room else content.rows[: room - 1]
    for row in visible:
        table.add_row(*(_cell(row[i]) for i in kept))
    if len(visible) < len(content.rows):
        table.add_row(Text(f"and {len(content.rows) - len(visible)} more", style="dim"))
    return table


def scaled(value: float | None, digits: int = 3) -> str:
    """Return a number with `digits` digits and the letter of its power of thousand."""
    if value is None:
        return "-"
    for letter in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5 or letter == "T":
            break
        value /= 1000
    whole = len(str(int(abs(value))))
    places = max(digits - whole, 0) if letter or value != int(value) else 0
    return f"{value:.{places}f}{letter}"


def _left_out(content: Rows, width: int) -> set[str]:
    words = 12  # of the last column; more are better, but not at the expense of numbers
    needed = sum(_width(content, i) + 1 for i in range(len(content.columns) - 1)) + words
    left_out: set[str] = set()
    for name in content.optional:
        if needed <= width:
            break
        left_out.add(name)
        needed -= _width(content, content.columns.index(name)) + 1
    return left_out


def _width(content: Rows, column: int) -> int:
    cells = (len(_cell(row[column])) for row in content.rows)
    return max([len(content.columns[column].removeprefix(">")), *cells])


def _cell(value: object) -> Text:
    if isinstance(value, Text):
        return value
    if value is None or isinstance(value, float):
        return Text(scaled(value))
    return Text(str(value))


_NUMBERS = (">BATCH", ">KICKS", ">CALLS", ">SLEEPS", ">HOLDS")
_OPTIONAL = (">HOLDS", ">SLEEPS", ">CALLS", ">KICKS", ">BATCH")


def _ports(shown: Rates) -> Rows:
    columns = ("PORT", ">TX /s", ">TX bit/s", ">RX /s", ">RX bit/s", *_NUMBERS, ">DROPS", "WHY")
    return Rows(columns, [_port(port) for port in shown.ports], _OPTIONAL)


def _port(port: PortRates) -> tuple[object, ...]:
    both = None if port.tx is None or port.rx is None else Amounts.sum((port.tx, port.rx))
    totals = Amounts.sum((port.tx_totals, port.rx_totals))
    return (
        _name(port),
        *_load(port.tx),
        *_load(port.rx),
        *_numbers(both),
        None if both is None else both.dropped,
        _why(port.broken, both, totals),
    )


def _rings(shown: Rates) -> Rows:
    columns = ("PORT", "RING", ">/s", ">bit/s", *_NUMBERS, ">DROPS", "WHY")
    found = [
        (
            _name(port),
            f"{ring.dir}{ring.ring}",
            *_load(ring.rates),
            *_numbers(ring.rates),
            None if ring.rates is None else ring.rates.dropped,
            _why(port.broken, ring.rates, ring.totals),
        )
        for port in shown.ports
        for ring in port.rings
    ]
    return Rows(columns, found, _OPTIONAL)


def _drops(shown: Rates) -> Rows:
    found = [
        (
            _name(port),
            f"{ring.dir}{ring.ring}",
            reason,
            float(ring.rates.drops.get(reason, 0)) if ring.rates else None,
            float(total),
        )
        for port in shown.ports
        for ring in port.rings
        for reason, total in ring.totals.drops.items()
    ]
    found.sort(key=lambda row: (-(row[3] or 0), -row[4]))
    return Rows(("PORT", "RING", "REASON", ">DROPS", ">SINCE IT WAS MADE"), found)


def _workers(shown: Rates) -> Rows:
    columns = (
        "WORKER",
        "DOES",
        ">CPU",
        ">LOOPS",
        ">BUSY",
        ">SLEEPS",
        ">WAKES",
        ">TID",
        "PINNED TO",
    )
    found = [
        (
            row.worker,
            Text(row.doing or "-", style="bold red" if row.doing in ("stuck", "stopped") else ""),
            "-" if row.cpu is None else f"{row.cpu:.1%}",
            row.loops,
            row.busy,
            row.sleeps,
            row.wakes,
            row.tid,
            "any" if row.pinned_to is None else row.pinned_to,
        )
        for row in shown.workers
    ]
    return Rows(columns, found)


_VIEWS: dict[View, Callable[[Rates], Rows]] = {
    "ports": _ports,
    "rings": _rings,
    "drops": _drops,
    "workers": _workers,
}


def _name(port: PortRates) -> Text:
    return Text(port.port, style="bold red" if port.broken else "")


def _load(some: Amounts | None) -> tuple[float | None, float | None]:
    return (None, None) if some is None else (some.frames, some.bytes * 8)


def _numbers(some: Amounts | None) -> Iterable[float | None]:
    if some is None:
        return (None,) * len(_NUMBERS)
    batch = some.frames / some.batches if some.batches else 0.0
    return batch, some.kicks, some.calls, some.sleeps, some.holds


def _why(broken: str, now: Amounts | None, totals: Amounts) -> Text:
    """Return why frames are lost now; else why they were, since the port was made."""
    if broken:
        return Text(f"broken: {broken}", style="bold red")
    if now is not None and now.drops:
        return Text(_reasons(now.drops, "/s"), style="yellow")
    return Text(_reasons(totals.drops, " before") if totals.drops else "", style="dim")


def _reasons(drops: dict[str, float], unit: str) -> str:
    ordered = sorted(drops.items(), key=lambda item: -item[1])
    return ", ".join(f"{reason} {scaled(float(count))}{unit}" for reason, count in ordered)
