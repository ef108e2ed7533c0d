# SPDX-License-Identifier: BSD-2-Clause
"""Real guests whose daemon is killed and started again: what they have open goes on."""

import re
from collections.abc import Iterator

import pytest

from ringpass.image import Image
from ringpass.vm.qemu import Emulator
from tests.support.lab import BOOT_S, Lab, Station
from tests.support.traffic import PATIENCE_S

pytestmark = [pytest.mark.guest, pytest.mark.timeout(240)]

PINGS = 50
"""Five a second."""


@pytest.fixture(scope="module")
def stations(image: Image, patched: Emulator) -> Iterator[tuple[Lab, Station, Station]]:
    """Return two guests with a port passed through: one of stock QEMU, one of ours."""
    ports = {f"vale0:vm{number}": {"kind": "passthrough"} for number in (1, 2)}
    with Lab(image, ports) as lab:
        one, other = lab.passed(1), lab.passed(2, patched)
        for each in (one, other):
            each.guest.wait_ready(BOOT_S)
        yield lab, one, other


def test_ping_goes_on_though_the_daemon_was_killed_twice(
    stations: tuple[Lab, Station, Station],
) -> None:
    lab, one, other = stations
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
