# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass pktgen`: generate traffic on a port, take it, send it back."""

import os
from enum import StrEnum
from typing import Annotated

import typer

from ringpass.cli import output
from ringpass.errors import ConfigError
from ringpass.interrupt import Interrupt
from ringpass.pktgen import frame
from ringpass.pktgen.roles import Pinger, Ponger, Receiver, Role, Sender
from ringpass.pktgen.run import Summary, run, summarize
from ringpass.ports import check_rings, opened
from ringport import Port

app = typer.Typer(add_completion=False)


class Function(StrEnum):
    """What to be."""

    TX = "tx"
    RX = "rx"
    PING = "ping"
    PONG = "pong"


@app.command()
def pktgen(
    interface: Annotated[str, typer.Option("-i", help="The port: vale0:a, netmap:eth0-1, ...")],
    function: Annotated[Function, typer.Option("-f", help="What to do.")] = Function.RX,
    count: Annotated[
        int, typer.Option("-n", min=0, help="End after so many frames; 0: never.")
    ] = 0,
    size: Annotated[
        int, typer.Option("-l", min=frame.MIN_FRAME, max=frame.MAX_FRAME, help="Bytes of a frame.")
    ] = 60,
    burst: Annotated[int, typer.Option("-b", min=1, help="Slots that are moved at a time.")] = 512,
    source: Annotated[
        str, typer.Option("-s", metavar="IP[:PORT]", help="Source address.")
    ] = "10.0.0.1:1234",
    to: Annotated[
        str, typer.Option("-d", metavar="IP[:PORT]", help="Destination address.")
    ] = "10.1.0.1:1234",
    source_mac: Annotated[
        str, typer.Option("-S", metavar="MAC", help="Source.")
    ] = "02:00:00:00:00:01",
    to_mac: Annotated[
        str, typer.Option("-D", metavar="MAC", help="Destination.")
    ] = "ff:ff:ff:ff:ff:ff",
    rate: Annotated[int, typer.Option("-R", min=0, help="Frames a second; 0: all that go.")] = 0,
    wait: Annotated[float, typer.Option("-w", min=0, help="Begin after so many seconds.")] = 0,
    report: Annotated[
        int, typer.Option("-T", min=0, help="Milliseconds between two reports; 0: none.")
    ] = 1000,
    cpu: Annotated[int | None, typer.Option("-a", min=0, help="Run on this CPU alone.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Number the frames, or look at their numbers.")
    ] = False,
    json: output.Json = False,
) -> None:
    """Send frames, take them, measure round trips or send them back, on any port.

    The flags are those of netmap's pkt-gen. Rates go to standard error, a summary to standard
    output. `--check` with tx and rx finds what was lost, late or damaged.
    """
    if cpu is not None:
        _run_on(cpu)
    template = frame.build(
        size,
        frame.Address(frame.parse_mac(source_mac), *frame.parse_ip(source)),
        frame.Address(frame.parse_mac(to_mac), *frame.parse_ip(to)),
        stream=os.getpid(),
    )
    if (check or function is Function.PING) and size < frame.MIN_CHECKED:
        raise ConfigError(
            f"cannot number frames of {size} bytes",
            f"the number ends at byte {frame.MIN_CHECKED}",
            f"choose -l {frame.MIN_CHECKED} or more",
        )

    def role(port: Port) -> Role:
        match function:
            case Function.TX:
                check_rings(port, tx=port.tx)
                return Sender(port, template, frames=count, burst=burst, rate=rate, check=check)
            case Function.RX:
                check_rings(port, rx=(*port.rx, *port.host_rx))
                return Receiver(port, frames=count, burst=burst, check=check)
            case Function.PING:
                check_rings(port, tx=port.tx, rx=port.rx)
                return Pinger(port, template, count, rate)
            case Function.PONG:
                check_rings(port, tx=port.tx, rx=port.rx)
                return Ponger(port, frames=count, burst=burst)

    with Interrupt() as interrupt, opened(interface) as port:
        if wait:
            interrupt.sleep(wait)
        chosen = role(port)
        seconds = run(chosen, interrupt, report_s=report / 1000, talk=output.say)
    _print(summarize(function.value, interface, chosen, seconds), json)


def _run_on(cpu: int) -> None:
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError as error:
        why = error.strerror or ""
        raise ConfigError(f"cannot run on CPU {cpu}", why, "choose one of this machine") from None


def _print(summary: Summary, json: bool) -> None:
    if json:
        output.print_json(summary)
        return
    fields = {
        "port": summary.port,
        "frames": summary.frames,
        "bytes": summary.bytes,
        "seconds": f"{summary.seconds:.3f}",
        "Mpps": f"{summary.pps / 1e6:.3f}",
        "Gbit/s": f"{summary.bps / 1e9:.3f}",
        "lost": summary.lost,
        "reordered": summary.reordered,
        "foreign": summary.foreign,
    }
    fields |= {f"rtt {name} us": us for name, us in (summary.rtt_us or {}).items()}
    output.print_fields((name, value) for name, value in fields.items() if value is not None)
