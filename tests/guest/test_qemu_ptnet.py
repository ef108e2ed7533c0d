# SPDX-License-Identifier: BSD-2-Clause
"""What a guest and QEMU's user can do to ptnet-pci, on a PCI Express machine that boots once."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass.image import Image
from ringpass.vm import qemu
from ringpass.vm.guest import Guest
from ringpass.vm.nic import Nic
from ringpass.vm.qmp import QmpError
from tests.support.hotplug import tell, unplug
from tests.support.lab import Lab
from tests.support.wait import PATIENCE_S

pytestmark = pytest.mark.guest

PORT = "vale0:vm1"

ALL_REGISTERS = """
import os, sys

# Every size at every offset. An address that is in memory is in its first MiB, which Linux leaves
# alone: the backend may be told to write there.
VALUES = 0, 1, 2, 3, 12, 64, 0x1000, 0x1fc0, 0x80000000, 0xffffffc0, 0xffffffff

for function in sys.argv[1:]:
    fd = os.open(f"/sys/bus/pci/devices/{function}/resource0", os.O_RDWR)
    end = os.fstat(fd).st_size
    for value in VALUES:
        for size in 4, 1, 2:
            word = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            for offset in range(end - size + 1):
                os.pread(fd, size, offset)
                os.pwrite(fd, word, offset)
            for command in 1, 2, 1:
                os.pwrite(fd, command.to_bytes(4, "little"), 4)
    os.close(fd)
"""


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, {PORT: {"kind": "passthrough"}}) as lab:
        yield lab


@pytest.fixture(scope="module")
def card(lab: Lab) -> Nic:
    return Nic(socket=Path(lab.daemon.port(PORT).netdev_path), device="ptnet-pci")


@pytest.fixture(scope="module")
def guest(lab: Lab, card: Nic, patched_qemu: Path) -> Guest:
    """Return a guest that is given a ptnet device in a slot that was empty when it booted."""
    guest = lab.guest(
        "qemu",
        "vm1",
        emulator=qemu.Emulator(program=str(patched_qemu), patched=True),
        extra=(
            *("-machine", "q35"),
            *("-device", "pcie-root-port,id=port1,chassis=1,pref64-reserve=128M"),
        ),
    )
    guest.wait_ready()
    plug(guest, card, 0)
    return guest


def plug(guest: Guest, card: Nic, number: int) -> None:
    """Plug a device in, and wait until the guest has both functions; no driver takes them."""
    with guest.qmp() as qmp:
        tell(qmp, f"netdev_add {qemu.ringpass_netdev(card, number)}")
        tell(qmp, f"device_add {device(card, number)}")
    found = "grep -q 0x10f1 /sys/bus/pci/devices/*/device"
    guest.check(f"until {found}; do sleep 0.05; done", PATIENCE_S)
    assert len(functions(guest)) == 2


def device(card: Nic, number: int) -> str:
    return f"{qemu.device(card, number)},bus=port1,addr=0"


def functions(guest: Guest) -> list[str]:
    """Return the addresses of both functions, if they are there."""
    said = guest.check("cd /sys/bus/pci/devices; grep -l 0x10f[01] */device | cut -d/ -f1; cd")
    return said.split()


def assert_works(guest: Guest) -> None:
    """Have a netmap driver send a frame, and bring up an interface with ours."""
    sent = json.loads(guest.check("rp-ptnet --count 1 send", PATIENCE_S).splitlines()[-1])
    assert sent["frames"] == 1
    guest.check(
        "modprobe ringpass && ip link set rp0 up"
        " && until grep -q 1 /sys/class/net/rp0/carrier; do sleep 0.05; done && rmmod ringpass",
        PATIENCE_S,
    )


def test_every_register_takes_every_value(guest: Guest) -> None:
    guest.write_file("/tmp/all", ALL_REGISTERS.encode())
    both = functions(guest)
    guest.check(f"for f in {' '.join(both)}; do echo 1 >/sys/bus/pci/devices/$f/enable; done")
    guest.check(f"python3 /tmp/all {' '.join(both)}", PATIENCE_S)
    assert_works(guest)


def test_it_is_not_migrated(guest: Guest) -> None:
    with guest.qmp() as qmp, pytest.raises(QmpError, match=f"port '{PORT}' mapped.*unplug"):
        qmp.execute("migrate", uri="exec:cat >/dev/null")


def test_both_functions_come_and_go_together(guest: Guest, card: Nic) -> None:
    for number in range(1, 3):
        with guest.qmp() as qmp:
            unplug(qmp, f"nic{number - 1}")
            assert functions(guest) == []
            qmp.execute("netdev_del", id=f"net{number - 1}")
        plug(guest, card, number)
    assert_works(guest)


def test_a_reset_closes_what_was_open(guest: Guest) -> None:
    guest.check("rp-ptnet --background /tmp/report --seconds 60 receive", PATIENCE_S)
    guest.reboot()
    guest.check("rmmod ringpass")
    assert_works(guest)
