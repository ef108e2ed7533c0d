# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass vm`: guests on ports of the daemon."""

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from ringpass import image as images
from ringpass import qemu as builds
from ringpass.cli import output
from ringpass.cli.image import progress
from ringpass.cli.vm_attach import attach, detach
from ringpass.cli.vm_convert import convert
from ringpass.cli.vm_ls import described, list_
from ringpass.cli.vm_xml import xml
from ringpass.client import Client
from ringpass.errors import ConfigError, RingpassError
from ringpass.observe.status import PortStatus
from ringpass.vm import migration, qemu, registry, run
from ringpass.vm.launch import qemu_guest, uml_guest
from ringpass.vm.nic import Device, Nic
from ringpass.vm.qmp import Qmp

app = typer.Typer(
    add_completion=False, help="Run guests on ports of the daemon.", no_args_is_help=True
)

app.command()(xml)
app.command()(convert)
app.command()(attach)
app.command()(detach)
app.command("ls")(list_)

DEFAULT_MTU = 1500

Seat = Literal["front end", "standby"]
Build = Literal["stock", "patched"]

Ports = Annotated[
    list[str] | None,
    typer.Argument(metavar="SWITCH:PORT...", help="A network card for each.", show_default=False),
]
Accel = Annotated[
    Literal["tcg", "kvm"], typer.Option(help="How QEMU runs the guest; see `ringpass doctor`.")
]
Emulator = Annotated[
    Build, typer.Option("--qemu", help="Which QEMU; `make qemu` builds the patched one.")
]
DeviceOfPort = Annotated[
    Device | None,
    typer.Option(
        help="The device on passthrough ports, of the patched QEMU. Default: ptnet-pci.",
        show_default=False,
    ),
]
Memory = Annotated[int, typer.Option(min=64, help="Guest memory in MiB.")]
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


@app.command("run")
def run_(
    ports: Ports = None,
    name: Annotated[
        str, typer.Option(help="Host name of the guest. Default: that of its first port.")
    ] = "",
    uml: Annotated[bool, typer.Option("--uml", help="Run User-mode Linux, not QEMU.")] = False,
    memory: Memory = 256,
    smp: Annotated[int, typer.Option(min=1, help="Processors of the guest (QEMU).")] = 1,
    accel: Accel = "tcg",
    build: Emulator = "stock",
    device: DeviceOfPort = None,
    address: Annotated[
        list[str] | None, typer.Option(help="ADDR/LEN of a card; repeat for the next one.")
    ] = None,
    image: Annotated[str, typer.Option(help="The image's recipe.")] = "guest",
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when the guest is ready; leave it running.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that it may take to be ready, with --detach.")
    ] = 60,
    incoming: Annotated[
        bool,
        typer.Option("--incoming", help="Boot nothing: wait for a guest that migrates (QEMU)."),
    ] = False,
    json: output.Json = False,
) -> None:
    """Run a guest, with its console here. It ends by `poweroff -f`, or by `vm stop`."""
    names = ports or []
    if json and not detach:
        raise ConfigError(
            "--json needs --detach", "without it, standard output is the guest's console"
        )
    if uml and incoming:
        raise ConfigError("a guest cannot migrate to User-mode Linux", "only QEMU can take one")
    if uml and build == "patched":
        raise ConfigError("User-mode Linux does not run in QEMU", "it is a program of its own")
    emulator, device = emulator_of(build), device_of(build, device)
    seat: Seat = "standby" if incoming else "front end"
    nics = with_addresses(nics_of(names, seat, device), address or [])
    built = images.ensure(image, progress=progress())
    options: dict[str, Any] = {
        "name": name or guest_name(names),
        "memory": memory,
        "ports": names,
        "detached": detach,
    }
    if uml:
        launch = uml_guest(built, nics, **options)
    else:
        options |= {"smp": smp, "accel": accel, "incoming": incoming, "emulator": emulator}
        launch = qemu_guest(built, nics, **options)
    if not detach:
        raise typer.Exit(run.foreground(launch))
    running = run.detach(launch, timeout)
    if json:
        output.print_json(described(running))
    else:
        output.say(f"{launch.name}: running; console: ringpass vm console {launch.name}")


@app.command()
def stop(name: Name, json: output.Json = False) -> None:
    """End a guest at once. One that does not run is no error."""
    stopped = registry.stop(name)
    output.print_result({"result": "stopped" if stopped else "was not running"}, name, json)


@app.command()
def migrate(
    source: Name,
    destination: Annotated[
        str, typer.Argument(help="The guest that was started with --incoming.", show_default=False)
    ],
    bandwidth: Annotated[int, typer.Option(min=0, help="MiB/s at most; 0: no limit.")] = 0,
    downtime: Annotated[
        int, typer.Option(min=1, help="Milliseconds that the guest may stand still.")
    ] = 300,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until it is given up.")] = 300,
    json: output.Json = False,
) -> None:
    """Move a guest to another QEMU while it runs. If that fails it stays where it is."""
    here, there = registry.find(source).directory, registry.find(destination).directory
    if not (here / registry.QMP).exists():
        raise ConfigError(
            f"cannot migrate {source}", "it is no guest of QEMU", "User-mode Linux cannot migrate"
        )
    if not (there / registry.INCOMING).exists():
        raise ConfigError(
            f"cannot migrate {source} to {destination}",
            f"{destination} does not wait for a guest",
            "start it with --incoming",
        )
    with Qmp(here / registry.QMP) as qmp:
        migration.begin(qmp, there, mib_s=bandwidth, downtime_ms=downtime)
        moved = migration.finish(qmp, timeout)
    if json:
        output.print_json(moved._asdict())
    else:
        output.say(
            f"{source}: moved to {destination} in {moved.total_ms} ms, "
            f"it stood still for {moved.downtime_ms} ms"
        )


@app.command()
def console(name: Name) -> None:
    """Join the console of a guest that was started with --detach. Leave it with Ctrl-]."""
    run.attach(registry.find(name))


@app.command("qmp")
def qmp_(
    qemu: Annotated[
        str, typer.Argument(metavar="NAME|SOCKET", help="A guest, or the QMP socket of a QEMU.")
    ],
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="Such as query-netdev.")],
    arguments: Annotated[
        str, typer.Argument(metavar="JSON", help="What the command is to be told: an object.")
    ] = "{}",
) -> None:
    """Have a QEMU run a command of its machine protocol, and print what it returns, in JSON."""
    try:
        parsed = msgspec.json.decode(arguments, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"cannot tell QEMU {arguments}", str(error), """write it as '{"id": "net0"}'"""
        ) from None
    path = Path(qemu) if Path(qemu).is_socket() else registry.find(qemu).directory / registry.QMP
    with Qmp(path) as connection:
        output.print_json(connection.execute(command, **parsed))


@app.command("qemu-args")
def qemu_args(
    ports: Ports = None,
    accel: Accel = "tcg",
    memory: Memory = 256,
    build: Emulator = "stock",
    device: DeviceOfPort = None,
    json: output.Json = False,
) -> None:
    """Print the arguments by which a QEMU of yours gets these ports, memory included."""
    nics = nics_of(ports or [], device=device_of(build, device))
    patched = qemu.Emulator(patched=build == "patched")
    argv = [*qemu.accel_args(accel, patched), *qemu.memory_args(memory, accel)]
    for index, nic in enumerate(nics):
        argv += qemu.nic_args(nic, index)
    if json:
        output.print_json(argv)
    else:
        typer.echo(shlex.join(argv))


def emulator_of(build: Build) -> qemu.Emulator:
    """Return the QEMU to run. Raises NotFound if it has not been built."""
    if build == "stock":
        return qemu.STOCK
    return qemu.Emulator(program=str(builds.program()), patched=True)


def device_of(build: Build, device: Device | None) -> Device | None:
    """Return the device that passthrough ports get, None for stock QEMU's ivshmem-doorbell."""
    if build == "patched":
        return device or "ptnet-pci"
    if device is not None:
        raise ConfigError(
            f"stock QEMU cannot have {device} on a port",
            "it has no -netdev ringpass, and knows passthrough ports as ivshmem-doorbell",
            "add --qemu patched",
        )
    return None


def nics_of(ports: list[str], seat: Seat | None = None, device: Device | None = None) -> list[Nic]:
    """Return a network card for each of `ports`, as `nic_of` does. Raises ConfigError."""
    for index, port in enumerate(ports):
        if port in ports[:index]:
            raise ConfigError(
                f"{port} is named twice",
                "each name makes a network card, and a port has one front end",
                "name it once, or add another port: ringpass port add",
            )
    return [nic_of(port, seat, device) for port in ports]


def nic_of(port: str, seat: Seat | None, device: Device | None) -> Nic:
    """Ask the daemon about a port and return the network card that fits it.

    A passthrough port is had by `device`, or by ivshmem-doorbell.
    With `seat` it must be free: whoever came would wait there for ever, or be turned away.
    """
    with Client() as client:
        status = client.ask(PortStatus, "port.show", name=port)
    if seat == "standby" and status.mode == "client":
        raise ConfigError(
            f"no guest can migrate to {port}",
            "the daemon connects to the socket of one QEMU, so a second one has no place",
            'set mode = "server", which needs a restart of the guest',
        )
    if status.kind == "passthrough":
        return passthrough_nic(status, seat, device)
    present = status.standby if seat == "standby" else status.front_end
    if seat and present is not None:
        raise RingpassError(
            f"cannot attach a guest to {port}",
            f"process {present.pid} is its {seat}, and a port has one",
            "stop that, or add another port: ringpass port add",
        )
    return Nic(
        socket=Path(status.path),
        mac=status.mac,
        queues=status.queues,
        server=status.mode == "client",
        host_mtu=status.mtu if status.mtu != DEFAULT_MTU else 0,
    )


def passthrough_nic(status: PortStatus, seat: Seat | None, device: Device | None) -> Nic:
    """Return the device of a passthrough port. Raises RingpassError if a guest has it."""
    if seat == "standby":
        raise ConfigError(
            f"no guest can migrate to {status.name}",
            "its guest maps memory of this host",
            "use a port of kind vhost-user for guests that migrate",
        )
    if seat and status.guest is not None:
        raise RingpassError(
            f"cannot attach a guest to {status.name}",
            f"process {status.guest.pid} maps it, and a port has one guest",
            "stop that, or add another port: ringpass port add",
        )
    if device is None:
        return Nic(socket=Path(status.path), vectors=status.vectors)
    return Nic(
        socket=Path(status.netdev_path),
        device=device,
        queues=status.queues,
        mac=status.mac if device == "virtio-net-pci" else "",
        host_mtu=status.mtu if device == "virtio-net-pci" and status.mtu != DEFAULT_MTU else 0,
    )


def with_addresses(nics: list[Nic], addresses: list[str]) -> list[Nic]:
    if len(addresses) > len(nics):
        raise ConfigError(
            f"there are {len(addresses)} addresses for {len(nics)} network cards",
            "each --address belongs to the port at its place",
            "name as many ports",
        )
    addresses = addresses + [""] * (len(nics) - len(addresses))
    return [nic.with_address(address) for nic, address in zip(nics, addresses, strict=True)]


def guest_name(ports: list[str]) -> str:
    """Return the host name for a guest on these ports: the last part of the first one's name.

    Those of the two ends of a pipe differ.
    """
    part = ports[0].rpartition(":")[2] if ports else ""
    return part.translate(str.maketrans("_{}", "--."))
