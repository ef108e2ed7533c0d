# SPDX-License-Identifier: BSD-2-Clause
"""Passthrough in the guest image: driver, memory types, and the programs of ringport.

All tests share one boot of two guests, on a switch.
"""

import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass import image as images
from ringpass.image import Image
from ringpass.vm import registry
from ringpass.vm.guest import Guest
from ringpass.vm.nic import Nic
from ringpass.vm.qmp import Qmp
from tests.support.lab import Lab

pytestmark = pytest.mark.guest

COMMAND_S = 90.0
"""Seconds for a command: numpy alone takes ten to load in a guest that shares its processor."""

FRAMES = 1000
"""As many as a ring holds: numpy's first steps with frames take a guest half a second."""

EXAMPLES = "python3 -m ringport.examples"

BUSY = """
import ringport
with ringport.open("netmap:rp0") as port:
    ring = port.rx[0]
    print("mapped", flush=True)
    while True:
        ring.buffer_memory[2 * ring.buf_size]
"""


DATAGRAMS = """
import socket, time
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for port in (53, 54):
        out.sendto(b"hello", ("10.0.0.8", port))
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def image() -> Image:
    return images.ensure("numpy")


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    names = ("vm1", "vm2")
    with Lab(image, {f"vale0:{name}": {"kind": "passthrough"} for name in names}) as lab:
        for number, name in enumerate(names, start=1):
            status = lab.daemon.call("port.show", name=f"vale0:{name}")
            nic = Nic(
                socket=Path(status["path"]),
                vectors=status["vectors"],
                address=f"10.0.0.{number}/24",
                mtu=1400,
            )
            lab.guest("qemu", name, [nic], memory=384)
        for guest in lab.guests.values():
            guest.wait_ready()
        yield lab


@pytest.fixture
def one(lab: Lab) -> Guest:
    return lab.guests["vm1"]


@pytest.fixture
def two(lab: Lab) -> Guest:
    return lab.guests["vm2"]


def begin(guest: Guest, command: str, ready: str = "") -> None:
    """Start a program in the background; wait until it has printed `ready`, if that is anything."""
    guest.check(f"{command} >/tmp/out 2>&1 & echo $! >/tmp/pid")
    if ready:
        wait = f"until grep -q '{ready}' /tmp/out; do [ -d /proc/$(cat /tmp/pid) ] || break; done"
        guest.check(f"{wait}; grep '{ready}' /tmp/out || {{ cat /tmp/out; false; }}", COMMAND_S)


def end(guest: Guest) -> str:
    """End the program that `begin` started; return what it printed."""
    return guest.check("kill $(cat /tmp/pid); wait; cat /tmp/out", COMMAND_S)


def wait_for_host(guest: Guest, address: str) -> None:
    """Wait until somebody at this address answers: a program needs seconds to start."""
    guest.check(f"until ping -c 1 -W 1 {address}; do sleep 0.2; done", COMMAND_S)


def test_init_set_up_the_interface(one: Guest) -> None:
    assert "driver: ringpass" in one.check("ethtool -i rp0")
    address = json.loads(one.check("ip -json address show rp0"))[0]
    assert address["mtu"] == 1400
    assert [entry["local"] for entry in address["addr_info"]] == ["10.0.0.1"]


def test_guests_reach_each_other(one: Guest) -> None:
    one.check("ping -c 3 -i 0.2 -w 30 10.0.0.2")


def bar(guest: Guest) -> tuple[int, int]:
    """Return the first and the last address of the memory of the guest's card."""
    lines = guest.check("cat /sys/bus/pci/drivers/ringpass/0000:*/resource").splitlines()
    first, last, _flags = (int(word, 16) for word in lines[2].split())
    return first, last


def test_region_is_write_back_for_kernel_and_user(one: Guest) -> None:
    """Emulation hides what another type costs on hardware, where it decides about everything."""
    first, last = bar(one)
    one.check("mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug")
    one.write_file("/tmp/busy.py", BUSY.encode())
    begin(one, "python3 /tmp/busy.py", ready="mapped")
    types = one.check("cat /sys/kernel/debug/x86/pat_memtype_list")
    pages = of_processor(one, first, last)
    end(one)

    listed = re.findall(r"mem 0x(\w+)-0x(\w+)\] (\S+)", types)
    ranges = [(int(start, 16), int(stop, 16), kind) for start, stop, kind in listed]
    ours = [each for each in ranges if each[0] <= last and each[1] > first]
    assert {kind for _start, _stop, kind in ours} == {"write-back"}
    assert (min(ours)[0], max(stop for _start, stop, _kind in ours)) == (first, last + 1)

    # A page that has neither bit is write-back, Linux sees to it; the third one does not matter.
    assert {flag for _where, flags in pages for flag in flags} <= set("XGPDAUW")
    assert {"U" in flags for _where, flags in pages} == {True, False}


def of_processor(guest: Guest, first: int, last: int) -> list[tuple[int, str]]:
    """Return virtual address and flags of each page of that memory, as the processor finds them.

    QEMU walks the page tables of the moment, so somebody has to be using the memory: until then.
    """
    deadline = time.monotonic() + COMMAND_S
    with Qmp(guest.directory / registry.QMP, timeout=COMMAND_S) as qmp:
        while True:
            tables = qmp.execute("human-monitor-command", command_line="info tlb")
            found = [
                (int(where, 16), flags.replace("-", ""))
                for where, to, flags in re.findall(r"(\w{16}): (\w{16}) (\S+)", tables)
                if first <= int(to, 16) <= last
            ]
            if any("U" in flags for _where, flags in found) or time.monotonic() > deadline:
                return found


@pytest.mark.parametrize("way", ["", " --slots"], ids=["numpy", "slots"])
def test_generator_in_one_guest_fills_the_sink_in_another(one: Guest, two: Guest, way: str) -> None:
    begin(two, f"{EXAMPLES}.sink netmap:rp0 {FRAMES}{way}", ready="receiving")
    one.check(f"{EXAMPLES}.generator netmap:rp0 {FRAMES}{way}", COMMAND_S)
    two.check("wait $(cat /tmp/pid)", COMMAND_S)
    assert "0 frames lost" in two.check("cat /tmp/out").splitlines()


def test_responder_takes_the_interface_and_gives_it_back(one: Guest, two: Guest) -> None:
    begin(two, f"{EXAMPLES}.responder netmap:rp0 10.0.0.9")
    wait_for_host(one, "10.0.0.9")
    assert one.run("ping -c 1 -W 1 10.0.0.2").status != 0
    end(two)
    wait_for_host(one, "10.0.0.2")


@pytest.mark.parametrize("way", ["", " --slots"], ids=["numpy", "slots"])
def test_bridges_lead_to_a_host_behind_a_pipe(one: Guest, two: Guest, way: str) -> None:
    """In the second guest the port, a pipe, a bridge to another pipe, and a host at its end."""
    two.check(
        f"{EXAMPLES}.responder 'netmap:rp0}}2' 10.0.0.9 >/tmp/host 2>&1 & "
        f"{EXAMPLES}.bridge 'netmap:rp0}}1' 'netmap:rp0{{2'{way} >/tmp/bridge 2>&1 & "
        f"{EXAMPLES}.bridge netmap:rp0 'netmap:rp0{{1'{way} >/tmp/out 2>&1 & echo $! >/tmp/pid"
    )
    wait_for_host(one, "10.0.0.9")
    two.check("killall python3; wait; cat /tmp/host /tmp/bridge /tmp/out", COMMAND_S)


def test_counter_counts_what_a_filter_hands_on(one: Guest, two: Guest) -> None:
    two.check(
        f"{EXAMPLES}.counter 'netmap:rp0}}1' --interval 0.5 >/tmp/counted & "
        f"{EXAMPLES}.filter netmap:rp0 'netmap:rp0{{1' 53 >/tmp/out 2>&1 & echo $! >/tmp/pid"
    )
    one.check("ip neighbour replace 10.0.0.8 lladdr 02:00:00:00:00:08 dev rp0")
    one.check(f"python3 -c {shlex.quote(DATAGRAMS)} & echo $! >/tmp/pid")
    two.check("until grep -q 0x0800 /tmp/counted; do sleep 0.1; done", COMMAND_S)
    end(one)
    two.check("killall python3; wait", COMMAND_S)
