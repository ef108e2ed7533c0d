# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass bridge`: join two ports."""

from typing import Annotated

import typer

from ringpass.cli import output
from ringpass.errors import ConfigError
from ringpass.interrupt import Interrupt
from ringpass.ports import check_rings, opened, translated
from ringport import Port
from ringport.bridge import Bridge
from ringport.portspec import BadPortSpec, Flag, Mode, parse

app = typer.Typer(add_completion=False)


@app.command()
def bridge(
    one: Annotated[str, typer.Argument(help="A port: vale0:a, netmap:eth0, ...")],
    other: Annotated[str, typer.Argument(help="Another.")],
    burst: Annotated[int, typer.Option("-b", min=1, help="Slots that are moved at a time.")] = 512,
    wait: Annotated[float, typer.Option("-w", min=0, help="Begin after so many seconds.")] = 0,
    copy: Annotated[bool, typer.Option("-c", help="Copy frames even within one region.")] = False,
    json: output.Json = False,
) -> None:
    """Send by each of two ports what the other one receives, until Ctrl-C.

    No byte is copied if both are in one region, as pipes of one port are; name one with @share to
    put it there. The counts at the end are of slots, one for most frames; a frame that is longer
    than the whole ring of the other port is dropped.
    """
    if _rings(one) == _rings(other):
        raise ConfigError(
            f"cannot join {one} and {other}",
            "they are the same rings of one port, whose frames would go round and round",
            "name two ports",
        )
    with Interrupt() as interrupt, opened(one) as first, opened(other) as second:
        _check_rings(first, second)
        if wait:
            interrupt.sleep(wait)
        joined = Bridge(first, second, burst, copy=copy)
        copies = any(way.copy for way in joined.directions)
        output.say(f"{one} and {other} are joined, {'with a copy' if copies else 'without a copy'}")
        while not interrupt.came:
            if not joined.step():
                interrupt.wait(joined.wait)
    rows = [
        {
            "from": way.source.name,
            "to": way.sink.name,
            "slots": way.slots,
            "bytes": way.bytes,
            "dropped": way.dropped,
        }
        for way in joined.directions
    ]
    if json:
        output.print_json({"zero_copy": not copies, "directions": rows})
    else:
        columns = ("FROM", "TO", ">SLOTS", ">BYTES", ">DROPPED")
        output.print_table(columns, (row.values() for row in rows))


def _check_rings(one: Port, other: Port) -> None:
    """Raise ConfigError if what a port receives cannot be sent, or if neither receives anything."""
    for source, sink in ((one, other), (other, one)):
        if source.rx or source.host_rx:
            check_rings(sink, tx=(*sink.tx, *sink.host_tx))
    check_rings(one, rx=(*one.rx, *one.host_rx, *other.rx, *other.host_rx))


def _rings(name: str) -> tuple[str, Mode, int, Flag]:
    """Return what tells the rings that `name` means from others. Raises ConfigError."""
    try:
        spec = parse(name)
    except BadPortSpec as error:
        raise translated(error) from error
    return spec.name, spec.mode, spec.ringid, spec.flags
