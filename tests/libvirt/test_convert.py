# SPDX-License-Identifier: BSD-2-Clause
"""A real libvirtd takes what is printed for a port, and what had a tap device is converted."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from ringpass.errors import RingpassError
from ringpass.image import Image
from ringpass.libvirt import changes, connection, devices, permissions
from ringpass.libvirt.convert import NewPort, plan
from ringpass.libvirt.document import Document
from ringpass.libvirt.perform import perform
from ringpass.libvirt.ports import NetdevDevice, PortDevice, Via, port_device
from ringpass.libvirt.xml import wanted
from ringpass.observe.status import PortStatus
from ringpass.vm.nic import Nic
from tests.support.daemon import RINGPASS, Daemon
from tests.support.libvirtd import Libvirtd
from tests.support.wait import wait_until

pytestmark = [pytest.mark.guest, pytest.mark.usefixtures("clear")]

CONFIG = """
[daemon]
socket_group = "kvm"
[switch.vale0]
[port."vale0:card"]
queues = 2
mtu = 9000
offloads = ["csum", "tso4"]
[port."vale0:pass"]
kind = "passthrough"
"""

CARDS = """
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>
  <model type='e1000'/><alias name='ua-lan'/>
  <address type='pci' domain='0' bus='0' slot='7' function='0'/></interface>
<interface type='direct'><mac address='52:54:00:00:00:02'/><source dev='lo' mode='bridge'/>
  <model type='virtio'/><boot order='1'/></interface>
"""


@pytest.fixture(scope="module")
def daemon(libvirtd: Libvirtd) -> Iterator[Daemon]:
    with libvirtd.daemon("ports", CONFIG) as daemon:
        yield daemon


def ringpass(daemon: Daemon, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    argv = [str(RINGPASS), "--runtime-dir", str(daemon.runtime_dir), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize("name", ["vale0:card", "vale0:pass"])
def test_libvirt_keeps_what_a_port_is(
    libvirtd: Libvirtd, daemon: Daemon, image: Image, name: str
) -> None:
    port = asked(daemon, name)
    defined = keeps(libvirtd, image, port)
    (found,) = devices.find_devices(defined, port.path)
    device = Document(found.xml).root
    if name == "vale0:card":
        assert found.mac == port.mac
        assert device.value("driver/host", "tso6") == "off"
        assert device.value("source/reconnect", "timeout") == "1"
    else:
        assert device.value("msi", "vectors") == str(port.vectors)


def test_a_domain_has_the_rings_of_a_port_by_the_patched_qemu(
    libvirtd: Libvirtd, daemon: Daemon, image: Image, patched_qemu: Path
) -> None:
    patched = str(libvirtd.public(patched_qemu))
    port = asked(daemon, "vale0:pass", "netdev")
    defined = keeps(libvirtd, image, port, patched)
    assert devices.find_devices(defined, port.path)[0].mac == port.mac
    assert permissions.check_connection(libvirtd.connection, defined, port, patched) == []
    with libvirtd.guest("takes") as guest:
        assert port.mac in guest.check("cat /sys/class/net/rp0/address")
        guest.check("ip address add 10.0.0.7/24 dev rp0; ip link set rp0 up")
        before = frames_from(daemon, port.name)
        guest.run("ping -c 1 -W 1 10.0.0.8", timeout=30)
        wait_until(lambda: frames_from(daemon, port.name) > before, "its frames come")


def test_a_domain_has_a_card_on_a_port_by_the_patched_qemu(
    libvirtd: Libvirtd, daemon: Daemon, image: Image, patched_qemu: Path
) -> None:
    patched = str(libvirtd.public(patched_qemu))
    port = asked(daemon, "vale0:pass", "netdev", "virtio-net-pci")
    keeps(libvirtd, image, port, patched)
    libvirtd.connection.lookupByName("takes").createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    guest = daemon.client.ask(PortStatus, "port.show", name=port.name).guest
    assert guest is not None
    assert guest.uid != 0


def frames_from(daemon: Daemon, port: str) -> int:
    """Return how many frames a port has had from its guest."""
    return int(daemon.call("port.show", name=port)["tx"]["frames"])


def asked(
    daemon: Daemon, name: str, via: Via | None = None, device: NetdevDevice | None = None
) -> PortDevice:
    settings = daemon.call("config.show")["port"][name]
    status = daemon.client.ask(PortStatus, "port.show", name=name)
    return port_device(status, via, settings, device)


def keeps(libvirtd: Libvirtd, image: Image, port: PortDevice, patched: str = "") -> str:
    """Give a domain a port, see that libvirt has kept all of it, and return what it has written."""
    plain = libvirtd.domain_xml(image, "takes", shared=False, guarded=False)
    added = changes.add_port(plain, port, patched=patched).xml
    domain = libvirtd.connection.defineXMLFlags(added, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    defined = connection.configuration(domain)
    # libvirt writes it in its own way, in which all of it is found again.
    assert changes.add_port(defined, port, patched=patched).xml == defined
    assert "has all that the port needs" in wanted(port, patched=patched, domain_xml=defined).xml
    assert devices.devices(changes.remove_port(defined, port.path).xml) == []
    return defined


def test_a_dry_run_says_what_is_done_then(libvirtd: Libvirtd, daemon: Daemon, image: Image) -> None:
    domain = libvirtd.define(image, "old", shared=False, guarded=False, devices=CARDS)
    before = connection.configuration(domain)
    convert = ("vm", "convert", "old", "--json", "-c", libvirtd.uri)
    planned = json.loads(ringpass(daemon, *convert, "--dry-run").stdout)
    assert connection.configuration(domain) == before
    assert [port["name"] for port in planned["ports"]] == ["vale0:old", "vale0:old.1"]
    done = json.loads(ringpass(daemon, *convert).stdout)
    assert done == planned | {"result": "converted"}
    after = connection.configuration(domain)
    added = {line[1:] for line in planned["diff"].splitlines()[2:] if line.startswith("+")}
    assert {line.strip() for line in added if "commandline" not in line} <= {
        line.strip() for line in after.splitlines()
    }
    again = json.loads(ringpass(daemon, *convert).stdout)
    assert (again["result"], again["diff"], again["ports"]) == ("unchanged", "", [])
    assert connection.configuration(domain) == after


def test_a_converted_domain_runs_on_its_port(
    libvirtd: Libvirtd, daemon: Daemon, image: Image
) -> None:
    mac = "52:54:00:00:00:07"
    card = (
        f"<interface type='ethernet'><mac address='{mac}'/><target dev='rp-none' managed='no'/>"
        "<model type='virtio'/></interface>"
    )
    nic = Nic(socket=daemon.runtime_dir / "unused", address="10.0.0.7/24")
    libvirtd.define(image, "runs", shared=False, guarded=False, devices=card, nics=[nic])
    done = ringpass(daemon, "vm", "convert", "runs", "-c", libvirtd.uri)
    assert "warning" not in done.stderr
    with libvirtd.guest("runs") as guest:
        assert mac in guest.check("cat /sys/class/net/eth0/address")
        guest.run("ping -c 1 -W 1 10.0.0.8", timeout=30)
        wait_until(lambda: frames_from(daemon, "vale0:runs") > 0, "its frames come")


def test_a_domain_that_runs_is_told_to_start_anew(
    libvirtd: Libvirtd, daemon: Daemon, image: Image
) -> None:
    card = "<interface type='user'><mac address='52:54:00:00:00:08'/></interface>"
    domain = libvirtd.define(image, "busy", devices=card)
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    tap = "<interface type='bridge'><source bridge='br0'/>"
    changed = connection.configuration(domain).replace("<interface type='user'>", tap)
    libvirtd.connection.defineXML(changed)
    done = ringpass(daemon, "vm", "convert", "busy", "-c", libvirtd.uri)
    assert "busy runs: it changes when it is shut down and started again" in done.stderr
    assert devices.devices(domain.XMLDesc(0)) == []
    assert len(devices.devices(connection.configuration(domain))) == 1


def test_a_conversion_that_is_refused_leaves_no_port(
    libvirtd: Libvirtd, daemon: Daemon, image: Image
) -> None:
    # A switch has no two ports with one address.
    cards = CARDS.replace("52:54:00:00", "52:54:00:01")
    domain = libvirtd.define(image, "lost", shared=False, guarded=False, devices=cards)
    before, ports = connection.configuration(domain), daemon.call("port.list")
    # libvirt looks at the patched QEMU when it defines a domain for it, and this is none.
    broken = libvirtd.place / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)

    def device_of(port: NewPort) -> PortDevice:
        path = str(daemon.runtime_dir / f"{port.name}.netdev")
        return PortDevice(name=port.name, via="netdev", path=path, mac=port.mac)

    planned = plan(before, device_of, switch="vale0", via="netdev", force=True, patched=str(broken))

    def add(port: NewPort) -> bool:
        answer = daemon.call("port.add", name=port.name, settings=port.settings)
        return bool(answer["result"] == "added")

    with pytest.raises(RingpassError, match="cannot convert the domain lost"):
        perform(
            domain,
            before,
            planned,
            [device_of(port) for port in planned.ports],
            add,
            lambda name: daemon.call("port.remove", name=name),
        )
    assert connection.configuration(domain) == before
    assert daemon.call("port.list") == ports
