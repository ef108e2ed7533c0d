# SPDX-License-Identifier: BSD-2-Clause
"""Converting a domain: the ports are added, the domain is defined anew, or nothing has changed."""

import contextlib
import shlex
from collections.abc import Callable

import libvirt

from ringpass.errors import ConfigError, RingpassError
from ringpass.libvirt import connection, devices
from ringpass.libvirt.convert import NewPort, Plan
from ringpass.libvirt.ports import PortDevice

Add = Callable[[NewPort], bool]
"""Adds a port and tells whether it was not there. Raises RingpassError."""


def perform(
    domain: libvirt.virDomain,
    old: str,
    plan: Plan,
    planned: list[PortDevice],
    add: Add,
    remove: Callable[[str], object],
) -> None:
    """Make `domain`, whose configuration is `old`, what `plan` says, with its ports as `planned`.

    Whatever goes wrong, by the time that it is raised the ports that were added are removed and the
    domain is what it was; if that fails, too, the error says what is left. What somebody else makes
    of the domain meanwhile is not touched. Raises RingpassError.
    """
    name = domain.name()
    defined = ""
    left: list[str] = []

    def back(step: Callable[[str], object], argument: str, what: str) -> None:
        try:
            step(argument)
        except (RingpassError, libvirt.libvirtError):
            left.append(what)

    def restore(old: str) -> None:
        now = connection.configuration(domain)
        if now == defined:
            domain.connect().defineXML(old)
        elif now != old:
            left.append("the domain stays as somebody else has changed it meanwhile")

    try:
        with contextlib.ExitStack() as undo:
            for port in plan.ports:
                if add(port):
                    undo.callback(back, remove, port.name, f"port {port.name} stays")
            if plan.xml != old:
                _check_unchanged(name, connection.configuration(domain), old)
                undo.callback(back, restore, old, "the domain's configuration may stay changed")
                with connection.told(f"cannot convert the domain {name}", name):
                    domain.connect().defineXML(plan.xml)
                defined = connection.configuration(domain)
                _check(name, defined, planned)
            undo.pop_all()
    except RingpassError as error:
        error.why = "; ".join([error.why, *left])
        raise


def check_persistent(domain: libvirt.virDomain) -> None:
    """Raise ConfigError for a domain that has no configuration: it ends with its QEMU."""
    if not domain.isPersistent():
        name = shlex.quote(domain.name())
        raise ConfigError(
            f"cannot convert the domain {domain.name()}",
            "it is transient: it has no configuration that could change",
            f"define it first: virsh dumpxml {name} > x.xml; virsh define x.xml",
        )


def at_restart(domain: libvirt.virDomain, plan: Plan) -> list[str]:
    """Return what has to be done to `domain` before `plan` is true of it."""
    notes = []
    if plan.ports and domain.isActive():
        notes.append(f"{domain.name()} runs: it changes when it is shut down and started again")
    if plan.ports and domain.hasManagedSaveImage():
        remove = f"virsh managedsave-remove {shlex.quote(domain.name())}"
        notes.append(f"its saved state has the old cards: {remove}")
    return notes


def _check_unchanged(name: str, now: str, old: str) -> None:
    """Raise RingpassError if somebody else has changed a domain since it was read."""
    if now != old:
        raise RingpassError(
            f"cannot convert the domain {name}",
            "its configuration has changed meanwhile",
            f"look at the difference again: ringpass vm convert {shlex.quote(name)} --dry-run",
        )


def _check(name: str, defined: str, planned: list[PortDevice]) -> None:
    """Raise RingpassError if libvirt did not take what it was given."""
    for port in planned:
        if not devices.find_devices(defined, port.path):
            raise RingpassError(
                f"cannot convert the domain {name}",
                f"libvirt defined it without the device of {port.name}",
                "look at `virsh dumpxml --inactive` of it, and use a newer libvirt",
            )
