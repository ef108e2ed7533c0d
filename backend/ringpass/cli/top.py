# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass top`: what happens now, a second. It reads shared memory, and asks nobody."""

import sys
import time
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from ringpass import paths
from ringpass.cli import output
from ringpass.errors import DaemonUnreachable
from ringpass.observe.counters import FILE_NAME
from ringpass.observe.rates import Rates, rates
from ringpass.observe.watch import Watch
from ringpass.top import screen, tables

app = typer.Typer(add_completion=False)


@app.command()
def top(
    interval: Annotated[
        float, typer.Option(min=0.01, metavar="SECONDS", help="Between two looks.")
    ] = 1.0,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="End after so many intervals.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="One interval; the same as -n 1.")] = False,
    rings: Annotated[bool, typer.Option("--rings", help="Show each ring.")] = False,
    drops: Annotated[bool, typer.Option("--drops", help="Show drops only.")] = False,
    workers: Annotated[bool, typer.Option("--workers", help="Show the workers.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, one object a line for each interval.")
    ] = False,
) -> None:
    """Show what happens a second: ports, rings, drops, workers; broken ones first, then busy ones.

    On a terminal: r rings, d drops, w workers, p pause, [ and ] back and forth, q quit.
    """
    count = 1 if once else count
    view: tables.View = (
        "rings" if rings else "drops" if drops else "workers" if workers else "ports"
    )
    with Watch(paths.runtime_dir() / FILE_NAME) as watch:
        if not (json or once) and sys.stdin.isatty() and sys.stdout.isatty():
            screen.run(watch, output.console, interval, count, view)
        else:
            _print(watch, interval, count, view, json=json)


def _print(
    watch: Watch, interval: float, count: int | None, view: tables.View, *, json: bool
) -> None:
    before = watch.look()
    if before.health.state == "absent":
        path = paths.runtime_dir() / FILE_NAME
        raise DaemonUnreachable(
            f"there are no counters at {path}", "no daemon runs there", "ringpass up FILE.toml"
        )
    due = time.monotonic()
    while count is None or count > 0:
        due += interval
        time.sleep(max(due - time.monotonic(), 0))
        after = watch.look()
        shown = rates(before, after)
        if json:
            sys.stdout.write(msgspec.json.encode(shown).decode() + "\n")
            sys.stdout.flush()
        else:
            _print_table(shown, view)
        before = after
        count = None if count is None else count - 1


def _print_table(shown: Rates, view: tables.View) -> None:
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(shown.at))
    output.console.print(Text(f"{clock}  process {shown.pid}  {shown.state}"))
    if shown.why:
        output.console.print(Text(f"! {shown.why}", style="bold red"))
    content = tables.rows(shown, view)
    output.console.print(tables.draw(content, output.console.width, len(content.rows) + 1))
    output.console.print()
