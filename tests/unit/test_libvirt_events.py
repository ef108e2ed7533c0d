# SPDX-License-Identifier: BSD-2-Clause
"""What is told of domains, by libvirt's test driver: it keeps domains as the real one does, in this
process, and has no QEMU behind them. The real one is asked in tests/libvirt/.
"""

import fcntl
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ringpass.daemon.libvirt import Domains
from ringpass.libvirt.domains import Card, Domain
from ringpass.libvirt.events import Follower
from tests.support.daemon import Daemon
from tests.support.wait import PATIENCE_S, wait_until

DOMAIN = """
<domain type='test'>
  <name>vm1</name>
  <memory unit='MiB'>64</memory>
  <os><type>hvm</type></os>
  <devices>
    <interface type='vhostuser'>
      <mac address='52:54:00:00:00:01'/>
      <source type='unix' path='{socket}' mode='client'/>
      <model type='virtio'/>
    </interface>
  </devices>
</domain>
"""


class Notes:
    """Keeps what a follower tells."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def connected(self, domains: list[Domain]) -> None:
        self.told.append(("connected", {domain.name for domain in domains}))

    def lost(self, why: str) -> None:
        self.told.append(("lost", why))

    def changed(self, domain: Domain, what: str) -> None:
        self.told.append((domain.name, domain.state, what, domain.cards))

    def gone(self, _uuid: str, name: str, what: str) -> None:
        self.told.append((name, what))


def beyond_select(fd: int) -> int:
    """Return `fd` under a number that daemons with many ports come to, and select() cannot name."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 1200)
    finally:
        os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def notes(request: pytest.FixtureRequest) -> Iterator[Notes]:
    """Return what is told of the libvirt that the test names, else of the test driver's."""
    found, stop = Notes(), beyond_select(os.eventfd(0))
    uri = getattr(request, "param", "test:///default")
    thread = threading.Thread(target=Follower(uri, found, stop).run)
    thread.start()
    try:
        wait_until(lambda: found.told, "something is told")
        yield found
    finally:
        os.eventfd_write(stop, 1)
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        os.close(stop)


def test_what_happens_to_a_domain_is_told_with_its_ports(notes: Notes) -> None:
    assert notes.told == [("connected", {"test"})]
    domain = libvirt.open("test:///default").createXML(DOMAIN.format(socket="/run/a.sock"))
    cards = (Card("vhost-user", "/run/a.sock", "52:54:00:00:00:01"),)
    domain.suspend()
    domain.resume()
    domain.destroy()
    wait_until(lambda: notes.told[-1][0] == "vm1" and len(notes.told[-1]) == 2, "its end is told")
    # What is seen of it is what it is when it is looked at, after more has happened perhaps.
    assert notes.told[-1] == ("vm1", "destroyed")
    assert all(told[3] == cards for told in notes.told[1:-1])


@pytest.mark.parametrize("notes", ["qemu:///system?socket=/nowhere/sock"], indirect=True)
def test_that_nobody_answers_is_told(notes: Notes) -> None:
    what, why = notes.told[0]
    assert what == "lost"
    assert "/nowhere/sock" in why


def test_a_daemon_knows_who_has_its_port(runtime_dir: Path) -> None:
    node = runtime_dir / "node.xml"
    node.write_text(f"<node>{DOMAIN.format(socket=runtime_dir / 'vale0.vm1.sock')}</node>")
    text = f'[libvirt]\nconnect = "test://{node}"\n[switch.vale0]\n[port."vale0:vm1"]\n'
    with Daemon(runtime_dir, text) as daemon:

        def domain() -> Any:
            return daemon.call("port.show", name="vale0:vm1")["domain"]

        wait_until(domain, "the domain is known")
        assert (domain()["name"], domain()["state"]) == ("vm1", "running")
        status = daemon.call("status")
        assert status["problems"] == []
        assert status["libvirt"]["connected"]
        assert status["libvirt"]["domains"] == 1


def running(name: str, *sockets: str) -> Domain:
    cards = tuple(Card("vhost-user", socket, "") for socket in sockets)
    return Domain(f"uuid of {name}", name, "running", True, cards)


def test_what_is_read_anew_replaces_what_was_known() -> None:
    domains = Domains()
    domains.connected([running("vm1", "/run/a.sock"), running("vm2", "/run/b.sock")])
    domains.connected([running("vm2", "/run/b.sock", "/run/c.sock")])
    assert domains.of("/run/a.sock") is None
    for path in ("/run/b.sock", "/run/c.sock"):
        found = domains.of(path)
        assert found is not None
        assert found.name == "vm2"


def test_both_sockets_of_a_port_and_both_names_of_its_directory_are_one(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    (tmp_path / "var").symlink_to(directory)
    domains = Domains()
    domains.connected([running("vm1", str(tmp_path / "var" / "vale0.vm1.netdev"))])
    assert domains.of(str(directory / "vale0.vm1.sock")) is not None
    domains.gone("uuid of vm1", "vm1", "crashed")
    assert domains.of(str(directory / "vale0.vm1.sock")) is None
