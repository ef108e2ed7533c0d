# SPDX-License-Identifier: BSD-2-Clause
"""Giving ports to domains that are defined or run, and taking them away: all of it, or nothing.

A domain has two sides: what runs, and the configuration that it is started with next. Either can be
changed alone. If both are to be, the configuration is first, for it can be put back.
"""

import shlex
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import libvirt
import msgspec
from msgspec.structs import replace

from ringpass.errors import NotFound, RingpassError
from ringpass.libvirt import changes, permissions
from ringpass.libvirt.connection import configuration, connect, is_alive, lookup, told
from ringpass.libvirt.devices import Found, device_xml, find_devices
from ringpass.libvirt.document import Document
from ringpass.libvirt.ports import PortDevice
from ringpass.libvirt.problems import Problem

Done = Literal["attached", "detached", "unchanged", "at restart", "left alone"]

#: Seconds that a guest has to let go of a device.
RELEASE_S = 10.0

#: Seconds that a libvirtd has to come back, so that what was begun can be undone.
RESTART_S = 10.0


class Sides(msgspec.Struct, frozen=True):
    """Which sides of a domain are meant; with neither, those that it has."""

    live: bool = False
    config: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the two sides of a domain.

    `left alone` is a side that was not meant, or that the domain has not; `at restart` what cannot
    be while the domain runs, for the reasons in `restart`. `done` says what is new in the
    configuration, the device and all that the domain lacked for it; `problems` what may keep QEMU
    from the port; `others` are the domains that are configured to have it as well.
    """

    domain: str
    port: str
    live: Done = "left alone"
    config: Done = "left alone"
    done: list[str] = []
    restart: list[str] = []
    problems: list[Problem] = []
    others: list[str] = []


def attach(
    connection: libvirt.virConnect,
    name: str,
    port: PortDevice,
    sides: Sides,
    *,
    patched: str = "",
    holder: int | None = None,
) -> Outcome:
    """Give the domain `name` a port. One that it has already is left as it is.

    `patched` is the patched QEMU, which a netdev needs; `holder` the process that has the port now.
    Raises RingpassError, and has changed nothing then.
    """
    target = _Target(connection, name, sides)
    outcome = Outcome(domain=name, port=port.name)
    change = None
    if target.config:
        change = changes.add_port(target.stored, port, patched=patched)
        outcome = replace(
            outcome, done=change.done, config="attached" if change.done else "unchanged"
        )
    if target.live:
        live, reasons = _live_attach(target, port, patched)
        outcome = replace(outcome, live=live, restart=reasons)
    if "attached" not in (outcome.live, outcome.config):
        return outcome
    problems = _check_access(connection, target, port, patched)
    outcome = replace(outcome, problems=problems, others=_others(connection, name, port))
    if outcome.live == "attached" and holder is not None:
        raise RingpassError(
            f"cannot attach {port.name} to the running domain {name}",
            f"process {holder} has the port, and a port has one guest",
            "stop that, or add another port: ringpass port add",
        )
    with target.changed(change.xml if change and change.done else target.stored):
        if outcome.live == "attached":
            # With `reconnect`, a QEMU that is told to connect to nobody stands still until it can.
            _check_socket(connection, port)
            with told(f"cannot attach {port.name} to the running domain {name}", name):
                plugged = changes.device_for(Document(target.running), port, patched)
                target.domain.attachDeviceFlags(device_xml(plugged), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return outcome


def detach(
    connection: libvirt.virConnect, name: str, port: str, path: str, sides: Sides
) -> Outcome:
    """Take the port `port`, with the socket `path`, from the domain `name`.

    What else the domain got for it stays. Raises RingpassError, and has changed nothing then.
    """
    target = _Target(connection, name, sides)
    outcome = Outcome(domain=name, port=port)
    wanted = target.stored
    if target.config:
        change = changes.remove_port(target.stored, path)
        wanted = change.xml
        done: Done = "detached" if change.done else "unchanged"
        outcome = replace(outcome, config=done, done=change.done)
    plugged: list[Found] = []
    if target.live:
        live, plugged, reasons = _live_detach(target, port, path)
        outcome = replace(outcome, live=live, restart=reasons)
    with target.changed(wanted):
        for found in plugged:
            _unplug(target, port, found)
    return outcome


class _Target:
    """A domain, what is meant of it, and how that was in the beginning."""

    def __init__(self, connection: libvirt.virConnect, name: str, sides: Sides) -> None:
        self.name = name
        self.domain = lookup(connection, name)
        self.insists = sides.live
        self._connection = connection
        self._uri: str = connection.getURI()
        with told(f"cannot read the domain {name}", name):
            runs, persists = bool(self.domain.isActive()), bool(self.domain.isPersistent())
            self.live = runs and (sides.live or not sides.config)
            self.config = persists and (sides.config or not sides.live)
            self.running: str = self.domain.XMLDesc(0) if self.live else ""
        if sides.live and not runs:
            fix = f"leave --live out, or start it: virsh start {shlex.quote(name)}"
            raise RingpassError(f"cannot change the running domain {name}", "it is off", fix)
        if sides.config and not persists:
            why = "it is transient: it has none, and is gone when it ends"
            fix = "leave --config out, or define it: virsh define FILE"
            raise RingpassError(f"cannot change the configuration of {name}", why, fix)
        self.stored = configuration(self.domain) if self.config else ""
        self._defined: str | None = None

    @contextmanager
    def changed(self, wanted: str) -> Iterator[None]:
        """Give the domain the configuration `wanted`; the old one again if what follows fails."""
        if wanted == self.stored:
            yield
            return
        what = f"cannot change the configuration of {self.name}"
        if configuration(self.domain) != self.stored:
            raise RingpassError(what, "somebody else changed it meanwhile", "do it again")
        with told(what, self.name):
            self._connection.defineXMLFlags(wanted, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        try:
            self._defined = configuration(self.domain)  # as libvirt words it
            yield
        except RingpassError as error:
            self._put_back(error)
            raise
        except BaseException:
            self._put_back(None)
            raise

    def _put_back(self, error: RingpassError | None) -> None:
        """Restore the configuration; if that fails, say so in the `error` that is the reason."""
        deadline = time.monotonic() + RESTART_S
        while True:
            try:
                self._restore()
            except RingpassError as second:
                if not is_alive(self._connection) and time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                if error is not None:
                    error.why += f"; and the configuration stays changed: {second.why}"
            return

    def _restore(self) -> None:
        """Define the old configuration, by a new connection if libvirtd has restarted.

        Raises RingpassError, too, if the configuration is not what we made of it any more.
        """
        what = f"cannot restore the domain {self.name}"
        if not is_alive(self._connection):
            self._connection = connect(self._uri)
        # A domain that was undefined meanwhile must not come back.
        with suppress(NotFound):
            now = configuration(lookup(self._connection, self.name))
            if self._defined is not None and now != self._defined:
                why = "somebody else has changed it since"
                raise RingpassError(what, why, f"look at it: virsh edit {shlex.quote(self.name)}")
            with told(what, self.name):
                self._connection.defineXML(self.stored)


def _live_attach(target: _Target, port: PortDevice, patched: str) -> tuple[Done, list[str]]:
    """Return what is to become of the running domain, and why only at its restart."""
    change = changes.add_port(target.running, port, patched=patched)
    if find_devices(target.running, port.path):
        return "unchanged", []
    if not change.restart:
        return "attached", []
    if target.insists or not target.config:
        raise RingpassError(
            f"cannot attach {port.name} to the running domain {target.name}",
            "; ".join(change.restart),
            _at_restart("attach", target, port.name),
        )
    return "at restart", change.restart


def _live_detach(target: _Target, port: str, path: str) -> tuple[Done, list[Found], list[str]]:
    """Return what is to become of the running domain, what to unplug, and why not now."""
    plugged = find_devices(target.running, path)
    reasons = changes.remove_port(target.running, path).restart
    if not plugged:
        return "unchanged", [], []
    if not reasons:
        return "detached", plugged, []
    if target.insists or not target.config:
        raise RingpassError(
            f"cannot detach {port} from the running domain {target.name}",
            "; ".join(reasons),
            _at_restart("detach", target, port),
        )
    return "at restart", [], reasons


def _at_restart(verb: str, target: _Target, port: str) -> str:
    name = shlex.quote(target.name)
    change = f"ringpass vm {verb} {name} {shlex.quote(port)} --config"
    return (
        f"change its configuration, and start it anew: {change}; "
        f"virsh shutdown {name}; virsh start {name}"
    )


def _unplug(target: _Target, port: str, found: Found) -> None:
    """Take a device from the running domain, and wait until its guest has let go of it."""
    what = f"cannot detach {port} from the running domain {target.name}"
    deadline = time.monotonic() + RELEASE_S
    with told(what, target.name):
        target.domain.detachDeviceAlias(found.alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        while find_devices(target.domain.XMLDesc(0), found.path):
            if time.monotonic() > deadline:
                raise RingpassError(
                    what,
                    f"its guest has not let go of the device within {RELEASE_S:g} s, and may yet",
                    "see that the guest is up and not paused, then do it again; or use --config",
                )
            time.sleep(0.02)


def _check_access(
    connection: libvirt.virConnect, target: _Target, port: PortDevice, patched: str
) -> list[Problem]:
    """Raise Denied if the QEMU of the domain may not use the port; return what else may be."""
    _check_socket(connection, port)
    with told(f"cannot tell whether {target.name} may use {port.name}", target.name):
        found = permissions.check_connection(
            connection, target.running or target.stored, port, patched
        )
    for problem in found:
        if problem.certain:
            raise problem.error()
    return found


def _others(connection: libvirt.virConnect, name: str, port: PortDevice) -> list[str]:
    """Return the other domains that are configured to have the port."""
    found = []
    with told("cannot list the domains", ""):
        domains = connection.listAllDomains()
    for domain in domains:
        with suppress(RingpassError):  # it may go meanwhile, or not be ours to read
            text = configuration(domain)
            # There may be hundreds, and parsing takes longer than reading.
            mentioned = Path(port.path).stem in text
            if mentioned and domain.name() != name and find_devices(text, port.path):
                found.append(domain.name())
    return sorted(found)


def _check_socket(connection: libvirt.virConnect, port: PortDevice) -> None:
    """Raise RingpassError if the port's socket is not there; QEMU would be left waiting for it."""
    if port.server or not connection.getURI().startswith("qemu:///"):
        return
    with suppress(OSError):
        if stat.S_ISSOCK(Path(port.path).stat().st_mode):
            return
    raise RingpassError(
        f"cannot attach {port.name}",
        f"there is no socket {port.path}",
        "see that the daemon runs and has the port: ringpass port ls",
    )
