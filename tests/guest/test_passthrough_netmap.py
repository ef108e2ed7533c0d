# SPDX-License-Identifier: BSD-2-Clause
"""/dev/netmap in a guest that has a port of the backend: real programs on a real kernel."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ringpass.image import Image
from ringpass.vm.guest import Guest
from ringpass.vm.nic import Nic
from tests.support import guest_programs
from tests.support.lab import Lab
from tests.support.netmap_run import compiled, received, running, served
from tests.support.traffic import IDLE_S

pytestmark = pytest.mark.guest

PORT = "vale0:vm1"
OTHER = "vale0:vm2"
#: Where the guest's driver is, and the device of OTHER in it.
DRIVER = "/sys/bus/pci/drivers/ringpass"
DEVICE_FILE = "/tmp/device-of-other"
PATIENCE_S = 120.0
#: Of the tests of netmap's semantics, those that need ports of a switch with names of their own,
#: and those that count on epoll to sync all ports: the kernel's asks those that were called.
ELSEWHERE = {
    "frames_cross_a_switch",
    "a_port_can_be_registered_elsewhere",
    "the_kernels_members_are_told_beside_ours",
    "waiting_on_a_set_sends_what_is_pending",
}
TROUBLE = re.compile(r"BUG|WARNING:|Oops|Call Trace|general protection|RCU|lockdep|hung task")


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, {key: {"kind": "passthrough"} for key in (PORT, OTHER)}) as lab:
        yield lab


@pytest.fixture(scope="module")
def booted(lab: Lab) -> Guest:
    status = [lab.daemon.port(name) for name in (PORT, OTHER)]
    nics = [Nic(socket=Path(port.path), vectors=port.vectors) for port in status]
    guest = lab.guest("qemu", "g1", nics, smp=2)
    guest.wait_ready()
    # With one device any name will do, so the other one is there for its own test only.
    guest.check(f"basename $(readlink -f /sys/class/net/rp1/device) >{DEVICE_FILE}")
    guest.check(f"cat {DEVICE_FILE} >{DRIVER}/unbind")
    return guest


@pytest.fixture
def guest(booted: Guest) -> Iterator[Guest]:
    """Return the guest, whose kernel must have nothing to complain about afterwards."""
    booted.check("dmesg -c >/dev/null")
    yield booted
    said = booted.check("dmesg -c")
    assert not TROUBLE.search(said), said


def report(guest: Guest, command: str) -> dict[str, Any]:
    """Return what rp-nmflood prints."""
    found: dict[str, Any] = json.loads(guest.check(command, PATIENCE_S).splitlines()[-1])
    return found


def counted(guest: Guest, receiver: str, sender: str, count: int) -> dict[str, Any]:
    """Send frames from one port to another in the guest; return what the receiver counted."""
    options = f"--receive --count {count} --idle {IDLE_S} --background /tmp/counted"
    guest.check(f"rp-nmflood {options} '{receiver}'")
    sent = report(guest, f"rp-nmflood --count {count} --seconds {PATIENCE_S} '{sender}'")
    assert sent["frames"] == count
    return report(guest, "until [ -e /tmp/counted ]; do sleep 0.05; done; cat /tmp/counted")


@pytest.mark.parametrize("subject", ["poll", "epoll", "kloop"])
def test_programs_find_netmaps_semantics(subject: str, guest: Guest, tmp_path: Path) -> None:
    path = guest_programs.install(guest, subject, tmp_path)
    names = [name for name in guest_programs.tests_of(subject) if name not in ELSEWHERE]
    assert names
    guest.check(f"(for t in {' '.join(names)}; do {path} $t || exit 1; done)", PATIENCE_S)


def test_two_programs_share_a_pipe(guest: Guest) -> None:
    got = counted(guest, "netmap:rp0}1", "netmap:rp0{1", 20_000)
    assert (got["frames"], got["missing"], got["late"], got["others"]) == (20_000, 0, 0, 0)


def test_a_monitor_sees_what_the_port_sends(guest: Guest) -> None:
    got = counted(guest, "netmap:rp0/t", "netmap:rp0", 200)
    assert (got["frames"], got["missing"], got["others"]) == (200, 0, 0)


@contextmanager
def host_receives(lab: Lab, place: Path, count: int) -> Iterator[Callable[[], list[bytes]]]:
    """Have a program of the host receive frames; yield what returns them when they came."""
    receiver = served(compiled("frames", place), "receive", "vale0:host", str(count))
    environment = f"RINGPASS_RUNTIME_DIR={lab.daemon.runtime_dir}"
    with running(["env", environment, *receiver], "ready") as process:
        yield lambda: received(process, count)


def test_frames_reach_a_program_of_the_host(guest: Guest, lab: Lab, tmp_path: Path) -> None:
    with host_receives(lab, tmp_path, 50) as frames:
        assert report(guest, "rp-nmflood --count 50 netmap:rp0")["frames"] == 50
        assert [int.from_bytes(frame[14:22]) for frame in frames()] == list(range(50))


def test_indirect_slots_are_sent(guest: Guest, lab: Lab, tmp_path: Path) -> None:
    path = guest_programs.install(guest, "indirect", tmp_path)
    with host_receives(lab, tmp_path, 3) as frames:
        guest.check(f"{path} netmap:rp0")
        assert [frame[14] for frame in frames()] == [1, 3, 4]


def test_the_interface_is_without_rings_while_a_program_has_them(guest: Guest) -> None:
    sends = "rp-flood --count 10 --seconds 1 rp0"
    counter = "cat /sys/class/net/rp0/statistics/tx_packets"
    guest.check("ip link set rp0 up")
    before = int(guest.check(counter))
    guest.check("rp-nmflood --receive --background /tmp/held --seconds 30 netmap:rp0")
    guest.run(sends)
    assert int(guest.check(counter)) == before
    guest.check("killall rp-nmflood; until [ -e /tmp/held ]; do sleep 0.05; done")
    guest.check(sends)
    assert int(guest.check(counter)) >= before + 10


def check_sends(guest: Guest, interface: str) -> None:
    """Check that frames of the network stack leave by the interface."""
    counter = f"cat /sys/class/net/{interface}/statistics/tx_packets"
    before = int(guest.check(counter))
    guest.check(f"ip link set {interface} up; rp-flood --count 10 --seconds 1 {interface}")
    assert int(guest.check(counter)) >= before + 10


def test_a_question_about_another_device_leaves_a_bound_file_alone(
    guest: Guest, tmp_path: Path
) -> None:
    path = guest_programs.install(guest, "two", tmp_path)
    guest.check(f"ip link set rp0 up; cat {DEVICE_FILE} >{DRIVER}/bind; ip link set rp1 up")
    guest.check(f"{path} netmap:rp0 rp1", PATIENCE_S)
    for interface in ("rp0", "rp1"):
        check_sends(guest, interface)
    guest.check(f"cat {DEVICE_FILE} >{DRIVER}/unbind")


def test_an_interface_may_have_any_name(guest: Guest) -> None:
    def rename(old: str, new: str) -> None:
        guest.check(f"ip link set {old} down; ip link set {old} name {new}")

    rename("rp0", "lan-0")
    check_sends(guest, "lan-0")
    rename("lan-0", "rp0")
    check_sends(guest, "rp0")


def test_a_killed_program_leaves_its_port(guest: Guest) -> None:
    for port in ("netmap:rp0", "netmap:rp0{3"):
        guest.check(f"rp-nmflood --receive --background /tmp/none '{port}'; killall -9 rp-nmflood")
        guest.check("while pidof rp-nmflood; do sleep 0.05; done")
        assert (
            report(guest, f"rp-nmflood --count 10 --seconds {PATIENCE_S} '{port}'")["frames"] == 10
        )


def test_ringport_opens_pipes_in_the_guest(guest: Guest) -> None:
    program = b"""
import ringport

with ringport.open("netmap:rp0{5") as a, ringport.open("netmap:rp0}5") as b:
    for number in range(3000):
        while not a.tx[0].put(number.to_bytes(60)):
            a.txsync()
            b.rxsync()
            while frame := b.rx[0].get():
                pass
    a.txsync()
    assert b.wait_readable(5)
    frames = list(iter(b.rx[0].get, None))
    assert int.from_bytes(frames[-1]) == 2999
"""
    guest.write_file("/tmp/pipes.py", program)
    guest.check("python3 /tmp/pipes.py", PATIENCE_S)


def test_a_hostile_program_does_not_trouble_the_kernel(guest: Guest, tmp_path: Path) -> None:
    path = guest_programs.install(guest, "hostile", tmp_path)
    ports = "rp0 'rp0{1' 'rp0}1' rp0/t 'rp0}7' netmap:rp0 nothing"
    guest.check(f"{path} 1 4 {ports}", PATIENCE_S)
    test_two_programs_share_a_pipe(guest)


def test_the_module_stays_while_a_file_is_open(guest: Guest) -> None:
    guest.check("rp-nmflood --receive --background /tmp/held2 netmap:rp0")
    assert guest.run("rmmod ringpass").status != 0
    guest.check("killall rp-nmflood; while pidof rp-nmflood; do sleep 0.05; done")
    guest.check("rmmod ringpass && modprobe ringpass && ip link show rp0")
    test_two_programs_share_a_pipe(guest)


def test_a_program_sees_its_device_go(guest: Guest, tmp_path: Path) -> None:
    path = guest_programs.install(guest, "gone", tmp_path)
    guest.check(f"{path} netmap:rp0 {DRIVER} $(basename $(readlink -f /sys/class/net/rp0/device))")
    test_two_programs_share_a_pipe(guest)


def test_a_program_that_scribbles_does_not_trouble_the_kernel(guest: Guest, tmp_path: Path) -> None:
    path = guest_programs.install(guest, "scribble", tmp_path)
    guest.check(f"{path} 1 3 rp0", PATIENCE_S)
    # It broke its own port at most: the mailbox works, and with it everything else.
    test_two_programs_share_a_pipe(guest)
    guest.check("rmmod ringpass", PATIENCE_S)
