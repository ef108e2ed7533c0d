# SPDX-License-Identifier: BSD-2-Clause
"""The ways between guests of QEMU beside each other: one line for each."""

from collections.abc import Callable, Sequence

from ringpass.bench.report import Row

Cell = Callable[[Row], str]


def thousands(row: Row) -> str:
    """Return frames a second."""
    return f"{1e9 / row.ns:,.0f}".replace(",", " ")


def gbits(row: Row) -> str:
    return f"{row.gbps:.2g}" if row.gbps is not None else ""


def microseconds(row: Row) -> str:
    rtt = row.rtt_us or {}
    return " / ".join(f"{rtt[name]:.0f}" for name in ("median", "p90", "p99") if name in rtt)


def cores(row: Row) -> str:
    return f"{row.backend_cores:.2f} + {row.guest_cores:.2f}"


def notifications(row: Row) -> str:
    """Return kicks and calls of the backend's ports for each frame."""
    return f"{row.kicks_per_frame:.2g} / {row.calls_per_frame:.2g}" if row.kicks_per_frame else ""


#: Title -> the end of the case's name, the size of a frame (0: any), what is shown.
COLUMNS: dict[str, tuple[str, int, Cell]] = {
    "frames/s, 60 B": ("flood", 60, thousands),
    "the same, numpy": ("flood-numpy", 60, thousands),
    "frames/s, 1500 B": ("flood", 1500, thousands),
    "TCP Gbit/s": ("tcp", 0, gbits),
    "UDP Gbit/s": ("udp", 0, gbits),
    "RTT us: p50 / p90 / p99": ("rtt", 0, microseconds),
    "kicks / calls a frame": ("flood", 60, notifications),
    "cores in a flood: backend + QEMU": ("flood", 60, cores),
}


def markdown(rows: Sequence[Row]) -> str:
    """Return a table of the ways that `rows` measure whole, in Markdown."""
    ways = dict.fromkeys(row.via for row in rows if row.case.startswith(f"{row.via}/"))
    head = ["between two guests", *COLUMNS]
    lines = [head, ["---", *("--:" for _ in COLUMNS)]]
    for way in ways:
        found = {(row.case.removeprefix(f"{way}/"), row.size): row for row in rows}
        lines.append([way, *(cell(found, *column) for column in COLUMNS.values())])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(rows: dict[tuple[str, int], Row], name: str, size: int, show: Cell) -> str:
    """Return what is shown of the row `name`, '' if there is none."""
    for (case, bytes_), row in rows.items():
        if case == name and size in (0, bytes_):
            return show(row)
    return ""
