# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass vm ls`: our own guests, and the domains of libvirt that have ports of ours."""

import contextlib
from typing import TYPE_CHECKING, Any

from ringpass import paths
from ringpass.cli import output, vm_port
from ringpass.client import Client
from ringpass.errors import DaemonUnreachable, RingpassError
from ringpass.observe.status import PortStatus
from ringpass.vm import registry

if TYPE_CHECKING:
    from ringpass.libvirt.listing import ListedDomain


def list_(connect: vm_port.Connect = None, json: output.Json = False) -> None:
    """List the guests that run, and the domains of libvirt that have ports of ours."""
    guests = registry.list_running()
    try:
        domains = _domains(connect)
    except RingpassError as error:
        lines = [f"no domains of libvirt are shown: {error.what}", *str(error).splitlines()[1:]]
        output.say("\n".join(lines))
        domains = []
    if json:
        output.print_json([*map(described, guests), *domains])
        return
    if guests or not domains:
        _print_guests(guests)
    if guests and domains:
        output.console.print()
    if domains:
        _print_domains(domains)


def described(running: registry.Running) -> dict[str, Any]:
    """Return what there is to tell of a guest of ours."""
    place = running.directory
    files = {"console": registry.CONSOLE, "log": registry.LOG, "qmp": registry.QMP}
    return {
        "name": running.guest.name,
        "kind": running.guest.kind,
        "pid": running.pid,
        "memory": running.guest.memory,
        "seconds": round(running.seconds, 1),
        "ports": list(running.guest.ports),
        "image": running.guest.image,
        **{key: str(place / file) for key, file in files.items() if (place / file).exists()},
    }


def _domains(connect: str | None) -> "list[ListedDomain]":
    ports: list[PortStatus] = []
    with contextlib.suppress(DaemonUnreachable), Client() as client:
        ports = client.ask(list[PortStatus], "port.list")
    # Only here: the library takes a while to load.
    from ringpass.libvirt import connection as libvirtd
    from ringpass.libvirt.listing import listing

    return listing(libvirtd.connect(vm_port.libvirt_uri(connect)), ports, paths.runtime_dir())


def _print_guests(guests: list[registry.Running]) -> None:
    output.print_table(
        ("NAME", "KIND", ">PID", ">MEMORY", ">UP", "PORTS"),
        (
            (
                running.guest.name,
                running.guest.kind,
                running.pid,
                f"{running.guest.memory} MiB",
                f"{running.seconds:.0f} s",
                list(running.guest.ports),
            )
            for running in guests
        ),
    )


def _print_domains(domains: "list[ListedDomain]") -> None:
    output.print_table(
        ("DOMAIN", "STATE", "PORT", "VIA", "MAC", "LINK", ">FROM GUEST", ">TO GUEST"),
        (
            (
                domain.name,
                domain.state,
                card.port or card.path,
                card.via,
                card.mac,
                card.link,
                card.from_guest,
                card.to_guest,
            )
            for domain in domains
            for card in domain.cards
        ),
    )
