# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass config`: check configuration files; show what runs."""

from pathlib import Path
from typing import Annotated

import typer

from ringpass import config, paths
from ringpass.cli import output
from ringpass.client import SHOW_S, Client

app = typer.Typer(
    add_completion=False, help="Check configuration files; show the running configuration."
)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The configuration, in TOML.", show_default=False)],
    json: output.Json = False,
) -> None:
    """Say whether FILE is right, without asking the daemon; print what it means, completed."""
    found = config.load(file, paths.runtime_dir())
    if json:
        output.print_json({"daemon": found.daemon, "switch": found.switches, "port": found.ports})
    else:
        output.say(f"{file} is right: {len(found.switches)} switches, {len(found.ports)} ports")


@app.command()
def show() -> None:
    """Print the configuration that the daemon runs, as JSON."""
    with Client(timeout=SHOW_S) as client:
        output.print_json(client.call("config.show"))


@app.command()
def schema() -> None:
    """Print the JSON schema of configuration files."""
    output.print_json(config.schema())
