# SPDX-License-Identifier: BSD-2-Clause
"""Hosts that lie to the guest's driver: it says what is wrong, and the guest goes on.

One guest has a device of each of them, and of an honest one.
"""

import errno
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest

from ringpass.image import Image
from ringpass.netmap.attach import RING
from ringpass.passthrough.guest import Op
from ringpass.passthrough.pairs import drain
from ringpass.vm.guest import Guest
from ringpass.vm.nic import Nic
from tests.support.lying_host import (
    GUESTS_AT,
    NO_PEER,
    RINGS_AT,
    RX,
    RX_VECTOR,
    SLOTS,
    TX,
    VECTORS,
    Host,
    Hosts,
)
from tests.support.wait import wait_until

pytestmark = pytest.mark.guest


class Foreign(Host):
    """A device that somebody else uses."""

    says = ""

    def describe(self) -> None:
        super().describe()
        self.at("rp_directory", 0).magic = 1


class OtherVersion(Host):
    says = "directory has version 99"

    def describe(self) -> None:
        super().describe()
        self.at("rp_directory", 0).version = 99


class PoolOutside(Host):
    says = "pools do not lie inside"

    def describe(self) -> None:
        super().describe()
        self.at("rp_directory", 0).buf_pool.objtotal = 0xFFFFFFFF


class NoRecord(Host):
    says = "no record of this guest"

    def describe(self) -> None:
        super().describe()
        self.at("rp_guest", GUESTS_AT).peer = 77


class TooManyRings(Host):
    says = "no rings, or too many"

    def describe(self) -> None:
        super().describe()
        self.at("rp_guest", GUESTS_AT).rx_rings = 0xFFFF


class TooManyVectors(Host):
    says = "its port needs 500: start QEMU with vectors="

    def describe(self) -> None:
        super().describe()
        self.at("rp_guest", GUESTS_AT).vectors = 500


class Silent(Host):
    says = "does not answer"

    def serve(self) -> None:
        drain(self.doorbells[0])


class EndlessAnswer(Host):
    says = "contradicts itself"

    def answer(self, op: int, data: bytes) -> bytes:
        longer = bytearray(super().answer(op, data))
        longer[8:12] = 4 * b"\xff"  # rp_nm_answer.bytes
        return bytes(longer)


UNUSABLE: list[type[Host]] = [
    Foreign,
    OtherVersion,
    PoolOutside,
    NoRecord,
    TooManyRings,
    TooManyVectors,
    Silent,
    EndlessAnswer,
]
"""Hosts whose devices make no interface."""


class RingOutside(Host):
    says = "cannot use the rings"

    def rings(self) -> list[bytes]:
        return [RING.pack(1 << 40, 0, NO_PEER, TX, 0, 0, 1, 1, -1, 0), super().rings()[1]]


class NoSuchRecord(Host):
    says = "cannot use the rings"

    def rings(self) -> list[bytes]:
        return [RING.pack(RINGS_AT, 0x10000, NO_PEER, TX, 0, 0, 1, 1, -1, 0), super().rings()[1]]


class VectorOutside(Host):
    says = "cannot use the rings"

    def rings(self) -> list[bytes]:
        tx, _ = super().rings()
        return [tx, RING.pack(RINGS_AT + 1024, 1, NO_PEER, RX, 0, 0, -1, 0x7FFF, -1, 0)]


class LongerRing(Host):
    """A ring with more slots than there is memory for."""

    says = "cannot use the rings"

    def describe(self) -> None:
        super().describe()
        self.ring(0).num_slots = 1 << 31


class OneRingMissing(Host):
    says = "other rings than before"

    def rings(self) -> list[bytes]:
        return super().rings()[:1]


REFUSED: list[type[Host]] = [RingOutside, NoSuchRecord, VectorOutside, LongerRing, OneRingMissing]
"""Hosts whose rings a driver must refuse."""


class TailOutside(Host):
    says = "stopped: an rx ring's tail"

    def registered(self) -> None:
        self.csb(1).ktoa.hwtail = 0xFFFFFFFF
        self.call(RX_VECTOR)


class HeadsChange(Host):
    """Words that are the driver's to write."""

    says = "stopped: an rx ring's words"

    def registered(self) -> None:
        self.csb(1).atok.head = 0xFFFFFFFF
        self.csb(1).ktoa.hwtail = 1
        self.call(RX_VECTOR)


BROKEN: list[type[Host]] = [TailOutside, HeadsChange]
"""Hosts that do what they may not when the rings are in use."""


class BadSlots(Host):
    """Frames too long, in buffers that are not there, or that never end."""

    says = ""
    frames: ClassVar[int] = 3

    def registered(self) -> None:
        slots = self.ring(1).slot
        slots[0].len = 0xFFFF
        slots[1].len, slots[1].buf_idx = 60, 0xFFFFFFFF
        for slot in range(2, SLOTS - 1):
            slots[slot].len, slots[slot].flags = 60, 0x20
        self.csb(1).ktoa.hwtail = SLOTS - 1
        self.call(RX_VECTOR)


class Refuses(Host):
    """A host that refuses registrations for a while after the first."""

    code: ClassVar[int]
    times: ClassVar[int]

    def answer(self, op: int, data: bytes) -> bytes:
        answer = bytearray(super().answer(op, data))
        if op == Op.CALL and 1 < self.requests.count(Op.CALL) <= 1 + self.times:
            answer[4:8] = self.code.to_bytes(4, "little")  # rp_nm_answer.error
        return bytes(answer)


class Busy(Refuses):
    code, times = errno.EBUSY, 1


class Forgetful(Refuses):
    """It forgets the guest as soon as it greeted it."""

    code, times = errno.ESTALE, 4


RELUCTANT: list[type[Host]] = [Busy, Forgetful]
"""Hosts that a driver should try again with, but not all the time."""

HOSTS: list[type[Host]] = [*UNUSABLE, *REFUSED, *BROKEN, *RELUCTANT, BadSlots, Host]


class World:
    """The guest, and its hosts in the order of its PCI slots."""

    def __init__(self, guest: Guest, hosts: list[Host]) -> None:
        self.guest = guest
        self.hosts = hosts

    def host(self, kind: type[Host]) -> Host:
        """Return a host."""
        return self.hosts[HOSTS.index(kind)]

    def read(self, kind: type[Host], name: str) -> int:
        """Return a number that the kernel shows of a host's interface."""
        return int(self.guest.check(f"cat /sys/class/net/{self.interface(kind)}/{name}"))

    def calls(self, kind: type[Host]) -> int:
        """Return how many interrupts of a host's rx ring there were."""
        name = f"ringpass-{self.card(kind)}-{RX_VECTOR}"
        return int(self.guest.check(f"awk '/{name}/ {{ print $2 }}' /proc/interrupts"))

    def card(self, kind: type[Host]) -> str:
        """Return the PCI address of a host's device."""
        return f"0000:00:{2 + HOSTS.index(kind):02x}.0"

    def interface(self, kind: type[Host]) -> str:
        """Return the name of the interface of a host's device; empty if it has none."""
        listed = f"ls /sys/bus/pci/devices/{self.card(kind)}/net 2>/dev/null"
        return self.guest.run(listed).output.strip()

    def said(self, kind: type[Host]) -> str:
        """Return the driver's errors about a device."""
        errors = self.guest.check("dmesg -r").splitlines()
        return "\n".join(line for line in errors if self.card(kind) in line and line[1] in "0123")


@pytest.fixture(scope="module")
def world(image: Image) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="rp-") as name:
        directory = Path(name)
        hosts = [kind(directory) for kind in HOSTS]
        cards = [Nic(socket=host.path, vectors=VECTORS) for host in hosts]
        guest = Guest.qemu(image, cards, name="liars", directory=directory / "vm")
        with Hosts(hosts):
            guest.start()
            try:
                guest.wait_ready()
                yield World(guest, hosts)
            finally:
                guest.kill()


@pytest.fixture(autouse=True)
def unharmed(world: World) -> Iterator[None]:
    """The guest's kernel must be as it was."""
    yield
    said = world.guest.check("dmesg")
    assert not any(word in said for word in ("BUG", "WARNING", "Oops", "Call Trace", "hung")), said


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_device_that_cannot_be_used(world: World, kind: type[Host]) -> None:
    assert world.interface(kind) == ""
    said = world.said(kind)
    if kind is Foreign:
        assert "ringpass" not in said
    else:
        assert kind.says in said
        assert len(said.splitlines()) == 1


@pytest.mark.parametrize("kind", REFUSED)
def test_rings_that_are_refused(world: World, kind: type[Host]) -> None:
    interface = world.interface(kind)
    assert world.guest.run(f"ip link set {interface} up").status != 0
    assert kind.says in world.said(kind)


@pytest.mark.parametrize("kind", BROKEN)
def test_rings_that_break(world: World, kind: type[Host]) -> None:
    interface, host = world.interface(kind), world.host(kind)
    world.guest.check(f"ip link set {interface} up")
    wait_until(lambda: kind.says in world.said(kind), kind.says)
    assert world.read(kind, "carrier") == 0
    calls, errors = world.calls(kind), world.read(kind, "statistics/rx_errors")
    host.csb(1).ktoa.hwtail = 9
    host.call(RX_VECTOR)
    wait_until(lambda: world.calls(kind) > calls, "interrupt")
    assert world.read(kind, "statistics/rx_errors") == errors, "it goes on taking frames"
    world.guest.check(f"ip link set {interface} down")


def refused(host: Host) -> bool:
    """Return whether a host refused a registration."""
    return host.requests.count(Op.CALL) > 1


def test_it_tries_again_but_not_all_the_time(world: World) -> None:
    for kind in RELUCTANT:
        world.guest.check(f"ip link set {world.interface(kind)} up")
    begun = time.monotonic()
    for kind in RELUCTANT:
        host = world.host(kind)
        host.at("rp_guest", GUESTS_AT).epoch = 2
        host.call(0)
        wait_until(partial(refused, host), "refused")
    for kind in RELUCTANT:
        wait_until(partial(world.read, kind, "carrier"), "carrier")
        world.guest.check(f"ip link set {world.interface(kind)} down")
    assert time.monotonic() - begun > 2
    assert world.said(Busy).count("cannot register") == 1


def test_frames_that_cannot_be(world: World) -> None:
    interface = world.interface(BadSlots)
    errors = f"cat /sys/class/net/{interface}/statistics/rx_errors"
    world.guest.check(f"ip link set {interface} up")
    wait_until(lambda: int(world.guest.check(errors)) == BadSlots.frames, "errors")
    assert world.guest.check(f"cat /sys/class/net/{interface}/carrier").strip() == "1"
    world.guest.check(f"ip link set {interface} down")


def test_an_honest_host_is_believed(world: World) -> None:
    interface = world.interface(Host)
    world.guest.check(f"ip link set {interface} up")
    assert world.guest.check(f"cat /sys/class/net/{interface}/carrier").strip() == "1"
    world.guest.check(f"ip link set {interface} down")


def test_the_driver_leaves_all_of_them(world: World) -> None:
    world.guest.check("rmmod ringpass")
    assert "ringpass" not in world.guest.check("cat /proc/interrupts")
