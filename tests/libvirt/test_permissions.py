# SPDX-License-Identifier: BSD-2-Clause
"""QEMU of a real libvirtd is denied as is said beforehand, and let in by the command that is said.

The domains stand still after their start: nothing here needs a guest.
"""

import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from ringpass.errors import RingpassError
from ringpass.image import Image
from ringpass.libvirt import connection, permissions, qemu_user
from ringpass.libvirt.devices import device_xml
from ringpass.libvirt.ports import PortDevice, port_device
from ringpass.libvirt.problems import Problem
from ringpass.observe.status import PortStatus
from tests.support.daemon import Daemon
from tests.support.libvirtd import Libvirtd
from tests.support.wait import PATIENCE_S, wait_until

pytestmark = [pytest.mark.guest, pytest.mark.usefixtures("clear")]

CONFIG = """
[switch.vale0]
[port."vale0:card"]
[port."vale0:pass"]
kind = "passthrough"
[port."vale0:root"]
kind = "passthrough"
[port."vale0:out"]
mode = "client"
"""


@pytest.fixture(scope="module")
def daemon(libvirtd: Libvirtd) -> Iterator[Daemon]:
    """Return a daemon whose sockets are root's alone, as without `socket_group`."""
    with libvirtd.daemon("closed", CONFIG) as daemon:
        yield daemon


def device(daemon: Daemon, name: str) -> PortDevice:
    return port_device(daemon.client.ask(PortStatus, "port.show", name=name))


def problems(libvirtd: Libvirtd, domain: libvirt.virDomain, port: PortDevice) -> list[Problem]:
    xml = connection.configuration(domain)
    return permissions.check_connection(libvirtd.connection, xml, port)


def start(domain: libvirt.virDomain) -> None:
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)


def do(problem: Problem) -> None:
    """Do what the message says, up to what it says for good."""
    command = problem.fix.partition(";")[0]
    subprocess.run(["sh", "-c", command], timeout=PATIENCE_S, check=True)


def test_qemu_is_denied_until_the_command_is_run(
    libvirtd: Libvirtd, daemon: Daemon, image: Image
) -> None:
    port = device(daemon, "vale0:pass")
    domain = libvirtd.define(image, "denied", shared=False, devices=device_xml(port))
    (problem,) = problems(libvirtd, domain, port)
    assert "user libvirt-qemu" in problem.why
    assert f"may not open {port.path}: it is root:root srw-rw----" in problem.why
    with pytest.raises(libvirt.libvirtError, match="Permission denied"):
        start(domain)
    do(problem)
    assert problems(libvirtd, domain, port) == []
    start(domain)
    guest = daemon.client.ask(PortStatus, "port.show", name=port.name).guest
    assert guest is not None

    # QEMU is who we took it for, and libvirt has left the socket alone.
    user = qemu_user.qemu_user(libvirtd.connection.getCapabilities())
    ids = Path(f"/proc/{guest.pid}/status").read_text()
    groups = re.findall(r"^Groups:(.*)", ids, re.MULTILINE)[0].split()
    assert f"Uid:\t{user.uid}\t" in ids
    assert {int(group) for group in groups} == user.groups
    assert re.findall(r"^CapEff:\s*0*(\w*)", ids, re.MULTILINE) == [""]
    assert (Path(port.path).owner(), Path(port.path).group()) == ("root", user.group)


def test_a_start_that_waits_for_a_card_goes_on_when_the_command_is_run(
    libvirtd: Libvirtd, daemon: Daemon, image: Image
) -> None:
    port = device(daemon, "vale0:card")
    domain = libvirtd.define(image, "waits", devices=device_xml(port))
    (problem,) = problems(libvirtd, domain, port)
    log = libvirtd.place / "log/qemu/waits.log"
    other = libvirt.open(libvirtd.uri)
    waiting = threading.Thread(target=start, args=[other.lookupByName("waits")])
    waiting.start()
    try:
        # It tries again and again, and only its own log says why.
        denied = "Permission denied"
        wait_until(lambda: log.exists() and denied in log.read_text(), "it is denied")
        assert waiting.is_alive()
    finally:
        do(problem)
        waiting.join(PATIENCE_S)
    assert not waiting.is_alive()
    assert domain.isActive()
    assert daemon.call("port.show", name=port.name)["front_end"] is not None


def test_a_socket_that_qemu_makes_needs_a_directory_of_its_own(
    libvirtd: Libvirtd, daemon: Daemon, image: Image
) -> None:
    port = device(daemon, "vale0:out")
    domain = libvirtd.define(image, "listens", devices=device_xml(port))
    (problem,) = problems(libvirtd, domain, port)
    assert f"may not make files in {daemon.runtime_dir}:" in problem.why
    with pytest.raises(libvirt.libvirtError, match="Permission denied"):
        start(domain)


def test_a_domain_may_say_who_its_qemu_is(libvirtd: Libvirtd, daemon: Daemon, image: Image) -> None:
    port = device(daemon, "vale0:root")
    xml = libvirtd.domain_xml(image, "asroot", shared=False, devices=device_xml(port))
    label = "<seclabel type='static' model='dac' relabel='yes'><label>+0:+0</label></seclabel>"
    domain = libvirtd.connection.defineXML(xml.replace("</domain>", f"{label}</domain>"))
    assert problems(libvirtd, domain, port) == []
    start(domain)
    guest = daemon.client.ask(PortStatus, "port.show", name=port.name).guest
    assert guest is not None
    assert guest.uid == 0


def test_a_domain_that_is_gone_is_told(libvirtd: Libvirtd) -> None:
    with pytest.raises(RingpassError, match="libvirt knows no domain gone"):
        connection.lookup(libvirtd.connection, "gone")
