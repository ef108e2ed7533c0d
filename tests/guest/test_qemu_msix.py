# SPDX-License-Identifier: BSD-2-Clause
"""MSI-X on vhost-user without KVM: the end of stock QEMU 7.2, and interrupts with our patch."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass.image import Image
from ringpass.vm.guest import GuestError
from ringpass.vm.qemu import Emulator
from tests.support import traffic
from tests.support.lab import Lab

pytestmark = pytest.mark.guest

UNGUARDED = Emulator(patched=True)
"""Stock QEMU, with the command line of one that has the patch: nothing keeps it from MSI-X."""


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, ["vale0:vm1", "vale0:vm2", "vale0:vm3"]) as lab:
        yield lab


def test_interrupts_of_the_patched_qemu_are_msi_x(lab: Lab, patched_qemu: Path) -> None:
    emulator = Emulator(program=str(patched_qemu), patched=True)
    first, second = lab.station("qemu1", emulator=emulator), lab.station("uml2")
    for station in (first, second):
        station.guest.wait_ready()
    before = interrupts(first.guest.check("cat /proc/interrupts"))
    traffic.ping(second, first, count=20)
    after = interrupts(first.guest.check("cat /proc/interrupts"))
    assert after["input.0"] - before["input.0"] >= 20
    assert before.keys() == {"config", "input.0", "output.0"}


def test_stock_qemu_crashes(lab: Lab) -> None:
    """The day this fails, the guard of the command line can go."""
    station = lab.station("qemu3", emulator=UNGUARDED)
    with pytest.raises(GuestError, match="exit code 139"):  # 128 + SIGSEGV
        station.guest.wait_ready()


def interrupts(table: str) -> dict[str, int]:
    """Return how many MSI-X interrupts the network card's queues had, by the queue's name."""
    found = re.findall(r"^ *\d+: +(\d+) .*PCI-MSI \S+ +virtio\d+-(\S+)$", table, re.MULTILINE)
    return {name: int(count) for count, name in found}
