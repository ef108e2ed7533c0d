# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass port`: the ports of the daemon."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from ringpass import portspec
from ringpass.cli import output
from ringpass.cli.status import moment, print_ports
from ringpass.client import SHOW_S, Client
from ringpass.errors import ConfigError
from ringpass.observe.status import (
    FrontEndStatus,
    InterfaceStatus,
    PortStatus,
    Traffic,
    UserStatus,
    diagnosis,
)

app = typer.Typer(add_completion=False, help="List, show, add, remove and repair ports.")

Name = Annotated[
    str, typer.Argument(metavar="SWITCH:PORT", help="Such as vale0:vm1.", show_default=False)
]


@app.command("ls")
def list_(json: output.Json = False) -> None:
    """List the ports, broken ones first."""
    with Client(timeout=SHOW_S) as client:
        if json:
            output.print_json(client.call("port.list"))
        else:
            print_ports(client.ask(list[PortStatus], "port.list"))


@app.command()
def show(name: Name, json: output.Json = False) -> None:
    """Show one port: its front end, what was agreed with it, its counters."""
    with Client(timeout=SHOW_S) as client:
        if json:
            output.print_json(client.call("port.show", name=name))
        else:
            _print(client.ask(PortStatus, "port.show", name=name))


@app.command()
def add(
    name: Name,
    kind: Annotated[
        str | None,
        typer.Option(help="vhost-user, null, nic, interface, netmap or passthrough."),
    ] = None,
    passthrough: Annotated[
        bool, typer.Option("--passthrough", help="The same as --kind passthrough.")
    ] = False,
    mode: Annotated[
        str | None, typer.Option(help="server: we listen on the socket; client: we connect to it.")
    ] = None,
    path: Annotated[str | None, typer.Option(help="The socket.")] = None,
    queues: Annotated[int | None, typer.Option(help="Pairs of virtqueues.")] = None,
    mtu: Annotated[int | None, typer.Option(help="The largest packet, in bytes.")] = None,
    mac: Annotated[str | None, typer.Option(help="The guest's address.")] = None,
    full: Annotated[
        str | None, typer.Option(help="hold or drop frames for the port while it is full.")
    ] = None,
    hold_us: Annotated[int | None, typer.Option(help="For how many microseconds.")] = None,
    offload: Annotated[
        list[str] | None, typer.Option(help="Offer this offload; repeat for more. Default: all.")
    ] = None,
    withhold: Annotated[
        list[str] | None,
        typer.Option(help="Do not offer this feature of virtqueues; repeat for more."),
    ] = None,
    worker: Annotated[int | None, typer.Option(help="The worker that serves it.")] = None,
    interface: Annotated[
        str | None, typer.Option(help="The interface of the host. Default: as the port.")
    ] = None,
    host: Annotated[
        bool | None, typer.Option("--host", help="A nic's host stack becomes a port, too.")
    ] = None,
    fallback: Annotated[
        str | None, typer.Option(help="packet or refuse, where a nic's driver has no XDP.")
    ] = None,
    polling: Annotated[
        list[int] | None,
        typer.Option(help="A CPU to do nothing but serve the interface; repeat for more."),
    ] = None,
    slots: Annotated[int | None, typer.Option(help="Of each ring of netmap's.")] = None,
    region: Annotated[
        str | None, typer.Option(help="Where netmap's rings are. Default: in a private one.")
    ] = None,
    extra_rings: Annotated[
        int | None,
        typer.Option(help="Rings that a guest may open beside a passthrough port's own."),
    ] = None,
    extra_buffers: Annotated[
        int | None, typer.Option(help="Extra buffers that it may have.")
    ] = None,
    json: output.Json = False,
) -> None:
    """Add a port. One that is there with the same settings stays as it is."""
    if passthrough and kind not in (None, "passthrough"):
        raise ConfigError(
            f"cannot add port {name}",
            f"it cannot be of kind {kind} and passthrough",
            "leave out --kind or --passthrough",
        )
    options: dict[str, Any] = {
        "kind": "passthrough" if passthrough else kind,
        "mode": mode,
        "path": path,
        "queues": queues,
        "mtu": mtu,
        "mac": mac,
        "full": full,
        "hold_us": hold_us,
        "offloads": offload,
        "withhold": withhold,
        "worker": worker,
        "interface": interface,
        "host": host,
        "fallback": fallback,
        "polling": polling,
        "slots": slots,
        "region": region,
        "extra_rings": extra_rings,
        "extra_buffers": extra_buffers,
    }
    settings = {key: value for key, value in options.items() if value is not None}
    with Client() as client:
        output.print_result(client.call("port.add", name=name, settings=settings), name, json)


@app.command("rm")
def remove(name: Name, json: output.Json = False) -> None:
    """Remove a port and disconnect its front end. One that is not there is no error."""
    with Client() as client:
        output.print_result(client.call("port.remove", name=name), name, json)


@app.command()
def repair(name: Name, json: output.Json = False) -> None:
    """Take a broken port back into service."""
    with Client() as client:
        output.print_result(client.call("port.repair", name=name), name, json)


@app.command()
def parse(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="Such as netmap:eth0-3/x.", show_default=False),
    ],
    json: output.Json = False,
) -> None:
    """Say what netmap's names of ports ask for, or which part of them is wrong."""
    rows = [_parsed(name) for name in names]
    if json:
        output.print_json(rows)
    else:
        for row in rows:
            output.print_fields([(key, value) for key, value in row.items() if value])
    if not all(row["valid"] for row in rows):
        raise typer.Exit(2)


def _parsed(name: str) -> dict[str, Any]:
    try:
        spec = portspec.parse(name)
    except portspec.BadPortSpec as error:
        shown = name.encode(errors="backslashreplace").decode()
        return {"input": shown, "valid": False, "part": error.part, "why": error.reason}
    words = {
        "mode_name": spec.mode.name,
        "flag_names": [flag.name for flag in portspec.Flag if flag in spec.flags],
        "pipe_name": spec.pipe.name if spec.pipe else None,
    }
    return {"input": name, "valid": True, **asdict(spec), **words}


def _print(port: PortStatus) -> None:
    fields: list[tuple[str, object]] = [
        ("port", port.name),
        ("kind", port.kind),
        ("state", port.state),
        ("problem", diagnosis(port)),
        ("worker", port.worker),
        ("queue pairs", port.queues),
        ("mtu", port.mtu),
        ("mac", port.mac),
        *_domain(port),
    ]
    if port.kind == "passthrough":
        fields += [*_guest(port)]
        fields += [("from guest", _traffic(port.tx)), ("to guest", _traffic(port.rx))]
    elif port.region or port.kind == "netmap":
        fields += [("region", f"@{port.region}" if port.region else None)]
        fields += [("program", _user(user)) for user in port.users]
        fields += [("sent", _traffic(port.tx)), ("received", _traffic(port.rx))]
    elif port.interface is None:
        fields += [*_sessions(port), *_front_end("front end", port.front_end)]
        fields += _front_end("standby", port.standby)
        fields += [("from guest", _traffic(port.tx)), ("to guest", _traffic(port.rx))]
    else:
        fields += [("program", f"process {user.pid}") for user in port.users]
        fields += _interface(port.interface)
        fields += [("received", _traffic(port.tx)), ("sent", _traffic(port.rx))]
    output.print_fields(fields)


def _domain(port: PortStatus) -> list[tuple[str, object]]:
    """Return what there is to say of the libvirt domain that has a port."""
    domain = port.domain
    if domain is None:
        return []
    return [("domain", f"{domain.name}, {domain.state}, {domain.what} {moment(domain.at)}")]


def _guest(port: PortStatus) -> list[tuple[str, object]]:
    """Return what there is to say of the guest that maps a port."""
    guest, fields = port.guest, [*_history(port)]
    fields.insert(1, ("netdev socket", port.netdev_path))
    fields += [("region", f"@{port.region}"), ("vectors", port.vectors)]
    if guest is None:
        return [*fields, ("guest", "none")]
    driver = f"{guest.opens} opens, {guest.extra_rings} extra rings" if guest.driver else "none"
    return [
        *fields,
        ("guest", f"process {guest.pid} of user {guest.uid}, peer {guest.peer}"),
        ("device", guest.way),
        ("connected", moment(guest.since)),
        ("driver", driver),
        ("delayed", f"{port.delays} requests, {port.delayed_s:.1f} s in all"),
        *(("open", _user(user)) for user in port.users),
    ]


def _sessions(port: PortStatus) -> list[tuple[str, object]]:
    return [
        *_history(port),
        ("handovers", f"{port.handovers}, the last in {port.pause_s * 1000:.1f} ms"),
    ]


def _history(port: PortStatus) -> list[tuple[str, object]]:
    return [
        ("socket", f"{port.path} ({port.mode})"),
        ("sessions", f"{port.sessions}, refused {port.refused}, violations {port.violations}"),
        ("last error", port.last_error),
        ("", moment(port.last_error_at)),
    ]


def _interface(interface: InterfaceStatus) -> list[tuple[str, object]]:
    return [
        ("interface", interface.name),
        ("frames by", interface.mode or "none"),
        ("no XDP", interface.fell_back),
        ("polling CPUs", " ".join(map(str, interface.polling))),
    ]


def _front_end(role: str, front_end: FrontEndStatus | None) -> list[tuple[str, object]]:
    if front_end is None:
        return [(role, "none")]
    rings = " ".join(
        f"{ring.index}:{'running' if ring.running else 'stopped'}({ring.size})"
        for ring in front_end.rings
    )
    memory = f"{front_end.memory_bytes} bytes in {front_end.memory_regions} regions"
    return [
        (role, f"process {front_end.pid}"),
        ("connected", moment(front_end.since)),
        ("driver", front_end.driver),
        ("features", front_end.features),
        ("protocol", front_end.protocol_features),
        ("memory", memory + (", writes are logged" if front_end.logging else "")),
        ("virtqueues", rings),
    ]


def _user(user: UserStatus) -> str:
    flags = f" {' '.join(user.flags)}" if user.flags else ""
    return (
        f"process {user.pid} of user {user.uid}: {user.mode}{flags}, {user.tx_rings} tx and "
        f"{user.rx_rings} rx rings, since {moment(user.since)}"
    )


def _traffic(traffic: Traffic) -> str:
    text = (
        f"{traffic.frames} frames, {traffic.bytes} bytes, {traffic.batches} batches, "
        f"{traffic.kicks} kicks, {traffic.calls} calls"
    )
    if traffic.checksums or traffic.segments:
        text += f"; in software: {traffic.checksums} checksums, {traffic.segments} segments"
    for reason, count in traffic.drops.items():
        text += f"; dropped {count}: {reason}"
    return text
