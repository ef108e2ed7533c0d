# SPDX-License-Identifier: BSD-2-Clause
"""Rings that QEMU opened with their communication blocks in memory of its guest."""

import errno
import fcntl
import os
from collections.abc import Iterator

import pytest

from ringpass._dp import lib
from tests.support.daemon import Daemon
from tests.support.miniguest import frame
from tests.support.netdev_client import CLOSE, GuestMemory, NetdevClient, Refused, netdev
from tests.support.passthrough import (
    FakeDriver,
    FakeQemu,
    address,
    nothing_left,
    numbered,
    receive,
    serving,
)

CONFIG = """
[switch.vale0]
[port."vale0:a"]
kind = "passthrough"
mac = "52:54:00:00:00:0a"
slots = 64
[port."vale0:b"]
kind = "passthrough"
mac = "52:54:00:00:00:0b"
queues = 2
slots = 64
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that the tests of this module share."""
    with serving(tmp_path_factory.mktemp("b"), CONFIG) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def _nothing_left(daemon: Daemon) -> Iterator[None]:
    """What a test leaves in the daemon makes it fail."""
    with nothing_left(daemon):
        yield


@pytest.fixture
def one(daemon: Daemon) -> Iterator[NetdevClient]:
    """Return a QEMU that has vale0:a."""
    with netdev(daemon, "vale0:a").hello() as client:
        yield client


@pytest.fixture
def other(daemon: Daemon) -> Iterator[NetdevClient]:
    """Return a QEMU that has vale0:b."""
    with netdev(daemon, "vale0:b").hello() as client:
        yield client


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    """Return memory of a guest."""
    memory = GuestMemory()
    yield memory
    memory.close()


def test_two_guests_exchange_frames(
    one: NetdevClient, other: NetdevClient, memory: GuestMemory
) -> None:
    more = GuestMemory(atok_at=4096 - 4 * 64, ktoa_at=64)
    there, here = memory.open(one), more.open(other)
    tx, rx = memory.ring(one, there, 0), more.ring(other, here, 2)
    for round_ in range(5):  # more than a ring has slots
        sent = [numbered(round_ * 40 + number) for number in range(40)]
        tx.send(*sent)
        receive(rx, sent)
    tx, rx = more.ring(other, here, 0), memory.ring(one, there, 1)
    tx.send(numbered(1, "a", "b"))
    receive(rx, [numbered(1, "a", "b")])
    more.close()


def test_words_begin_as_netmap_has_them(one: NetdevClient, memory: GuestMemory) -> None:
    for block in (memory.atok[0], memory.atok[1]):
        block.head = block.cur = 77
    memory.open(one)
    for block in (memory.atok[0], memory.atok[1]):
        assert (block.head, block.cur, block.appl_need_kick, block.sync_flags) == (0, 0, 1, 1)
    ways = [(each.hwcur, each.hwtail, each.kern_need_kick) for each in memory.ktoa[0:2]]
    assert ways == [(0, 63, 1), (0, 0, 1)]
    assert not any(bytes(memory.map[: memory.PAGE]))


def test_a_driver_that_does_not_know_goes_on(
    one: NetdevClient, other: NetdevClient, memory: GuestMemory
) -> None:
    more = GuestMemory()
    memory.atok[0].head, more.atok[2].head, more.atok[3].head = 33, 62, 9999
    more.ktoa[2].hwtail = 63  # shown, and not read yet
    opened = memory.open(one, lib.RP_NETDEV_GO_ON)
    tx = memory.ring(one, opened, 0)
    rx = more.ring(other, more.open(other, lib.RP_NETDEV_GO_ON), 2)
    assert (tx.csb.atok.head, tx.csb.ktoa.hwcur, tx.csb.ktoa.hwtail) == (33, 33, 32)
    assert (rx.csb.ktoa.hwcur, rx.csb.ktoa.hwtail) == (62, 63)
    more.atok[2].head = 63
    assert (more.atok[3].head, more.ktoa[3].hwcur) == (9999, 0)
    assert FakeQemu.signalled(one.vectors[opened.rings[0].call])
    sent = [numbered(number) for number in range(50)]
    tx.send(*sent)
    more.atok[3].head = 0
    receive(rx, sent)
    more.close()


def test_blocks_are_in_the_region_again_afterwards(
    one: NetdevClient, other: NetdevClient, memory: GuestMemory, daemon: Daemon
) -> None:
    rx = FakeDriver(other).ring(other.open().rings[2])
    memory.open(one)
    for _ in range(2):
        tx = FakeDriver(one).ring(one.open().rings[0])
        memory.atok[0].head = 9999  # nobody looks there now
        tx.send(numbered(1))
        receive(rx, [numbered(1)])
        one.ask(CLOSE)
        memory.open(one)
    driver = FakeDriver(one)
    assert driver.hello().error == 0
    memory.atok[0].head = 9999
    driver.ring(driver.register().rings[0]).send(numbered(2))
    receive(rx, [numbered(2)])
    assert daemon.call("port.show", name="vale0:a")["state"] == "up"


def test_memory_that_is_truncated_breaks_its_port_alone(
    one: NetdevClient, other: NetdevClient, memory: GuestMemory, daemon: Daemon
) -> None:
    more = GuestMemory()
    rx = more.ring(other, more.open(other), 2)
    opened = memory.open(one)
    memory.truncate()
    os.eventfd_write(one.doorbells[opened.rings[0].kick], 1)
    assert one.wait_for_change().link == 0
    assert "truncated" in daemon.call("port.show", name="vale0:a")["reason"]
    with pytest.raises(Refused, match="ends at offset"):
        memory.open(one)
    while one.port.link == 0:
        one.wait_for_change()
    tx = FakeDriver(one).ring(one.open().rings[0])
    tx.send(numbered(1))
    receive(rx, [numbered(1)])
    more.close()


def test_memory_that_is_truncated_under_a_receiver_harms_no_sender(
    one: NetdevClient, other: NetdevClient, memory: GuestMemory, daemon: Daemon
) -> None:
    more = GuestMemory()
    rx = more.ring(other, more.open(other), 2)
    memory.open(one)
    memory.truncate()
    more.ring(other, more.open(other), 0).send(frame("ff:ff:ff:ff:ff:ff", address("b"), b"x"))
    assert one.wait_for_change().link == 0
    assert daemon.call("port.show", name="vale0:b")["state"] == "up"
    assert not rx.pending()
    more.close()


@pytest.mark.parametrize("at", [1, 63, 4096 - 64, 1 << 40, 3 * 4096, (1 << 64) - 64, 1 << 63])
def test_wrong_places_are_refused(one: NetdevClient, memory: GuestMemory, at: int) -> None:
    for which in ("atok_offset", "ktoa_offset"):
        with pytest.raises(Refused) as refused:
            memory.open(one, **{which: at})
        assert refused.value.errno == errno.EINVAL
        assert "memory" in refused.value.text or "communication blocks" in refused.value.text
    memory.open(one)


def test_wrong_descriptors_are_refused(one: NetdevClient, memory: GuestMemory) -> None:
    sealed = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(sealed, 1 << 14)
    fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    read_only = os.open(f"/proc/self/fd/{memory.fd}", os.O_RDONLY)
    wrong = [sealed, read_only, os.eventfd(0), os.open("/", os.O_RDONLY), *os.pipe()]
    for fd in wrong:
        for fds in ([fd, memory.fd], [memory.fd, fd]):
            with pytest.raises(Refused):
                one.open(fds, flags=lib.RP_NETDEV_GUEST_CSB, atok_offset=0, ktoa_offset=4096)
        os.close(fd)
    memory.open(one)


def test_heads_that_are_nonsense_break_the_port(
    one: NetdevClient, memory: GuestMemory, daemon: Daemon
) -> None:
    opened = memory.open(one)
    memory.atok[0].head = 64
    os.eventfd_write(one.doorbells[opened.rings[0].kick], 1)
    assert one.wait_for_change().link == 0
    memory.open(one)
    while one.port.link == 0:
        one.wait_for_change()
    assert daemon.call("port.show", name="vale0:a")["state"] == "up"
