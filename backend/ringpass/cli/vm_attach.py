# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass vm attach` and `vm detach`: ports of domains of libvirt."""

from typing import Annotated

import typer

from ringpass import config, names, paths
from ringpass.cli import output, vm_port
from ringpass.client import Client
from ringpass.errors import DaemonUnreachable, NotFound
from ringpass.libvirt.ports import port_device
from ringpass.observe.status import PortStatus

Domain = Annotated[
    str, typer.Argument(metavar="DOMAIN", help="As libvirt calls it.", show_default=False)
]
Live = Annotated[bool, typer.Option("--live", help="The running domain, and nothing else.")]
Stored = Annotated[
    bool, typer.Option("--config", help="What it is started with next, and nothing else.")
]


def attach(
    domain: Domain,
    port: vm_port.Port,
    live: Live = False,
    stored: Stored = False,
    via: vm_port.Way = None,
    device: vm_port.Device = None,
    connect: vm_port.Connect = None,
    json: output.Json = False,
) -> None:
    """Give a libvirt domain a port, and what it lacks for it: now if it runs, and from now on.

    With --live and --config both are demanded.
    """
    with Client() as client:
        status = client.ask(PortStatus, "port.show", name=port)
        settings = client.call("config.show")["port"].get(port)
    wanted = port_device(status, via, settings, device)
    patched = vm_port.patched_qemu() if wanted.via == "netdev" else ""
    # Only here: the library takes a while to load.
    from ringpass.libvirt import attach as attaching
    from ringpass.libvirt import connection as libvirtd

    outcome = attaching.attach(
        libvirtd.connect(vm_port.libvirt_uri(connect)),
        domain,
        wanted,
        attaching.Sides(live, stored),
        patched=patched,
        holder=_holder(status),
    )
    vm_port.warn(outcome.problems)
    if json:
        output.print_json(outcome)
        return
    _say("attached to", outcome.domain, port, outcome.live, outcome.config)
    for done in outcome.done:
        output.say(f"  {done}")
    for other in outcome.others:
        output.say(f"note: {other} has {port} as well, and a port has one guest at a time")
    for reason in outcome.restart:
        output.say(f"{domain} has to be started anew: {reason}")


def detach(
    domain: Domain,
    port: vm_port.Port,
    live: Live = False,
    stored: Stored = False,
    connect: vm_port.Connect = None,
    json: output.Json = False,
) -> None:
    """Take a port from a libvirt domain: now if it runs, and from now on.

    The daemon need not know the port any more, nor run.
    """
    path = _socket(port)
    from ringpass.libvirt import attach as attaching
    from ringpass.libvirt import connection as libvirtd

    opened = libvirtd.connect(vm_port.libvirt_uri(connect))
    sides = attaching.Sides(live, stored)
    outcome = attaching.detach(opened, domain, port, path, sides)
    if json:
        output.print_json(outcome)
        return
    _say("detached from", outcome.domain, port, outcome.live, outcome.config)
    for reason in outcome.restart:
        output.say(f"{domain} keeps it until it is started anew: {reason}")


def _socket(port: str) -> str:
    """Return the socket of a port: where it is by default, if the daemon does not tell."""
    names.check_port(port)
    try:
        with Client() as client:
            return client.ask(PortStatus, "port.show", name=port).path
    except (DaemonUnreachable, NotFound):
        return str(config.default_path(port, paths.runtime_dir()))


def _holder(status: PortStatus) -> int | None:
    """Return the process that has a port."""
    if status.guest is not None:
        return status.guest.pid
    return None if status.front_end is None else status.front_end.pid


def _say(verb: str, domain: str, port: str, live: str, stored: str) -> None:
    """Say what became of both sides of a domain."""
    sides = {"the running domain": live, "its configuration": stored}
    changed = [side for side, done in sides.items() if done in ("attached", "detached")]
    same = [side for side, done in sides.items() if done == "unchanged"]
    if changed:
        output.say(f"{domain}: {port} {verb} {' and '.join(changed)}")
    if same:
        state = "is there already" if verb == "attached to" else "is not there"
        output.say(f"{domain}: unchanged, {port} {state}: {' and '.join(same)}")
