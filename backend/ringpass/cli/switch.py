# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass switch`: the VALE switches of the daemon."""

from pathlib import Path
from typing import Annotated

import typer

from ringpass.cli import output
from ringpass.client import SHOW_S, Client
from ringpass.config import whole_logic
from ringpass.observe.status import FdbEntry, SwitchStatus

app = typer.Typer(
    add_completion=False, help="List, add and remove switches; show their MAC tables."
)

Name = Annotated[str, typer.Argument(metavar="SWITCH", help="Such as vale0.", show_default=False)]


@app.command("ls")
def list_(json: output.Json = False) -> None:
    """List the switches."""
    with Client(timeout=SHOW_S) as client:
        if json:
            output.print_json(client.call("switch.list"))
            return
        switches = client.ask(list[SwitchStatus], "switch.list")
    output.print_table(
        ("SWITCH", "LOGIC", ">AGEING s", ">ADDRESSES", "PORTS"),
        ((s.name, s.logic, s.ageing, s.addresses, s.ports) for s in switches),
    )


@app.command()
def add(
    name: Name,
    ageing: Annotated[
        int, typer.Option(help="Seconds until a silent MAC address is forgotten; 0: never.", min=0)
    ] = 300,
    json: output.Json = False,
) -> None:
    """Add a switch. One that is there with the same settings stays as it is."""
    with Client() as client:
        output.print_result(client.call("switch.add", name=name, ageing=ageing), name, json)


@app.command()
def logic(
    name: Name,
    chosen: Annotated[
        str,
        typer.Argument(
            metavar="LOGIC",
            help="bridge, static, hash, none (a bridge again), or a C file.",
            show_default=False,
        ),
    ],
    config: Annotated[str, typer.Option(metavar="TEXT", help="What the logic is told.")] = "",
    json: output.Json = False,
) -> None:
    """Let another logic say where a switch's frames go, while they go."""
    wanted = "bridge" if chosen == "none" else whole_logic(chosen, Path())
    with Client() as client:
        answer = client.call("switch.logic", name=name, logic=wanted, config=config)
    if answer["warnings"]:
        output.say(answer["warnings"])
    output.print_result(answer, name, json)


@app.command("rm")
def remove(name: Name, json: output.Json = False) -> None:
    """Remove a switch that has no ports. One that is not there is no error."""
    with Client() as client:
        output.print_result(client.call("switch.remove", name=name), name, json)


@app.command()
def fdb(name: Name, json: output.Json = False) -> None:
    """Show the MAC addresses that a switch knows."""
    with Client(timeout=SHOW_S) as client:
        if json:
            output.print_json(client.call("switch.fdb", name=name))
            return
        entries = client.ask(list[FdbEntry], "switch.fdb", name=name)
    output.print_table(("MAC", "PORT", ">AGE s"), ((e.mac, e.port, e.age_s) for e in entries))
