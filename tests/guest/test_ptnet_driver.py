# SPDX-License-Identifier: BSD-2-Clause
"""ptnet-pci of the patched QEMU, driven as netmap's drivers do it, and by ours.

rp-ptnet is a driver that knows nothing of ringpass: it has its CSBs in the guest's RAM, and is
alone in one guest. The other guest has our driver. They boot once, on a switch.
"""

import json
import os
import re
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ringpass.image import Image
from ringpass.vm import qemu
from ringpass.vm.nic import Nic
from ringpass.vm.qemu import Emulator
from tests.support import traffic
from tests.support.daemon import keepers_of
from tests.support.hotplug import tell, unplug
from tests.support.lab import Lab, Station
from tests.support.wait import PATIENCE_S, wait_until

pytestmark = pytest.mark.guest

PATIENT = {"kind": "passthrough", "hold_us": 1_000_000}
PORTS: dict[str, dict[str, object]] = {
    "vale0:vm1": {**PATIENT},
    "vale0:vm2": {**PATIENT},
}
COUNT = 3000
FEW = 500
BATCH = 256
"""Frames that a daemon which is killed may lose of a ring."""
COMPLAINTS = re.compile(r"BUG|WARNING|Oops|Call Trace|hung")


class Guests(NamedTuple):
    """The guest without a driver, for rp-ptnet, and the one with ours."""

    bare: Station
    ours: Station


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, PORTS) as lab:
        yield lab


@pytest.fixture(scope="module")
def booted(lab: Lab, patched: Emulator) -> Guests:
    guests = Guests(lab.passed(1, patched), lab.passed(2, patched))
    for station in guests:
        station.guest.wait_ready()
    # The switch learns where it is: what goes to all ports waits for none.
    guests.ours.guest.run(f"ping -c 1 -W 1 {guests.bare.address}")
    guests.bare.guest.check("rmmod ringpass")
    return guests


@pytest.fixture
def guests(booted: Guests) -> Iterator[Guests]:
    """Return the guests; at the end their kernels must not have complained."""
    yield booted
    for station in booted:
        said = station.guest.check("dmesg -c")
        assert not COMPLAINTS.search(said), said


def begin(bare: Station, options: str) -> None:
    """Run rp-ptnet in the background; return when its rings run."""
    bare.guest.check(f"rp-ptnet --background /tmp/ptnet.json {options}", PATIENCE_S)


def end(bare: Station) -> dict[str, Any]:
    """Return what rp-ptnet reports, once it is done."""
    wait = "while pidof rp-ptnet >/dev/null; do sleep 0.05; done"
    return report(bare, f"{wait}; cat /tmp/ptnet.json")


def report(station: Station, command: str) -> dict[str, Any]:
    """Run a command in a guest; return the JSON that it prints."""
    found: dict[str, Any] = json.loads(station.guest.check(command, PATIENCE_S).splitlines()[-1])
    return found


HEADERS = {"": 0, "--header": 12}


@pytest.mark.parametrize("header", HEADERS)
def test_frames_of_a_foreign_driver_arrive(guests: Guests, header: str) -> None:
    bare, ours = guests
    traffic.start_sink(ours, f"--seconds {PATIENCE_S} --idle {traffic.IDLE_S} --count {COUNT}")
    sent = report(bare, f"rp-ptnet {header} --count {COUNT} --dst {ours.mac} send")
    came = traffic.end_sink(ours)
    assert (sent["frames"], sent["header"]) == (COUNT, HEADERS[header])
    assert 0 < sent["kicks"] <= COUNT
    assert came == traffic.Received(COUNT, COUNT * 60, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("header", HEADERS)
def test_a_foreign_driver_receives(guests: Guests, header: str) -> None:
    bare, ours = guests
    report(bare, f"rp-ptnet {header} --count 1 send")  # the switch learns where it is
    begin(bare, f"{header} --count {COUNT} --idle {traffic.IDLE_S} receive")
    traffic.send_flood(ours, bare.mac, count=COUNT)
    came = end(bare)
    assert came["header"] == HEADERS[header]
    assert [came[name] for name in ("frames", "missing", "late", "corrupt")] == [COUNT, 0, 0, 0]


def test_a_foreign_driver_goes_on_though_the_daemon_was_killed(lab: Lab, guests: Guests) -> None:
    bare, ours = guests
    count = 20 * COUNT
    ours.guest.check(f"rp-sink --seconds 60 --idle 10 --count {count} --background /tmp/s.json rp0")
    begin(bare, f"--count {count} --dst {ours.mac} send")
    assert bare.guest.run("test -e /tmp/ptnet.json").status != 0, "all was sent already"
    lab.daemon.kill()
    lab.daemon.start()
    sent = end(bare)
    came = report(ours, "until [ -e /tmp/s.json ]; do sleep 0.05; done; cat /tmp/s.json")
    assert sent["frames"] == count
    assert came["late"] == 0
    assert came["missing"] == count - came["frames"]
    assert came["missing"] <= lab.daemon.port(bare.port).tx.drops.get("restart", 0) <= BATCH


def test_drivers_go_on_though_nobody_kept_anything(lab: Lab, guests: Guests) -> None:
    """QEMU hands back what it holds: a foreign driver sees nothing, ours says hello again."""
    bare, ours = guests
    report(bare, "rp-ptnet --count 1 send")
    begin(bare, f"--count {COUNT + FEW} --idle 30 receive")
    traffic.send_flood(ours, bare.mac, count=COUNT)
    lab.daemon.kill()
    os.kill(keepers_of(lab.daemon)[-1], signal.SIGKILL)
    lab.daemon.start()
    for station in guests:
        lab.daemon.wait_port(station.port, "up", timeout=PATIENCE_S)
    # No more than a ring takes: the switch knows nobody yet, and waits for nobody.
    traffic.send_flood(ours, bare.mac, count=FEW)
    came = end(bare)
    # The second flood's numbers begin at 0 again.
    assert [came[name] for name in ("frames", "missing", "corrupt")] == [COUNT + FEW, 0, 0]
    assert came["late"] == FEW


def test_our_driver_takes_the_device_afterwards(guests: Guests) -> None:
    bare, ours = guests
    bare.guest.check(
        f"modprobe ringpass && ip address add {bare.address}/24 dev rp0 && ip link set rp0 up"
    )
    about = bare.guest.check("ethtool -i rp0")
    assert "driver: ringpass\n" in about
    assert f"firmware-version: {bare.port}\n" in about
    traffic.ping(bare, ours)
    traffic.flood(bare, ours, count=COUNT).assert_whole()


def test_programs_open_pipes_and_monitors(guests: Guests) -> None:
    ours = guests.ours
    for receiver, sender in (("netmap:rp0}1", "netmap:rp0{1"), ("netmap:rp0/t", "netmap:rp0")):
        limits = f"--count 200 --seconds {PATIENCE_S}"
        options = f"--receive {limits} --idle {traffic.IDLE_S} --background /tmp/counted"
        ours.guest.check(f"rp-nmflood {options} '{receiver}'")
        ours.guest.check(f"rp-nmflood {limits} '{sender}'", PATIENCE_S)
        came = report(ours, "until [ -e /tmp/counted ]; do sleep 0.05; done; cat /tmp/counted")
        assert (came["frames"], came["missing"], came["others"]) == (200, 0, 0), receiver


def configure(station: Station) -> None:
    """Wait for the interface, and give it its address."""
    station.guest.check(
        "until [ -e /sys/class/net/rp0 ]; do sleep 0.05; done;"
        f" ip address add {station.address}/24 dev rp0; ip link set rp0 up",
        PATIENCE_S,
    )


def test_the_interface_needs_the_memory_beside_it(guests: Guests) -> None:
    """Whoever takes function 1 away takes the interface; when it is back, so is that."""
    bare, ours = guests
    card = ours.guest.check("basename $(readlink -f /sys/class/net/rp0/device)").strip()
    memory = f"{card[:-1]}1"
    ours.guest.check(
        f"cd /sys/bus/pci/drivers/ringpass-memdev; echo {memory} >unbind; cd;"
        " ! [ -e /sys/class/net/rp0 ]"
    )
    ours.guest.check(f"echo {memory} >/sys/bus/pci/drivers/ringpass-memdev/bind")
    configure(ours)
    traffic.ping(bare, ours)
    ours.guest.check(
        f"echo 1 >/sys/bus/pci/devices/{memory}/remove; ! [ -e /sys/class/net/rp0 ];"
        f" echo 1 >/sys/bus/pci/devices/{card}/remove; echo 1 >/sys/bus/pci/rescan"
    )
    configure(ours)
    traffic.ping(bare, ours)


def has_carrier(station: Station, up: bool) -> bool:
    return station.guest.check("cat /sys/class/net/rp0/carrier").strip() == str(int(up))


def test_qemus_user_takes_the_link_away(guests: Guests) -> None:
    bare, ours = guests
    with ours.guest.qmp() as qmp:
        for up in (False, True):
            qmp.execute("set_link", name="nic0", up=up)
            wait_until(partial(has_carrier, ours, up), f"carrier {up}", PATIENCE_S)
    traffic.ping(bare, ours)


def test_it_is_plugged_out_and_in_again(lab: Lab, guests: Guests) -> None:
    bare, ours = guests
    card = Nic(socket=Path(lab.daemon.port(ours.port).netdev_path), device="ptnet-pci")
    flood = f"rp-flood rp0 --vary --dst {ours.mac} --seconds 60 --rate 2000"
    bare.guest.check(f"({flood}) >/dev/null 2>&1 &")
    with ours.guest.qmp() as qmp:
        unplug(qmp, "nic0")
        qmp.execute("netdev_del", id="net0")
        assert ours.guest.run("ls -d /sys/class/net/rp0").status != 0
        tell(qmp, f"netdev_add {qemu.ringpass_netdev(card, 1)}")
        tell(qmp, f"device_add {qemu.device(card, 1)}")
    configure(ours)
    bare.guest.check("killall -q rp-flood; wait")
    traffic.ping(bare, ours)
