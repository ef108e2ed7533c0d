# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass vm convert`: a libvirt domain with tap devices becomes one with ports."""

import difflib
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ringpass import config, names
from ringpass.cli import output, vm_port
from ringpass.client import Client
from ringpass.errors import ConfigError, RingpassError
from ringpass.libvirt.convert import NewPort, Plan, plan
from ringpass.libvirt.ports import NetdevDevice, PortDevice, Via, port_device
from ringpass.observe.status import PortStatus, Status, traffic

MAILBOX_VECTORS = 1


def convert(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", show_default=False)],
    switch: Annotated[
        str | None, typer.Option(help="Where new ports go. Default: the only switch.")
    ] = None,
    port: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SWITCH:PORT",
            help="The port for a card, new or there; repeat for more. Default: as the domain.",
        ),
    ] = None,
    nic: Annotated[
        list[str] | None,
        typer.Option(metavar="MAC", help="Convert this card; repeat for more. Default: all."),
    ] = None,
    via: vm_port.Way = None,
    device: vm_port.Device = None,
    connect: vm_port.Connect = None,
    force: Annotated[
        bool, typer.Option("--force", help="Let go what ports have not, such as VLAN tags.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; print the difference.")
    ] = False,
    json: output.Json = False,
) -> None:
    """Give a domain ports in place of its tap and bridge devices; see it first with --dry-run.

    Its configuration changes: one that runs goes on as it is until it is started anew.
    """
    # Only here: the library takes a while to load, and may be absent.
    from ringpass.libvirt import connection as libvirtd
    from ringpass.libvirt import perform, permissions

    chosen: Via = via or "vhost-user"
    patched = vm_port.patched_qemu() if chosen == "netdev" else ""
    with Client() as client, libvirtd.told(f"cannot convert the domain {domain}", domain):
        opened = libvirtd.connect(vm_port.libvirt_uri(connect))
        found = libvirtd.lookup(opened, domain)
        perform.check_persistent(found)
        old = libvirtd.configuration(found)
        status = client.ask(Status, "status")
        planner = Planner(client, status, chosen, device)
        planned = plan(
            old,
            planner.device_of,
            switch=chosen_switch(status, switch) if not port else "",
            via=chosen,
            macs=nic or (),
            names=port or (),
            addresses={port.path: port.mac for port in status.ports},
            force=force,
            patched=patched,
        )
        devices = [planner.device_of(new) for new in planned.ports]
        if not dry_run:
            perform.perform(found, old, planned, devices, planner.add, planner.remove)
        notes = [*planned.notes, *perform.at_restart(found, planned)]
        report(domain, old, planned, notes, dry_run, json)
        for each in devices:
            vm_port.warn(permissions.check_connection(opened, planned.xml, each, patched))


class Planner:
    """Asks the daemon what ports are, or would be, and adds them."""

    def __init__(
        self, client: Client, status: Status, via: Via, device: NetdevDevice | None
    ) -> None:
        self._client = client
        self._runtime_dir = Path(status.runtime_dir)
        self._ports = {port.name: port for port in status.ports}
        self._via = via
        self._device = device

    def device_of(self, port: NewPort) -> PortDevice:
        """Return how QEMU gets a port. Raises ConfigError if it is there and does not suit."""
        present = self._ports.get(port.name)
        status = self._future(port) if present is None else present
        found = port_device(status, self._via, port.settings, self._device)
        mac = port.settings["mac"]
        if present is not None and self._via != "vhost-user" and present.mac != mac:
            raise ConfigError(
                f"cannot convert the card {port.mac} to {port.name}",
                f"a guest takes a passthrough port's address, and its is {present.mac}",
                f'set mac = "{mac}" in its configuration, or name another port',
            )
        return msgspec.structs.replace(found, mac=port.mac)

    def add(self, port: NewPort) -> bool:
        """Add a port, and tell whether it was not there. Raises RingpassError."""
        if port.name in self._ports:
            return False
        planned = self.device_of(port)
        self._client.call("port.add", name=port.name, settings=port.settings)
        self._ports[port.name] = self._client.ask(PortStatus, "port.show", name=port.name)
        if self.device_of(port) != planned:
            self.remove(port.name)
            raise RingpassError(
                f"cannot convert the card {port.mac} to {port.name}",
                "the daemon has made the port otherwise than was planned",
                "add it with ringpass port add, and name it: --port",
            )
        return True

    def remove(self, name: str) -> None:
        """Remove a port again."""
        self._client.call("port.remove", name=name)

    def _future(self, port: NewPort) -> PortStatus:
        """Return what the daemon would say of a port that it does not have yet."""
        names.check_port(port.name)
        wanted = msgspec.convert(port.settings, config.Port)
        path = config.default_path(port.name, self._runtime_dir)
        none = traffic([])
        rings = 2 * wanted.queues + wanted.extra_rings
        return PortStatus(
            name=port.name,
            kind=wanted.kind,
            state="waiting",
            path=str(path),
            netdev_path=str(config.netdev_path(path)) if wanted.kind == "passthrough" else "",
            queues=wanted.queues,
            mtu=wanted.mtu,
            mac=wanted.mac or "",
            vectors=MAILBOX_VECTORS + rings if wanted.kind == "passthrough" else 0,
            tx=none,
            rx=none,
        )


def chosen_switch(status: Status, wanted: str | None) -> str:
    """Return the switch for new ports. Raises ConfigError if it is not there, or not clear."""
    there = [switch.name for switch in status.switches]
    if wanted is None and len(there) == 1:
        return there[0]
    if wanted is None:
        raise ConfigError(
            "there is no telling which switch the ports go to",
            f"the daemon has {len(there)}: {', '.join(there) or 'none'}",
            "name one: --switch vale0",
        )
    if wanted not in there:
        raise ConfigError(
            f"there is no switch {wanted}",
            f"the daemon has {', '.join(there) or 'none'}",
            f"ringpass switch add {wanted}",
        )
    return wanted


def _without_secrets(xml: str) -> str:
    """Return a domain's XML for people to see: passwords of its displays are nobody's business."""
    return re.sub(r"(\bpasswd=)(\"[^\"]*\"|'[^']*')", r"\1'...'", xml)


def report(
    domain: str, old: str, planned: Plan, notes: list[str], dry_run: bool, json: bool
) -> None:
    """Print the difference as data, and say what else there is to know."""
    lines = difflib.unified_diff(
        _without_secrets(old).splitlines(keepends=True),
        _without_secrets(planned.xml).splitlines(keepends=True),
        f"{domain} (as it is)",
        f"{domain} (converted)",
    )
    difference = "".join(lines)
    result = "unchanged" if not planned.ports else "planned" if dry_run else "converted"
    if json:
        output.print_json(
            {
                "domain": domain,
                "result": result,
                "ports": planned.ports,
                "notes": notes,
                "diff": difference,
            }
        )
        return
    if dry_run:
        sys.stdout.write(difference)
    output.say(f"{domain}: {result}")
    for note in notes:
        output.say(f"  {note}")
    if planned.ports:
        would = "would be added" if dry_run else "are there"
        output.say(f"these ports {would}; in the daemon's configuration they stay:")
        for port in planned.ports:
            output.say(table(port))


def table(port: NewPort) -> str:
    """Return a port's table for a configuration file."""
    settings: dict[str, Any] = port.settings
    lines = (f"{key} = {msgspec.json.encode(value).decode()}" for key, value in settings.items())
    return "\n".join([f'[port."{port.name}"]', *lines])
