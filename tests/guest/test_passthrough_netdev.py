# SPDX-License-Identifier: BSD-2-Clause
"""rp0, the interface that the guest's driver makes of a port that is passed through.

Two guests have one each, through ivshmem-doorbell of stock QEMU and through ptnet-pci of ours, on a
switch with a third guest, whose card is a vhost-user one. They boot once, and their kernels must
have nothing to complain of after any of the tests. What they have open goes on when the daemon is
killed and started again.
"""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ringpass.image import Image
from ringpass.vm.guest import Guest
from ringpass.vm.qemu import Emulator
from tests.support import traffic
from tests.support.lab import Lab, Station
from tests.support.wait import PATIENCE_S, wait_until

pytestmark = pytest.mark.guest

PATIENT: dict[str, object] = {"hold_us": 1_000_000}
PORTS: dict[str, dict[str, object]] = {
    "vale0:vm1": {"kind": "passthrough", "queues": 2, "mtu": 9000, **PATIENT},
    "vale0:vm2": {"kind": "passthrough", "offloads": [], "mtu": 9000, **PATIENT},
    "vale0:vm3": {"mtu": 9000, **PATIENT},
}

COMPLAINTS = re.compile(r"BUG|WARNING|Oops|Call Trace|rp\d: |ringpass.*(cannot|not|error)")
"""What a kernel says that found a fault, and the driver that found one in its host."""


class Guests(NamedTuple):
    """With 2 queues and offloads and ivshmem; with 1, none and ptnet; with a vhost-user card."""

    rich: Station
    poor: Station
    other: Station

    def of(self, who: str) -> Station:
        """Return the guest of this name."""
        station: Station = getattr(self, who)
        return station


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, PORTS) as lab:
        yield lab


@pytest.fixture(scope="module")
def booted(lab: Lab, patched: Emulator) -> Guests:
    guests = Guests(lab.passed(1, smp=2), lab.passed(2, patched), lab.station("uml3"))
    for station in guests:
        station.guest.wait_ready()
    for station in guests[:2]:
        station.guest.check("dmesg -c")
    return guests


@pytest.fixture
def guests(booted: Guests) -> Iterator[Guests]:
    """Return the guests; at the end their kernels must not have complained."""
    yield booted
    for station in booted[:2]:
        said = station.guest.check("dmesg -c")
        assert not COMPLAINTS.search(said), said


def counters(station: Station) -> dict[str, int]:
    """Return what `ethtool -S` shows."""
    shown = station.guest.check(f"ethtool -S {station.interface}")
    return {name: int(value) for name, value in re.findall(r"(\w+): (\d+)$", shown, re.MULTILINE)}


def wait_carrier(guest: Guest, up: bool) -> None:
    """Wait for the interface to have a link, or none."""
    wanted = str(int(up))
    wait_until(
        lambda: guest.run("cat /sys/class/net/rp0/carrier").output.strip() == wanted,
        f"carrier {wanted}",
        PATIENCE_S,
    )


def test_it_says_what_it_is(guests: Guests) -> None:
    rich = guests.rich.guest
    assert rich.check("cat /sys/class/net/rp0/address").strip() == guests.rich.mac
    assert rich.check("cat /sys/class/net/rp0/mtu").strip() == "1500"
    assert rich.check("cat /sys/class/net/rp0/carrier").strip() == "1"
    about = rich.check("ethtool -i rp0")
    assert "driver: ringpass\n" in about
    assert "firmware-version: vale0:vm1\n" in about
    assert re.findall(r"^[RT]X:\s+(\d+)", rich.check("ethtool -l rp0"), re.MULTILINE) == 4 * ["2"]
    assert re.findall(r"^[RT]X:\s+(\d+)", rich.check("ethtool -g rp0"), re.MULTILINE) == 4 * [
        "1024"
    ]
    assert "Link detected: yes" in rich.check("ethtool rp0")


def test_features_are_those_that_the_port_offers(guests: Guests) -> None:
    wanted = ("tx-checksum-ip-generic", "tx-tcp-segmentation", "tx-tcp6-segmentation")
    for station, state in ((guests.rich, "on"), (guests.poor, "off")):
        shown = station.guest.check("ethtool -k rp0")
        for feature in wanted:
            assert re.search(rf"{feature}: {state}\b", shown), shown


@pytest.mark.parametrize(("who", "function", "bar"), [("rich", 0, 2), ("poor", 1, 1)])
def test_the_region_is_mapped_write_back(guests: Guests, who: str, function: int, bar: int) -> None:
    """What the kernel's mapping says counts only where no MTRR says uncachable."""
    guest = guests.of(who).guest
    guest.run("mount -t debugfs none /sys/kernel/debug")
    types = guest.check("cat /sys/kernel/debug/x86/pat_memtype_list")
    device = guest.check("readlink -f /sys/class/net/rp0/device").strip()[:-1]
    bars = guest.check(f"cat {device}{function}/resource").splitlines()
    first, last, _flags = (int(word, 16) for word in bars[bar].split())
    mapped = re.findall(r"0x(\w+)-0x(\w+)\] (\S+)", types)
    assert {kind for start, _, kind in mapped if first <= int(start, 16) <= last} == {"write-back"}
    uncachable = re.findall(
        r"base=0x(\w+).*size=\s*(\d+)MB.*uncachable", guest.check("cat /proc/mtrr")
    )
    for base, megabytes in uncachable:
        start = int(base, 16)
        assert last < start or first >= start + (int(megabytes) << 20)


@pytest.mark.parametrize("size", [56, 1472])
def test_echoes_come_back(guests: Guests, size: int) -> None:
    for source, target in ((guests.rich, guests.poor), (guests.other, guests.rich)):
        traffic.ping(source, target, size=size)


@pytest.mark.parametrize("size", [60, 1514])
@pytest.mark.parametrize("way", ["rich-poor", "poor-rich", "rich-other", "other-poor"])
def test_floods_arrive_whole(guests: Guests, way: str, size: int) -> None:
    sender, receiver = (guests.of(name) for name in way.split("-"))
    before = counters(guests.rich), counters(guests.poor)
    flood = traffic.flood(sender, receiver, size=size, count=3000)
    flood.assert_whole()
    for old, station in zip(before, (guests.rich, guests.poor), strict=True):
        now = counters(station)
        for side, wanted in (("tx", station is sender), ("rx", station is receiver)):
            frames = sum(
                now[name] - old[name]
                for name in now
                if re.fullmatch(rf"{side}_queue_\d_packets", name)
            )
            assert (frames >= 3000) == wanted
        assert not [name for name in now if "errors" in name and now[name] != old[name]]


def test_tcp_both_ways(guests: Guests) -> None:
    """In segments that stay in one piece, where both ends take them."""
    traffic.exchange_tcp(guests.poor, guests.rich)
    traffic.exchange_tcp(guests.other, guests.rich, segments=True)


def test_large_frames_up_to_the_mtu_of_the_port(guests: Guests) -> None:
    stations = (guests.rich, guests.poor)
    for station in stations:
        station.guest.check("ip link set rp0 mtu 9000")
        assert station.guest.run("ip link set rp0 mtu 9001").status != 0
    traffic.ping(*stations, size=8972)
    for station in stations:
        station.guest.check("ip link set rp0 mtu 1500")


def test_down_and_up(lab: Lab, guests: Guests) -> None:
    guests.poor.guest.check("ip link set rp0 down")
    assert lab.daemon.port(guests.poor.port).users == []
    guests.poor.guest.check("ip link set rp0 up")
    traffic.ping(guests.rich, guests.poor)


def scribble_heads(guest: Guest) -> None:
    """Set the heads of all rings to what they can't be, in the memory that a guest's QEMU maps."""
    fds = Path(f"/proc/{guest.pid}/fd").iterdir()
    memfds = [fd for fd in fds if str(fd.readlink()).startswith("/memfd:")]
    region = next(fd for fd in memfds if fd.open("rb").read(8) == b"ringpass")
    with region.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        words = memoryview(memory).cast("I")
        # rp_directory.csb_pool: where, how many, of what size. A record begins with a head.
        first, count, step = words[6] // 4, words[8], words[9] // 4
        for record in range(count):
            words[first + record * step] = 0xFFFFFFFF
        words.release()


def test_a_broken_port_has_no_link_until_it_is_repaired(lab: Lab, guests: Guests) -> None:
    guest = guests.poor.guest
    scribble_heads(guest)
    guests.rich.guest.run(f"ping -c 1 -W 1 {guests.poor.address}")
    lab.daemon.wait_port(guests.poor.port, "broken")
    wait_carrier(guest, up=False)
    guest.check("dmesg -c")
    assert lab.daemon.run("port", "repair", guests.poor.port).returncode == 0
    wait_carrier(guest, up=True)
    traffic.ping(guests.rich, guests.poor)


@pytest.mark.parametrize("leaver", ["receiver", "sender"])
def test_the_driver_leaves_under_traffic_and_comes_back(guests: Guests, leaver: str) -> None:
    sender, receiver = guests.rich, guests.poor
    traffic.introduce(receiver, sender)
    flood = f"rp-flood rp0 --vary --dst {receiver.mac} --seconds 60 --size 60"
    sender.guest.check(f"({flood}) >/dev/null 2>&1 & sleep 0.3")
    station = receiver if leaver == "receiver" else sender
    station.guest.check("rmmod ringpass && ! ip link show rp0", PATIENCE_S)
    sender.guest.check("killall -q rp-flood; wait")
    station.guest.check(
        f"modprobe ringpass && ip address add {station.address}/24 dev rp0 && ip link set rp0 up",
        PATIENCE_S,
    )
    traffic.ping(sender, receiver)


@pytest.mark.parametrize("who", ["rich", "poor"])
def test_it_can_be_bound_anew(guests: Guests, who: str) -> None:
    guest, address = guests.of(who).guest, guests.of(who).address
    guest.check(
        "cd /sys/bus/pci/drivers/ringpass; card=$(echo 0000:*); echo $card >unbind;"
        " ! ip link show rp0 && echo $card >bind; cd;"
        f" ip address add {address}/24 dev rp0; ip link set rp0 up"
    )
    traffic.ping(guests.rich, guests.poor)


@pytest.mark.parametrize("who", ["rich", "poor"])
def test_it_sleeps_and_wakes_up_with_the_guest(guests: Guests, who: str) -> None:
    """Suspend to RAM, in which QEMU resets the device."""
    guest = guests.of(who).guest
    with guest.qmp() as qmp:
        asleep = guest.begin("echo mem >/sys/power/state")
        wait_until(
            lambda: qmp.execute("query-status")["status"] == "suspended", "suspended", PATIENCE_S
        )
        qmp.execute("system_wakeup")
        assert asleep.wait(PATIENCE_S).status == 0
    traffic.ping(guests.rich, guests.poor)
    traffic.exchange_tcp(guests.poor, guests.rich, size=200_000)


def test_a_guest_that_reboots_has_its_port_again(guests: Guests) -> None:
    guests.poor.guest.reboot()
    guests.poor.guest.check("dmesg -c")
    traffic.ping(guests.rich, guests.poor)


PINGS = 50
"""Five a second."""


def test_ping_goes_on_though_the_daemon_was_killed_twice(lab: Lab, booted: Guests) -> None:
    """The last test of this file: the third guest's User-mode Linux has no card afterwards."""
    one, other = booted.rich, booted.poor
    boots = [each.guest.check("cat /proc/sys/kernel/random/boot_id") for each in (one, other)]
    one.guest.check(f"ping -c 2 {other.address}", PATIENCE_S)
    one.guest.check("dmesg -c >/dev/null")
    one.guest.check(
        f"(ping -i 0.2 -c {PINGS} {other.address} >/tmp/pings; mv /tmp/pings /tmp/pinged) "
        ">/dev/null 2>&1 &"
    )
    for _ in range(2):
        lab.daemon.kill()
        lab.daemon.start()
        one.guest.check(f"ping -c 2 {other.address}", PATIENCE_S)
        other.guest.check(f"ping -c 2 {one.address}", PATIENCE_S)
    said = one.guest.check(
        "until [ -e /tmp/pinged ]; do sleep 0.1; done; cat /tmp/pinged", PATIENCE_S
    )
    received = re.search(r"(\d+) packets received", said) or re.search(r"(\d+) received", said)
    assert received is not None, said
    # A daemon that starts lets what waits in the rings go: next to nothing is lost.
    assert int(received[1]) >= PINGS - 2, said
    for each, boot in zip((one, other), boots, strict=True):
        assert each.guest.check("cat /proc/sys/kernel/random/boot_id") == boot
        assert lab.daemon.port(each.port).state == "up"
    assert not re.search(r"BUG|WARNING|Oops|hello", one.guest.check("dmesg -c"))
