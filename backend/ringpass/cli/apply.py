# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass apply`: make the running daemon what a configuration file says."""

from pathlib import Path
from typing import Annotated

import typer

from ringpass import config
from ringpass.cli import output
from ringpass.client import Client

app = typer.Typer(add_completion=False)


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="The configuration, in TOML.", show_default=False)],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    json: output.Json = False,
) -> None:
    """Make the running daemon what FILE says; what did not change is not touched."""
    tables = config.read(file)
    with Client() as client:
        answer = client.call("apply", config=tables, source=str(file), dry_run=dry_run)
    if json:
        output.print_json(answer)
        return
    for action in answer["actions"]:
        output.console.print(action["text"])
    if not answer["actions"]:
        output.say("nothing to do")
