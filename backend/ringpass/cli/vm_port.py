# SPDX-License-Identifier: BSD-2-Clause
"""What the commands of `ringpass vm` that are about domains of libvirt have in common."""

import contextlib
from collections.abc import Iterable
from typing import Annotated

import typer

from ringpass import qemu
from ringpass.cli import output
from ringpass.client import Client
from ringpass.errors import DaemonUnreachable
from ringpass.libvirt.ports import NetdevDevice, PortDevice, Via, port_device
from ringpass.libvirt.problems import Problem
from ringpass.observe.status import PortStatus

Port = Annotated[
    str, typer.Argument(metavar="SWITCH:PORT", help="Such as vale0:vm1.", show_default=False)
]
Way = Annotated[
    Via | None, typer.Option("--via", help="How QEMU gets the port. Default: as its kind suits.")
]
Device = Annotated[
    NetdevDevice | None,
    typer.Option(
        "--device",
        help="What the guest sees of it (--via netdev). Default: ptnet-pci.",
        show_default=False,
    ),
]
Connect = Annotated[
    str | None,
    typer.Option(
        "--connect", "-c", metavar="URI", help="libvirt. Default: the daemon's, or qemu:///system."
    ),
]


def ask_port(name: str, via: Via | None = None, device: NetdevDevice | None = None) -> PortDevice:
    """Ask the daemon about a port and return the device that it is in a domain.

    Raises ConfigError if ports of its kind cannot be had `via` that, or not as this `device`.
    """
    with Client() as client:
        status = client.ask(PortStatus, "port.show", name=name)
        settings = client.call("config.show")["port"].get(name)
    return port_device(status, via, settings, device)


def libvirt_uri(connect: str | None) -> str | None:
    """Return the libvirt that is meant: `connect`, or the one that the daemon follows."""
    if connect is not None:
        return connect
    with contextlib.suppress(DaemonUnreachable), Client() as client:
        uri: str | None = client.call("config.show")["libvirt"]["connect"]
        return uri
    return None


def patched_qemu() -> str:
    """Return the patched QEMU. Raises RingpassError if it has not been built."""
    return str(qemu.program())


def warn(found: Iterable[Problem]) -> None:
    """Tell the user of permissions that lack."""
    for problem in found:
        output.say(f"warning: {problem.what}\nwhy: {problem.why}\nfix: {problem.fix}")
