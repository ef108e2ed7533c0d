# SPDX-License-Identifier: BSD-2-Clause
"""Ports as `-netdev ringpass` of the patched QEMU, with the network card that every guest has.

Two guests have one each, the second with two queues. They boot once, and their QEMUs must live
through all of this.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ringpass.image import Image
from ringpass.vm.nic import Nic
from ringpass.vm.qemu import Emulator
from ringpass.vm.qmp import Qmp, QmpError
from tests.support import hotplug, traffic
from tests.support.lab import Lab, Station
from tests.support.wait import PATIENCE_S, wait_until

pytestmark = pytest.mark.guest

PATIENT: dict[str, object] = {"hold_us": 1_000_000}
PORTS: dict[str, dict[str, object]] = {
    "vale0:vm1": {"kind": "passthrough", **PATIENT},
    "vale0:vm2": {"kind": "passthrough", "queues": 2, **PATIENT},
}

COPYING = "copying"
"""What the netdev says of itself while QEMU copies frames."""


class World(NamedTuple):
    """The daemon, the guest that things happen to, and the other one."""

    lab: Lab
    one: Station
    other: Station

    def qmp(self) -> Qmp:
        """Return a connection to the machine protocol of the first guest."""
        return self.one.guest.qmp()

    def netdev(self) -> dict[str, Any]:
        """Return what query-netdev says of it."""
        with self.qmp() as qmp:
            (info,) = qmp.execute("query-netdev")
        assert isinstance(info, dict)
        return info

    def wait_netdev(self, what: str, *, link: bool) -> None:
        """Wait until the netdev says that it does `what`."""
        wait_until(
            lambda: (info := self.netdev())["link"] == link and info["info"].endswith(f",{what}"),
            f"the netdev is {what}",
            PATIENCE_S,
        )

    def wait_carrier(self, up: bool) -> None:
        """Wait until the guest sees that the link is there, or not."""
        state = f"/sys/class/net/eth0/carrier) = {int(up)}"
        self.one.guest.check(f"until [ $(cat {state} ]; do sleep 0.05; done", PATIENCE_S)


@pytest.fixture(scope="module")
def world(image: Image, patched_qemu: Path) -> Iterator[World]:
    emulator = Emulator(program=str(patched_qemu), patched=True)
    with Lab(image, PORTS) as lab:
        one, other = (station(lab, number, emulator, queues=number) for number in (1, 2))
        for each in (one, other):
            each.guest.wait_ready()
        yield World(lab, one, other)


def station(lab: Lab, number: int, emulator: Emulator, *, queues: int) -> Station:
    """Return a guest with a port and so many queues, started and not waited for."""
    name, address = f"vale0:vm{number}", f"10.0.0.{number}"
    port = lab.daemon.port(name)
    card = Nic(
        socket=Path(port.netdev_path),
        device="virtio-net-pci",
        mac=port.mac,
        queues=queues,
        address=f"{address}/24",
    )
    guest = lab.guest("qemu", f"netdev{number}", [card], emulator=emulator, smp=queues)
    return Station(guest, name, card.mac, address)


@pytest.fixture(autouse=True)
def alive(world: World) -> Iterator[None]:
    """The same QEMUs run before and after each of the tests."""
    guests = (world.one.guest, world.other.guest)
    before = [guest.pid for guest in guests]
    yield
    assert [guest.pid for guest in guests if guest.running] == before


def test_what_the_monitor_shows(world: World) -> None:
    assert world.netdev() == {
        "id": "net0",
        "type": "ringpass",
        "queues": 1,
        "link": True,
        "info": f"path={world.lab.daemon.port('vale0:vm1').netdev_path},port=vale0:vm1,{COPYING}",
    }
    with world.qmp() as qmp:
        shown = qmp.execute("human-monitor-command", command_line="info network")
    assert ",port=vale0:vm1,copying" in shown


def test_echoes_come_back(world: World) -> None:
    for size in (56, 1472):
        traffic.ping(world.one, world.other, size=size)
        traffic.ping(world.other, world.one, size=size)


@pytest.mark.parametrize("size", [60, 1514])
def test_floods_arrive_whole(world: World, size: int) -> None:
    traffic.flood(world.one, world.other, size=size, count=3000).assert_whole()
    traffic.flood(world.other, world.one, size=size, count=3000).assert_whole()


def test_offloads(world: World) -> None:
    """Segments of 64 KiB cross in one piece, and checksums that nobody has computed."""
    shown = world.one.guest.check("ethtool -k eth0")
    for feature in ("tx-checksum-ip-generic", "tx-tcp-segmentation", "tx-tcp6-segmentation"):
        assert re.search(rf"{feature}: on\b", shown), shown
    queues = world.other.guest.check("ethtool -l eth0")
    assert re.findall(r"^Combined:\s+(\d+)", queues, re.MULTILINE) == ["2", "2"]
    traffic.exchange_tcp(world.one, world.other, size=1_000_000, segments=True)


def test_a_driver_that_begins_anew(world: World) -> None:
    world.one.guest.check(
        "cd /sys/bus/virtio/drivers/virtio_net; card=$(basename $(echo virtio*)); "
        "echo $card >unbind; echo $card >bind; cd /; ip link set eth0 up; "
        "ip addr add 10.0.0.1/24 dev eth0",
        PATIENCE_S,
    )
    traffic.ping(world.one, world.other)
    traffic.send_segment(world.other, world.one)


def test_set_link(world: World) -> None:
    with world.qmp() as qmp:
        qmp.execute("set_link", name="net0", up=False)
        world.wait_carrier(up=False)
        qmp.execute("set_link", name="net0", up=True)
        world.wait_carrier(up=True)
    traffic.ping(world.one, world.other)


def test_a_migration_that_comes_to_nothing(world: World) -> None:
    """What QEMU copies is no obstacle to a migration; the guest goes on where it was."""
    with world.qmp() as qmp:
        qmp.execute("migrate", uri="exec:cat >/dev/null")
        wait_until(
            lambda: qmp.execute("query-migrate")["status"] == "completed", "the end", PATIENCE_S
        )
        qmp.execute("cont")
    traffic.ping(world.one, world.other)


def test_the_daemon_is_killed_and_its_keeper_goes_on(world: World) -> None:
    """QEMU does not notice, and nothing is lost that was not on its way."""
    traffic.introduce(world.one, world.other)
    world.lab.daemon.kill()
    assert world.netdev()["info"].endswith(COPYING)
    world.lab.daemon.start()
    assert world.netdev()["info"].endswith(COPYING)
    traffic.ping(world.one, world.other)
    traffic.flood(world.other, world.one, count=1000).assert_whole()


def test_the_daemon_and_its_keeper_are_killed(world: World) -> None:
    """QEMU connects to the next one, and hands back what it has."""
    regions = memories(world.one.guest.pid)
    kill_all(world.lab)
    world.wait_netdev("disconnected", link=False)
    world.wait_carrier(up=False)
    world.lab.daemon.start()
    world.wait_netdev(COPYING, link=True)
    world.wait_carrier(up=True)
    assert memories(world.one.guest.pid) == regions
    traffic.ping(world.one, world.other)
    traffic.flood(world.one, world.other, count=1000).assert_whole()


def test_deleted_under_traffic_and_added_again(world: World) -> None:
    stream = traffic.Stream(world.one, world.other, rate=2000)
    back = f"rp-flood eth0 --dst {world.one.mac} --seconds 3600 --rate 2000 >/dev/null"
    with world.qmp() as qmp:
        stream.begin()
        world.other.guest.check(f"{back} & back=$!")
        qmp.execute("netdev_del", id="net0")
        world.wait_carrier(up=False)
        assert qmp.execute("query-netdev") == []
        assert world.lab.daemon.port("vale0:vm1").users == []
        world.one.guest.check("kill $flood; wait $flood", PATIENCE_S)
        hotplug.unplug(qmp, "nic0")
        add(qmp, world, "net1")
        mac = f"mac={world.one.mac},romfile="
        hotplug.tell(qmp, f"device_add virtio-net-pci,id=nic1,netdev=net1,{mac}")
    world.one.guest.check(
        "until [ -e /sys/class/net/eth0 ]; do sleep 0.05; done; "
        "ip link set eth0 up; ip addr add 10.0.0.1/24 dev eth0",
        PATIENCE_S,
    )
    world.other.guest.check("kill $back; wait $back; killall rp-sink; rm -f /tmp/sink.json")
    world.wait_netdev(COPYING, link=True)
    traffic.ping(world.one, world.other)
    traffic.flood(world.other, world.one, count=1000).assert_whole()


def test_what_is_refused(world: World) -> None:
    """A port that has its QEMU, and a socket where nobody listens."""
    with world.qmp() as qmp:
        with pytest.raises(QmpError, match=r"ringpass backend at .*: the backend refuses: "):
            add(qmp, world, "twice")
        with pytest.raises(QmpError, match="cannot connect to a ringpass backend at /nowhere"):
            qmp.execute("netdev_add", type="ringpass", id="twice", path="/nowhere")
        assert len(qmp.execute("query-netdev")) == 1


def add(qmp: Qmp, world: World, name: str) -> None:
    """Add a netdev for the guest's port."""
    path = world.lab.daemon.port("vale0:vm1").netdev_path
    qmp.execute("netdev_add", type="ringpass", id=name, path=path)


def memories(pid: int) -> set[int]:
    """Return the memfds that a process holds, by inode."""
    fds = list(Path(f"/proc/{pid}/fd").iterdir())
    return {fd.stat().st_ino for fd in fds if str(fd.readlink()).startswith("/memfd:")}


def kill_all(lab: Lab) -> None:
    """End the daemon and its keeper as crashes would."""
    lines = [line for line in lab.daemon.log().splitlines() if "event=keeper-started" in line]
    found = re.search(r"pid=(\d+)", lines[-1])
    assert found is not None
    lab.daemon.kill()
    os.kill(int(found[1]), 9)
