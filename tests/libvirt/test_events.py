# SPDX-License-Identifier: BSD-2-Clause
"""The daemon follows a real libvirtd: which domain has a port, and when it is free again.

The domains stand still after their start: what is told of them needs no guest.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import libvirt
import pytest

from ringpass.image import Image
from tests.support.daemon import Daemon
from tests.support.libvirtd import Libvirtd
from tests.support.wait import wait_until

pytestmark = pytest.mark.guest

PORT = "vale0:vm1"


def config(libvirtd: Libvirtd) -> str:
    return f"""
[daemon]
socket_mode = "0666"
[libvirt]
connect = "{libvirtd.uri}"
[switch.vale0]
[port."{PORT}"]
[port."vale0:vm2"]
"""


@pytest.fixture(scope="module")
def daemon(libvirtd: Libvirtd) -> Iterator[Daemon]:
    with TemporaryDirectory(prefix="rp-") as name:
        Path(name).chmod(0o711)
        with Daemon(Path(name), config(libvirtd)) as daemon:
            yield daemon


@pytest.fixture
def domain(libvirtd: Libvirtd, image: Image, daemon: Daemon) -> Iterator[str]:
    """Yield the name of a defined domain that has the port."""
    card = (
        f"<interface type='vhostuser'><source type='unix' path='{daemon.socket(PORT)}' "
        "mode='client'/><model type='virtio'/></interface>"
    )
    libvirtd.define(image, "vm1", devices=card)
    yield "vm1"
    libvirtd.clear()
    wait_free(daemon)


def start(libvirtd: Libvirtd, name: str) -> libvirt.virDomain:
    domain = libvirtd.connection.lookupByName(name)
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    return domain


def owner(daemon: Daemon, port: str = PORT) -> Any:
    """Return what the daemon says of the domain that has the port."""
    return daemon.call("port.show", name=port)["domain"]


def wait_owner(daemon: Daemon, **wanted: str) -> Any:
    """Wait until the port's domain is as wanted."""

    def found() -> Any:
        domain = owner(daemon)
        return domain and all(domain[key] == value for key, value in wanted.items()) and domain

    return wait_until(found, f"the port's domain is {wanted}")


def wait_free(daemon: Daemon) -> None:
    wait_until(lambda: owner(daemon) is None, "the port is free")

    def waiting() -> bool:
        return bool(daemon.call("port.show", name=PORT)["state"] == "waiting")

    wait_until(waiting, "QEMU has let go of it")


def descriptors(daemon: Daemon) -> int:
    assert daemon.process is not None
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


def test_a_domain_has_its_port_while_it_runs(
    daemon: Daemon, domain: str, libvirtd: Libvirtd
) -> None:
    running = start(libvirtd, domain)
    found = wait_owner(daemon, name="vm1", state="paused")
    assert found["uuid"] == running.UUIDString()
    assert owner(daemon, "vale0:vm2") is None
    running.resume()
    wait_owner(daemon, state="running", what="resumed")
    running.reset(0)
    wait_owner(daemon, state="running", what="rebooted")
    running.destroy()
    wait_free(daemon)
    assert "event=domain-left-port domain=vm1" in daemon.log()
    assert "destroyed" in daemon.log()


def test_a_crash_frees_the_port(daemon: Daemon, domain: str, libvirtd: Libvirtd) -> None:
    start(libvirtd, domain)
    wait_owner(daemon, name="vm1")
    os.kill(daemon.call("port.show", name=PORT)["front_end"]["pid"], signal.SIGKILL)
    wait_free(daemon)


def test_a_libvirtd_that_restarts_is_found_again(
    daemon: Daemon, domain: str, libvirtd: Libvirtd
) -> None:
    start(libvirtd, domain)
    wait_owner(daemon, name="vm1")
    before = descriptors(daemon)
    libvirtd.stop(signal.SIGKILL)
    try:
        wait_until(lambda: not daemon.call("status")["libvirt"]["connected"], "the loss shows")
        status = daemon.call("status")
        assert any("libvirt" in problem for problem in status["problems"])
        # The domain goes on, and with it what is known of it.
        assert owner(daemon)["name"] == "vm1"
    finally:
        libvirtd.start()
    wait_until(lambda: daemon.call("status")["libvirt"]["connected"], "it is followed")
    assert daemon.call("status")["problems"] == []
    wait_until(lambda: descriptors(daemon) == before, "no descriptor is left")
    libvirtd.connection.lookupByName("vm1").destroy()
    wait_free(daemon)


def test_a_domain_migrates_away_and_back(daemon: Daemon, domain: str, libvirtd: Libvirtd) -> None:
    start(libvirtd, domain)
    wait_owner(daemon, name="vm1")
    with Libvirtd() as other:
        # QEMU makes the socket, so it must be a directory of everybody's.
        way = f"/tmp/{other.place.name}-migration.sock"
        migrate(libvirtd, other, way)
        wait_until(lambda: owner(daemon) is None, "the other libvirt has it")
        assert "what='migrated away'" in daemon.log()
        migrate(other, libvirtd, way)
        wait_owner(daemon, name="vm1")
        assert "what='migrated here'" in daemon.log()


def migrate(here: Libvirtd, there: Libvirtd, way: str) -> None:
    """Move vm1, which stands still, to another libvirt of this machine."""
    domain = here.connection.lookupByName("vm1")
    flags = libvirt.VIR_MIGRATE_PAUSED
    domain.migrate3(there.connection, {libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{way}"}, flags)


def test_a_libvirtd_that_hangs_holds_up_nothing(
    daemon: Daemon, domain: str, libvirtd: Libvirtd
) -> None:
    start(libvirtd, domain)
    wait_owner(daemon, name="vm1")
    with libvirtd.frozen():
        before = time.monotonic()
        assert daemon.call("status")["ports"][0]["domain"]["name"] == "vm1"
        daemon.call("port.add", name="vale0:vm3")
        daemon.call("port.remove", name="vale0:vm3")
        assert time.monotonic() - before < 10
    libvirtd.connection.lookupByName("vm1").destroy()
    wait_free(daemon)


def test_what_ended_while_libvirtd_was_away_is_known_later(
    daemon: Daemon, domain: str, libvirtd: Libvirtd
) -> None:
    start(libvirtd, domain)
    wait_owner(daemon, name="vm1")
    libvirtd.stop(signal.SIGKILL)
    try:
        os.kill(daemon.call("port.show", name=PORT)["front_end"]["pid"], signal.SIGKILL)
    finally:
        libvirtd.start()
    wait_free(daemon)


def test_a_daemon_without_libvirtd_works_and_says_so(runtime_dir: Path) -> None:
    text = '[libvirt]\nconnect = "qemu:///system?socket=/nowhere/libvirt-sock"\n[switch.vale0]\n'
    with Daemon(runtime_dir, text) as daemon:
        daemon.call("port.add", name=PORT)

        def problem() -> Any:
            (found,) = daemon.call("status")["problems"]
            return "/nowhere/libvirt-sock" in found.partition("not followed")[2] and found

        wait_until(problem, "the problem is told")
        assert owner(daemon) is None


def test_libvirt_is_followed_and_left_at_run_time(
    daemon: Daemon, domain: str, libvirtd: Libvirtd
) -> None:
    start(libvirtd, domain)
    wait_owner(daemon, name="vm1")
    tables = daemon.call("config.show")
    tables["libvirt"]["connect"] = None
    plan = daemon.call("apply", config=tables)
    assert [action["text"] for action in plan["actions"]] == ["~ libvirt: not followed"]
    assert owner(daemon) is None
    assert daemon.call("status")["libvirt"] is None
    tables["libvirt"]["connect"] = libvirtd.uri
    daemon.call("apply", config=tables)
    wait_owner(daemon, name="vm1")
