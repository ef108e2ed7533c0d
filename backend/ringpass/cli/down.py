# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass down`: stop the daemon."""

import time

import typer

from ringpass.cli import output
from ringpass.client import Client
from ringpass.errors import DaemonUnreachable, RingpassError

app = typer.Typer(add_completion=False)

#: Seconds that a daemon may take to end.
PATIENCE_S = 10.0


@app.command()
def down(json: output.Json = False) -> None:
    """Stop the daemon: its front ends are disconnected, its sockets removed."""
    with Client() as client:
        try:
            client.call("shutdown")
        except DaemonUnreachable:
            result = "absent"
        else:
            result = "stopped"
            _await_end(client)
    if json:
        output.print_json({"result": result})
    else:
        output.say(f"the daemon is {result}")


def _await_end(client: Client) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            client.call("ping")
        except DaemonUnreachable:
            return
        time.sleep(0.02)
    raise RingpassError("the daemon does not stop", f"it still answers after {PATIENCE_S:g} s")
