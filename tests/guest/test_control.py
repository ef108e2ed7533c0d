# SPDX-License-Identifier: BSD-2-Clause
"""What an administrator does to a running daemon, and what guests notice of it.

Two User-mode Linux guests exchange numbered frames meanwhile, and lose none.
"""

import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ringpass.errors import NotFound
from ringpass.image import Image
from tests.support import traffic
from tests.support.lab import Lab, Station
from tests.support.wait import PATIENCE_S, wait_until

pytestmark = pytest.mark.guest

#: For front ends that ask for it, which QEMU is not.
NEW_MAC = "52:54:00:00:00:77"
PORTS = {f"vale0:vm{number}": {"hold_us": 1_000_000} for number in range(1, 5)}

IDLE_S = 5.0
IDLE_CORE = 0.005
"""The share of a core that a daemon may use while its guests have nothing to say."""


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, PORTS) as lab:
        yield lab


@pytest.fixture
def pair(lab: Lab) -> tuple[Station, Station]:
    qemu, uml = lab.up("qemu1", "uml2")
    return qemu, uml


@pytest.fixture
def neighbours(lab: Lab) -> tuple[Station, Station]:
    third, fourth = lab.up("uml3", "uml4")
    return third, fourth


def test_apply_touches_only_what_changes(
    lab: Lab, pair: tuple[Station, Station], neighbours: tuple[Station, Station]
) -> None:
    """A port that is made again gets its QEMU back; others do not even notice a live change."""
    changed = pair[0]
    before = [lab.daemon.port(station.port) for station in neighbours]
    settings: dict[str, Mapping[str, object]] = {
        **PORTS,
        changed.port: {"hold_us": 1_000_000, "mac": NEW_MAC},
        neighbours[0].port: {"hold_us": 100_000},
        "vale0:new": {},
    }
    with traffic.Stream(*neighbours):
        actions = lab.apply(settings)
        assert len(actions) == 4
        assert [action.split()[0] for action in actions] == ["-", "+", "+", "~"]
        assert lab.daemon.wait_port(changed.port, "up").mac == NEW_MAC
        traffic.ping(*pair)
        assert lab.apply(settings) == []
        lab.apply()
        lab.daemon.wait_port(changed.port, "up")
        traffic.ping(*pair)
    for port in before:
        now = lab.daemon.port(port.name)
        assert (now.sessions, now.front_end) == (port.sessions, port.front_end)
    assert "vale0:new" not in {port["name"] for port in lab.daemon.ask("port", "ls")}


def test_port_is_removed_under_its_guest_and_comes_back(
    lab: Lab, pair: tuple[Station, Station], neighbours: tuple[Station, Station]
) -> None:
    first, second = pair
    path = Path(lab.daemon.port(first.port).path)
    descriptors = lab.daemon.descriptors()
    with traffic.Stream(*neighbours):
        assert lab.daemon.ask("port", "rm", first.port) == {"result": "removed"}
        with pytest.raises(NotFound):
            lab.daemon.port(first.port)
        assert not path.exists()
        assert lab.daemon.descriptors() < descriptors
        assert first.mac not in lab.daemon.fdb()
        assert first.guest.run(f"ping -c 1 -w 1 {second.address}").status != 0
        assert lab.daemon.ask("port", "add", first.port, "--hold-us", "1000000") == {
            "result": "added"
        }
        lab.daemon.wait_port(first.port, "up")
        traffic.ping(first, second)


def test_switch_with_ports_is_not_removed(lab: Lab, pair: tuple[Station, Station]) -> None:
    done = lab.daemon.run("switch", "rm", "vale0")
    assert done.returncode == 1
    assert "why: it has ports: " in done.stderr
    traffic.ping(*pair)


def test_second_guest_at_a_port_waits_a_third_is_refused_and_the_first_goes_on(
    lab: Lab, pair: tuple[Station, Station]
) -> None:
    first, second = pair
    before = lab.daemon.port(second.port)
    with traffic.Stream(first, second):
        rival = lab.guest("uml", "rival", [lab.nic(second.port)])
        rival.wait_ready()
        with socket.socket(socket.AF_UNIX) as third:
            third.connect(before.path)
            third.settimeout(PATIENCE_S)
            assert third.recv(1) == b""
        now = lab.daemon.port(second.port)
        rival.kill()
    assert now.standby is not None
    assert now.refused == before.refused + 1
    assert now.front_end == before.front_end
    wait_until(lambda: lab.daemon.port(second.port).standby is None, "the rival is gone")


def test_socket_that_cannot_be_had_is_refused_while_guests_go_on(
    lab: Lab, neighbours: tuple[Station, Station]
) -> None:
    directory = lab.daemon.runtime_dir
    taken = directory / "taken.sock"
    with traffic.Stream(*neighbours), socket.socket(socket.AF_UNIX) as somebody:
        somebody.bind(str(taken))
        somebody.listen()
        for path, code, words in (
            (directory / ("long" * 30), 2, "a unix socket's path has at most 107"),
            (taken, 1, "listens there"),
            (Path(lab.daemon.port("vale0:vm3").path), 2, "vale0:vm3 has the socket"),
        ):
            done = lab.daemon.run("port", "add", "vale0:new", "--path", path)
            assert (done.returncode, done.stdout) == (code, "")
            assert words in done.stderr
        somebody.close()
        assert taken.exists()
        assert lab.daemon.ask("port", "add", "vale0:new", "--path", taken)["result"] == "added"
        assert lab.daemon.ask("port", "rm", "vale0:new")["result"] == "removed"


@pytest.mark.slow
def test_idle_guests_cost_nothing(
    lab: Lab, pair: tuple[Station, Station], neighbours: tuple[Station, Station]
) -> None:
    """With a worker that spins as long as there is something to do, which it must unlearn."""
    traffic.flood(*pair)
    traffic.flood(*neighbours)

    def share() -> float:
        before, began = lab.daemon.cpu_seconds(), time.monotonic()
        time.sleep(IDLE_S)
        return (lab.daemon.cpu_seconds() - before) / (time.monotonic() - began)

    wait_until(lambda: share() < IDLE_CORE, "the daemon is idle, too")
    traffic.ping(*pair)
