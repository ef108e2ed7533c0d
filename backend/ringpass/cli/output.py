# SPDX-License-Identifier: BSD-2-Clause
"""How commands print: data on standard output, as tables for people or as JSON."""

import sys
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

#: Not on a terminal there is no width to fit into.
#: Names are printed as they are: `:x:` in one is no emoji, `[x]` no markup.
console = Console(
    highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 240
)


def print_json(value: Any) -> None:
    """Print `value`, indented."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.write(text.decode() + "\n")


def say(text: str) -> None:
    """Tell the user something that is not data."""
    sys.stderr.write(text + "\n")


def print_result(answer: dict[str, Any], name: str, json: bool) -> None:
    """Print what became of a request to change `name`."""
    if json:
        print_json(answer)
    else:
        say(f"{name}: {answer['result']}")


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print `rows`; columns whose name begins with `>` are aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.startswith(">")
        justify: Literal["left", "right"] = "right" if right else "left"
        table.add_column(column.removeprefix(">"), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line."""
    pairs = list(fields)
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        label = Text(name.ljust(width + 2), style="bold")
        console.print(label.append(_cell(value).plain, style="none"), soft_wrap=True)


def _cell(value: object) -> Text:
    if isinstance(value, Text):
        return value
    if isinstance(value, list | tuple):
        return Text(" ".join(str(item) for item in value) or "-")
    return Text("-" if value is None or value == "" else str(value))
