# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass vm ls` shows the domains with ports of ours, and works without libvirt."""

from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from ringpass.image import Image
from tests.support.libvirtd import Libvirtd
from tests.support.probe import ProbedDaemon
from tests.support.wait import wait_until

pytestmark = pytest.mark.guest


@pytest.fixture
def daemon(libvirtd: Libvirtd, runtime_dir: Path) -> Iterator[ProbedDaemon]:
    runtime_dir.chmod(0o711)
    text = f"""
[daemon]
socket_mode = "0666"
[libvirt]
connect = "{libvirtd.uri}"
[switch.vale0]
[port."vale0:vm1"]
[port."vale0:vm2"]
"""
    with ProbedDaemon(runtime_dir, text) as daemon:
        yield daemon
    libvirtd.clear()


def card(path: Path) -> str:
    return (
        f"<interface type='vhostuser'><source type='unix' path='{path}' mode='client'/>"
        "<model type='virtio'/></interface>"
    )


def test_domains_are_shown_with_their_ports(
    daemon: ProbedDaemon, libvirtd: Libvirtd, image: Image
) -> None:
    runs = libvirtd.define(image, "runs", devices=card(daemon.socket("vale0:vm1")))
    runs.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    strange = daemon.runtime_dir / "vale0.gone.sock"
    libvirtd.define(image, "off", devices=card(daemon.socket("vale0:vm2")) + card(strange))
    libvirtd.define(image, "other", devices=card(Path("/run/else/where.sock")))
    wait_until(lambda: daemon.port("vale0:vm1").front_end, "QEMU has the port")

    off, running = daemon.ask("vm", "ls")
    assert (off["name"], off["kind"], off["state"]) == ("off", "libvirt", "shut off")
    assert off["ports"] == ["vale0:vm2", str(strange)]
    assert [shown["link"] for shown in off["cards"]] == ["down", "down"]
    assert (running["name"], running["state"]) == ("runs", "paused")
    (shown,) = running["cards"]
    assert shown["port"] == "vale0:vm1"
    assert shown["mac"] in runs.XMLDesc(0)
    assert (shown["via"], shown["link"]) == ("vhost-user", "connected")
    assert (shown["from_guest"], shown["to_guest"]) == (0, 0)

    table = daemon.run("vm", "ls").stdout
    assert [line.split()[0] for line in table.splitlines()] == ["DOMAIN", "off", "off", "runs"]


def test_without_libvirt_the_rest_is_shown(daemon: ProbedDaemon, libvirtd: Libvirtd) -> None:
    libvirtd.stop()
    try:
        done = daemon.run("vm", "ls", "--json")
    finally:
        libvirtd.start()
    assert (done.returncode, done.stdout) == (0, "[]\n")
    what, why, fix = done.stderr.splitlines()
    assert what.startswith("no domains of libvirt are shown: cannot connect to libvirt at ")
    assert why.startswith("why: Failed to connect")
    assert fix.startswith("fix: start libvirtd")
