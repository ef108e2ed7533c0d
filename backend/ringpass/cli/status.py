# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass status`: everything that runs, problems first."""

import time

import typer
from rich.text import Text

from ringpass.cli import output
from ringpass.client import SHOW_S, Client
from ringpass.observe.status import PortStatus, RegionStatus, Status, diagnosis

app = typer.Typer(add_completion=False)

_STYLES = {"up": "green", "broken": "bold red", "connected": "yellow", "waiting": "dim"}


@app.command()
def status(json: output.Json = False) -> None:
    """Show the daemon, its workers, switches and ports; problems come first."""
    with Client(timeout=SHOW_S) as client:
        if json:
            output.print_json(client.call("status"))
        else:
            _print(client.ask(Status, "status"))


def _print(status: Status) -> None:
    output.console.print(
        f"ringpass {status.version}  process {status.pid}  up {duration(status.uptime_s)}  "
        f"{status.runtime_dir}"
    )
    for problem in status.problems:
        output.console.print(Text(f"! {problem}", style="bold red"))
    output.console.print()
    output.print_table(
        ("WORKER", "POLICY", "CPU", ">LOOPS", ">BUSY", ">SLEEPS", ">WAKES", "PORTS"),
        (
            (w.worker, w.policy, w.cpu, w.loops, w.busy, w.sleeps, w.wakes, w.ports)
            for w in status.workers
        ),
    )
    output.console.print()
    output.print_table(
        ("SWITCH", "LOGIC", ">AGEING s", ">ADDRESSES", "PORTS"),
        ((s.name, s.logic, s.ageing, s.addresses, s.ports) for s in status.switches),
    )
    output.console.print()
    print_ports(status.ports)
    if status.regions:
        output.console.print()
        print_regions(status.regions)


def print_regions(regions: list[RegionStatus]) -> None:
    """Print a line for each region."""
    output.print_table(
        ("REGION", "NAME", ">BUFFERS", ">OF", ">BYTES EACH", ">RINGS", ">OF", "PORTS"),
        (
            (
                f"@{region.number}",
                region.name,
                region.buffers_used,
                region.buffers,
                region.buf_size,
                region.rings_used,
                region.rings,
                region.ports,
            )
            for region in regions
        ),
    )


def print_ports(ports: list[PortStatus]) -> None:
    """Print a line for each port, the broken ones first."""
    ordered = sorted(ports, key=lambda port: (port.state != "broken", port.name))
    output.print_table(
        ("PORT", "KIND", "STATE", "FRONT END", ">FROM GUEST", ">TO GUEST", ">DROPS", "WHY"),
        (
            (
                port.name,
                port.kind,
                Text(port.state, style=_STYLES[port.state]),
                front_ends(port),
                port.tx.frames,
                port.rx.frames,
                sum(drops(port).values()),
                diagnosis(port) or reasons(port) or port.last_error,
            )
            for port in ordered
        ),
    )


def front_ends(port: PortStatus) -> str | None:
    """Return the domain, the processes, or the interface, at the other side of `port`."""
    words = [f"domain {port.domain.name}"] if port.domain is not None else []
    words += [word] if (word := _processes(port)) else []
    return ", ".join(words) or None


def _processes(port: PortStatus) -> str | None:
    if port.guest is not None:
        return f"process {port.guest.pid}" + ("" if port.guest.driver else ", no driver")
    found = [f"process {user.pid}" for user in port.users]
    if port.interface is not None:
        found.append(f"{port.interface.name} {port.interface.mode}".rstrip())
    if found:
        return ", ".join(found)
    if port.front_end is None:
        return None
    standby = f", standby {port.standby.pid}" if port.standby else ""
    return f"process {port.front_end.pid}{standby}"


def drops(port: PortStatus) -> dict[str, int]:
    """Return the frames that were lost on the way from or to `port`, by reason."""
    total = dict(port.tx.drops)
    for reason, count in port.rx.drops.items():
        total[reason] = total.get(reason, 0) + count
    return total


def reasons(port: PortStatus) -> str:
    """Return why `port` lost frames, the most frequent reason first."""
    ordered = sorted(drops(port).items(), key=lambda item: -item[1])
    return ", ".join(f"{reason} {count}" for reason, count in ordered)


def duration(seconds: float) -> str:
    """Return a time span as a user says it."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def moment(at: float) -> str | None:
    """Return a time of day with how long ago it was, or None for never."""
    if not at:
        return None
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    return f"{clock}, {duration(max(0.0, time.time() - at))} ago"
