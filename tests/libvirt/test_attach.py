# SPDX-License-Identifier: BSD-2-Clause
"""Ports are attached to domains of a real libvirtd and detached, or nothing has changed."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import libvirt
import msgspec
import pytest

from ringpass.errors import Denied, ExitCode, NotFound, RingpassError
from ringpass.image import Image
from ringpass.libvirt import attach as attaching
from ringpass.libvirt import permissions
from ringpass.libvirt.attach import Outcome, Sides
from ringpass.libvirt.connection import configuration, connect
from ringpass.libvirt.devices import find_devices
from ringpass.libvirt.ports import PortDevice, port_device
from ringpass.observe.status import PortStatus
from tests.support.daemon import RINGPASS, Daemon
from tests.support.libvirtd import DomainGuest, Libvirtd
from tests.support.wait import wait_until

pytestmark = pytest.mark.guest

LIVE, CONFIG, BOTH = Sides(live=True), Sides(config=True), Sides(live=True, config=True)

CONFIGURATION = """
[daemon]
socket_mode = "0666"
[libvirt]
connect = "{uri}"
[switch.vale0]
[port."vale0:vm1"]
queues = 2
[port."vale0:vm2"]
[port."vale0:pt1"]
kind = "passthrough"
[port."vale0:pt2"]
kind = "passthrough"
"""


class Place:
    """A daemon beside a libvirtd, and what tests ask of both."""

    def __init__(self, libvirtd: Libvirtd, image: Image, daemon: Daemon) -> None:
        self.libvirtd = libvirtd
        self.image = image
        self.daemon = daemon

    def port(self, name: str) -> PortStatus:
        return self.daemon.client.ask(PortStatus, "port.show", name=name)

    def device(self, name: str) -> PortDevice:
        return port_device(self.port(name))

    def domain(self, name: str) -> libvirt.virDomain:
        return self.libvirtd.connection.lookupByName(name)

    def has(self, domain: str, port: str) -> tuple[bool, bool]:
        """Tell whether a domain has a port: the running one, and its configuration."""
        found, path = self.domain(domain), self.port(port).path
        running = found.XMLDesc(0) if found.isActive() else "<domain/>"
        return bool(find_devices(running, path)), bool(find_devices(configuration(found), path))

    def attach(self, domain: str, port: str, sides: Sides = Sides(), **options: Any) -> Outcome:  # noqa: B008
        device = options.pop("device", None) or self.device(port)
        opened = connect(self.libvirtd.uri)
        return attaching.attach(opened, domain, device, sides, **options)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [RINGPASS, *arguments],
            env={**os.environ, "RINGPASS_RUNTIME_DIR": str(self.daemon.runtime_dir)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def paused(self, name: str, **options: Any) -> libvirt.virDomain:
        """Return a domain that has been started, and stands still."""
        domain = self.libvirtd.define(self.image, name, **options)
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        return domain


@pytest.fixture(scope="module")
def place(libvirtd: Libvirtd, image: Image) -> Iterator[Place]:
    with TemporaryDirectory(prefix="rp-") as name:
        Path(name).chmod(0o711)
        with Daemon(Path(name), CONFIGURATION.format(uri=libvirtd.uri)) as daemon:
            yield Place(libvirtd, image, daemon)
        libvirtd.clear()


@pytest.fixture
def clean(place: Place) -> Iterator[Place]:
    """Return the place, which has no domains in the end."""
    yield place
    place.libvirtd.clear()


@pytest.fixture(scope="module")
def guest(place: Place) -> Iterator[DomainGuest]:
    place.libvirtd.define(place.image, "booted")
    with place.libvirtd.guest("booted") as guest:
        yield guest


def test_a_running_guest_gets_and_loses_a_card(place: Place, guest: DomainGuest) -> None:
    done = place.run("vm", "attach", "booted", "vale0:vm1")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "attached to the running domain and its configuration" in done.stderr
    assert place.has("booted", "vale0:vm1") == (True, True)
    mac = place.port("vale0:vm1").mac

    def interface() -> str:
        return guest.run(f"grep -l {mac} /sys/class/net/*/address").output

    wait_until(interface, "the guest sees the card")
    guest.check(f"ip link set {Path(interface().strip()).parent.name} up")
    wait_until(lambda: place.port("vale0:vm1").state == "up", "its rings run")
    assert json.loads(place.run("vm", "attach", "booted", "vale0:vm1", "--json").stdout) == {
        "domain": "booted",
        "port": "vale0:vm1",
        "live": "unchanged",
        "config": "unchanged",
        "done": [],
        "restart": [],
        "problems": [],
        "others": [],
    }
    done = place.run("vm", "detach", "booted", "vale0:vm1")
    assert done.returncode == 0, done.stderr
    assert place.has("booted", "vale0:vm1") == (False, False)
    wait_until(lambda: place.port("vale0:vm1").state == "waiting", "the port is free")
    done = place.run("vm", "detach", "booted", "vale0:vm1")
    assert done.returncode == 0
    assert "unchanged" in done.stderr


def test_a_running_guest_gets_and_loses_a_mapped_port(place: Place, guest: DomainGuest) -> None:
    outcome = place.attach("booted", "vale0:pt1", LIVE)
    assert (outcome.live, outcome.config) == ("attached", "left alone")
    assert place.has("booted", "vale0:pt1") == (True, False)
    cards = "grep -l 0x1110 /sys/bus/pci/devices/*/device"
    wait_until(lambda: guest.run(cards).output, "the guest sees the device")
    assert place.port("vale0:pt1").guest is not None
    opened = connect(place.libvirtd.uri)
    path = place.port("vale0:pt1").path
    assert attaching.detach(opened, "booted", "vale0:pt1", path, LIVE).live == "detached"
    assert guest.run(cards).output == ""


@pytest.mark.parametrize(
    ("lacks", "reason"),
    [({"shared": False}, "memory is private"), ({"guarded": False}, "crash")],
    ids=["shared memory", "the guard of TCG"],
)
def test_what_needs_a_restart_is_configured_and_not_plugged_in(
    clean: Place, lacks: dict[str, bool], reason: str
) -> None:
    clean.paused("vm1", **lacks)
    with pytest.raises(RingpassError) as refused:
        clean.attach("vm1", "vale0:vm1", BOTH)
    assert reason in refused.value.why
    assert "--config" in refused.value.fix
    assert clean.has("vm1", "vale0:vm1") == (False, False)
    done = clean.run("vm", "attach", "vm1", "vale0:vm1")
    assert done.returncode == 0, done.stderr
    assert "started anew" in done.stderr
    assert reason in done.stderr
    assert clean.has("vm1", "vale0:vm1") == (False, True)
    again = clean.attach("vm1", "vale0:vm1")
    assert (again.live, again.config, again.done) == ("at restart", "unchanged", [])
    domain = clean.domain("vm1")
    domain.destroy()
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    assert clean.has("vm1", "vale0:vm1") == (True, True)
    wait_until(lambda: clean.port("vale0:vm1").front_end, "QEMU has the port")


def test_a_domain_that_is_off_is_configured(clean: Place) -> None:
    clean.libvirtd.define(clean.image, "vm1", shared=False, guarded=False)
    with pytest.raises(RingpassError, match="it is off"):
        clean.attach("vm1", "vale0:vm1", LIVE)
    outcome = clean.attach("vm1", "vale0:vm1")
    assert (outcome.live, outcome.config, outcome.restart) == ("left alone", "attached", [])
    assert "guest memory is shared" in outcome.done
    outcome = attaching.detach(
        connect(clean.libvirtd.uri), "vm1", "vale0:vm1", clean.port("vale0:vm1").path, CONFIG
    )
    assert outcome.config == "detached"
    assert clean.has("vm1", "vale0:vm1") == (False, False)


def test_a_port_that_the_daemon_has_lost_can_be_detached(clean: Place) -> None:
    clean.libvirtd.define(clean.image, "vm1")
    clean.daemon.call("port.add", name="vale0:gone")
    assert clean.attach("vm1", "vale0:gone").config == "attached"
    clean.daemon.call("port.remove", name="vale0:gone")
    done = clean.run("vm", "detach", "vm1", "vale0:gone")
    assert done.returncode == 0, done.stderr
    assert "vale0.gone" not in configuration(clean.domain("vm1"))


def test_a_port_that_another_guest_has_is_refused(clean: Place) -> None:
    clean.paused("vm1")
    clean.paused("vm2")
    clean.attach("vm1", "vale0:vm2", LIVE)
    wait_until(lambda: clean.port("vale0:vm2").front_end, "QEMU has the port")
    done = clean.run("vm", "attach", "vm2", "vale0:vm2")
    assert done.returncode == ExitCode.FAILED
    assert "a port has one guest" in done.stderr
    assert clean.has("vm2", "vale0:vm2") == (False, False)


def test_transient_and_unknown_domains(clean: Place) -> None:
    text = clean.libvirtd.domain_xml(clean.image, "fleeting")
    clean.libvirtd.connection.createXML(text, libvirt.VIR_DOMAIN_START_PAUSED)
    with pytest.raises(RingpassError, match="transient"):
        clean.attach("fleeting", "vale0:vm1", CONFIG)
    outcome = clean.attach("fleeting", "vale0:vm1")
    assert (outcome.live, outcome.config) == ("attached", "left alone")
    done = clean.run("vm", "attach", "nobody", "vale0:vm1")
    assert done.returncode == ExitCode.NOT_FOUND
    assert done.stderr.startswith("error: cannot find the domain nobody\nwhy: ")


def test_a_guest_that_does_not_let_go_keeps_the_port_and_its_configuration(
    clean: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean.paused("vm1")
    clean.attach("vm1", "vale0:vm1", BOTH)
    monkeypatch.setattr(attaching, "RELEASE_S", 0.1)
    opened, path = connect(clean.libvirtd.uri), clean.port("vale0:vm1").path
    with pytest.raises(RingpassError, match="has not let go"):
        attaching.detach(opened, "vm1", "vale0:vm1", path, BOTH)
    assert clean.has("vm1", "vale0:vm1") == (True, True)


def test_the_wrong_emulator(clean: Place) -> None:
    clean.paused("vm1")
    device = port_device(clean.port("vale0:pt1"), "netdev")
    with pytest.raises(RingpassError, match="is not the patched one") as refused:
        clean.attach("vm1", "vale0:pt1", LIVE, device=device, patched="/opt/patched/qemu")
    assert "--config" in refused.value.fix
    before = configuration(clean.domain("vm1"))
    with pytest.raises(RingpassError, match="/opt/patched/qemu"):
        clean.attach("vm1", "vale0:pt1", CONFIG, device=device, patched="/opt/patched/qemu")
    assert configuration(clean.domain("vm1")) == before


def test_a_port_by_the_netdev_of_the_patched_qemu(clean: Place, patched_qemu: Path) -> None:
    program = str(clean.libvirtd.public(patched_qemu))
    device = device_of(clean, "vale0:pt1")
    domain = clean.libvirtd.define(clean.image, "vm1", shared=False)
    outcome = clean.attach("vm1", "vale0:pt1", device=device, patched=program)
    assert {"guest memory is shared", f"QEMU is {program}"} <= set(outcome.done)
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    assert clean.has("vm1", "vale0:pt1") == (True, True)

    def known() -> bool:
        status = clean.port("vale0:pt1")
        return bool(status.domain and status.domain.name == "vm1" and status.guest)

    wait_until(known, "the daemon knows the domain and its QEMU")
    again = clean.attach("vm1", "vale0:pt1", device=device, patched=program)
    assert (again.live, again.config) == ("unchanged", "unchanged")
    opened, path = connect(clean.libvirtd.uri), clean.port("vale0:pt1").path
    with pytest.raises(RingpassError, match="cannot unplug a device that it does not know"):
        attaching.detach(opened, "vm1", "vale0:pt1", path, LIVE)
    outcome = attaching.detach(opened, "vm1", "vale0:pt1", path, Sides())
    assert (outcome.live, outcome.config) == ("at restart", "detached")
    with pytest.raises(RingpassError, match="cannot plug a device in that it does not know"):
        clean.attach(
            "vm1", "vale0:pt2", LIVE, device=device_of(clean, "vale0:pt2"), patched=program
        )


def device_of(place: Place, port: str) -> PortDevice:
    """Return a passthrough port as a device on the patched QEMU's netdev."""
    return port_device(place.port(port), "netdev", None, "virtio-net-pci")


def test_a_socket_that_qemu_may_not_open_is_named(clean: Place) -> None:
    clean.paused("vm1")
    socket = Path(clean.port("vale0:vm1").path)
    socket.chmod(0o600)
    try:
        with pytest.raises(Denied) as refused:
            clean.attach("vm1", "vale0:vm1")
    finally:
        socket.chmod(0o666)
    assert str(socket) in refused.value.why
    assert "chgrp" in refused.value.fix
    assert clean.has("vm1", "vale0:vm1") == (False, False)


def then(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Let `action` happen when all has been looked at and nothing has been changed."""
    look = permissions.check_connection

    def looked(*arguments: Any) -> Any:
        found = look(*arguments)
        action()
        return found

    monkeypatch.setattr(permissions, "check_connection", looked)


def test_a_domain_that_is_undefined_meanwhile(
    clean: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean.libvirtd.define(clean.image, "vm1")
    then(monkeypatch, lambda: clean.domain("vm1").undefine())
    with pytest.raises(NotFound, match="libvirt knows no domain vm1"):
        clean.attach("vm1", "vale0:vm1")
    domains = clean.libvirtd.connection.listAllDomains()
    assert "vm1" not in [domain.name() for domain in domains]


def test_a_domain_that_somebody_else_changes_meanwhile(
    clean: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean.paused("vm1")
    title = (libvirt.VIR_DOMAIN_METADATA_TITLE, "mine", None, None)
    change = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    then(monkeypatch, lambda: clean.domain("vm1").setMetadata(*title, change))
    with pytest.raises(RingpassError, match="somebody else changed it"):
        clean.attach("vm1", "vale0:vm1")
    assert "<title>mine</title>" in configuration(clean.domain("vm1"))
    assert clean.has("vm1", "vale0:vm1") == (False, False)


def test_a_libvirtd_that_restarts_meanwhile(clean: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    clean.paused("vm1")
    then(monkeypatch, clean.libvirtd.restart)
    with pytest.raises(RingpassError, match="connection to libvirt was lost"):
        clean.attach("vm1", "vale0:vm1")
    assert clean.has("vm1", "vale0:vm1") == (False, False)
    monkeypatch.undo()
    assert clean.attach("vm1", "vale0:vm1").live == "attached"


def test_a_libvirtd_that_restarts_between_both_sides(
    clean: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean.paused("vm1")
    before = configuration(clean.domain("vm1"))
    path = clean.port("vale0:vm1").path

    def restart(*_: Any) -> None:
        if find_devices(configuration(clean.domain("vm1")), path):
            clean.libvirtd.restart()

    monkeypatch.setattr(attaching, "_check_socket", restart)
    with pytest.raises(RingpassError, match="connection to libvirt was lost"):
        clean.attach("vm1", "vale0:vm1", BOTH)
    assert configuration(clean.domain("vm1")) == before
    assert clean.has("vm1", "vale0:vm1") == (False, False)


def test_what_somebody_else_changes_between_both_sides_stays(
    clean: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean.paused("vm1")
    path = clean.port("vale0:vm1").path
    title = (libvirt.VIR_DOMAIN_METADATA_TITLE, "mine", None, None)

    def change_and_fail(*_: Any) -> None:
        if find_devices(configuration(clean.domain("vm1")), path):
            clean.domain("vm1").setMetadata(*title, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
            raise RingpassError("cannot attach", "it fails")

    monkeypatch.setattr(attaching, "_check_socket", change_and_fail)
    with pytest.raises(RingpassError, match="stays changed: somebody else has changed it since"):
        clean.attach("vm1", "vale0:vm1", BOTH)
    assert "<title>mine</title>" in configuration(clean.domain("vm1"))


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "not seen"])
def test_a_socket_that_goes_away_between_both_sides(
    clean: Place, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    clean.paused("vm1")
    before = configuration(clean.domain("vm1"))
    device = clean.device("vale0:pt1")
    away = Path(device.path).with_suffix(".away")
    check = attaching._check_socket

    def gone(opened: Any, port: PortDevice) -> None:
        if find_devices(configuration(clean.domain("vm1")), port.path):
            Path(port.path).rename(away)
            if not seen:
                return
        check(opened, port)

    monkeypatch.setattr(attaching, "_check_socket", gone)
    try:
        with pytest.raises(RingpassError) as failed:
            clean.attach("vm1", "vale0:pt1", BOTH)
    finally:
        away.rename(device.path)
    assert ("no socket" if seen else "Failed to connect") in failed.value.why
    assert configuration(clean.domain("vm1")) == before
    assert clean.has("vm1", "vale0:pt1") == (False, False)


def test_a_device_that_qemu_refuses_is_not_configured_either(clean: Place) -> None:
    clean.paused("vm1")
    before = configuration(clean.domain("vm1"))
    listening = msgspec.structs.replace(
        clean.device("vale0:vm1"), path="/nowhere/vm1.sock", server=True
    )
    with pytest.raises(RingpassError):
        clean.attach("vm1", "vale0:vm1", BOTH, device=listening)
    assert configuration(clean.domain("vm1")) == before
