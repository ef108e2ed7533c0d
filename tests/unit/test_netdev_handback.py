# SPDX-License-Identifier: BSD-2-Clause
"""A QEMU whose backend is gone, and everything with it: it hands back what it holds to the next."""

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringpass._dp import lib
from ringpass.passthrough.pairs import described
from tests.support.daemon import Daemon, keepers_of
from tests.support.netdev_client import GuestMemory, NetdevClient, netdev
from tests.support.passthrough import (
    FakeDriver,
    booted,
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
slots = 64
[port."p{1"]
kind = "passthrough"
[region.x]
slots = 64
buffers = 4096
[port."vale0:x"]
kind = "passthrough"
slots = 64
region = "x"
"""
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that the tests of this module share."""
    with serving(tmp_path_factory.mktemp("h"), CONFIG) as daemon:
        yield daemon


@pytest.fixture
def _nothing_left(daemon: Daemon) -> Iterator[None]:
    """What a test leaves in the daemon makes it fail."""
    with nothing_left(daemon):
        yield


@pytest.fixture
def client(daemon: Daemon, _nothing_left: None) -> Iterator[NetdevClient]:
    """Return a QEMU that has vale0:a."""
    with netdev(daemon, "vale0:a").hello() as client:
        yield client


def works(client: NetdevClient, daemon: Daemon) -> None:
    """Send something from the memory that `client` has to another guest, and back."""
    with netdev(daemon, "vale0:b").hello() as other:
        opened, there = client.open().rings, other.open().rings
        mine, its = FakeDriver(client), FakeDriver(other)
        tx, rx = mine.ring(opened[0]), its.ring(there[1])
        for sender, to, ring, far in (
            ("a", "b", tx, rx),
            ("b", "a", its.ring(there[0]), mine.ring(opened[1])),
        ):
            sent = [numbered(number, to, sender) for number in range(20)]
            ring.send(*sent)
            receive(far, sent)


def lose(daemon: Daemon) -> None:
    """Kill the daemon and its keeper, and start another one."""
    keeper = keepers_of(daemon)[-1]
    daemon.kill()
    os.kill(keeper, signal.SIGKILL)
    daemon.start()


def memfd(size: int, seals: int = SEALS, flags: int = 0) -> int:
    """Return memory of somebody's making."""
    fd = os.memfd_create("x", os.MFD_ALLOW_SEALING | flags)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def test_a_guest_goes_on_in_the_memory_that_it_has_mapped(tmp_path: Path) -> None:
    memory = GuestMemory()
    with Daemon(tmp_path, CONFIG) as daemon, netdev(daemon, "vale0:a").hello() as client:
        driver = booted(client)
        assert driver.register().error == 0
        memory.open(client)
        memory.atok[0].head = 17
        epoch, number = client.port.epoch, client.id
        lose(daemon)
        assert client.again()
        assert (client.id, client.said) == (number, "")
        assert client.port.epoch != epoch
        works(client, daemon)
        # The driver sees what happened in its record, and that it should look there.
        assert (driver.record.peer, driver.record.epoch) == (number, client.port.epoch)
        driver.wait(0)
        assert driver.hello().error == 0
        assert driver.register().error == 0
        memory.atok[0].head = 17
        opened = memory.open(client, lib.RP_NETDEV_GO_ON)
        assert memory.ktoa[0].hwcur == 17
        with netdev(daemon, "vale0:b").hello() as other:
            rx = FakeDriver(other).ring(other.open().rings[1])
            sent = numbered(1)
            memory.ring(client, opened, 0).send(sent)
            receive(rx, [sent])
        # The next daemon has it from a keeper, as if it had always been its own.
        daemon.kill()
        daemon.start()
        assert not client.pending()
        works(client, daemon)
    memory.close()


def test_a_qemu_that_lost_its_connection_alone_has_the_same(
    client: NetdevClient, daemon: Daemon
) -> None:
    for _ in range(3):
        works(client, daemon)
        assert client.again()
    works(client, daemon)


def test_memory_comes_back_as_new(client: NetdevClient, daemon: Daemon) -> None:
    zeros = bytes(client.size)
    before = os.pread(client.held[0], client.size, 0)
    os.pwrite(client.held[0], b"\xff" * client.size, 0)
    assert client.again()
    works(client, daemon)
    after = os.pread(client.held[0], client.size, 0)
    assert after[:4096] == before[:4096]
    assert after[-65536:] == zeros[-65536:]


def refused(client: NetdevClient, held: list[int] | None = None, **fields: int) -> str:
    """Hand something back that is not taken; return why."""
    assert not client.again(held, **fields)
    assert client.said
    return client.said


def test_what_a_port_never_had_is_not_taken(client: NetdevClient, daemon: Daemon) -> None:
    size, eventfds = client.size, client.held[1:]
    huge = os.MFD_HUGETLB
    makers: dict[str, Callable[[], int]] = {
        "smaller": lambda: memfd(size // 2),
        "larger": lambda: memfd(size * 2),
        "open to shrinking": lambda: memfd(size, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL),
        "open to growing": lambda: memfd(size, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL),
        "open to other seals": lambda: memfd(size, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW),
        "not to be written": lambda: memfd(size, SEALS | fcntl.F_SEAL_WRITE),
        "of huge pages": lambda: memfd(size, SEALS, huge),
        "an eventfd": lambda: os.eventfd(0),
        "a file": lambda: os.open("/proc/self/exe", os.O_RDONLY),
        "a directory": lambda: os.open("/dev/shm", os.O_RDONLY),
    }
    for name, make in makers.items():
        fd = make()
        assert "sealed" in refused(client, [fd, *eventfds], region_bytes=size), name
        os.close(fd)
    works(client, daemon)


def test_memory_that_can_only_be_read_is_not_taken(client: NetdevClient, daemon: Daemon) -> None:
    fd = os.open(f"/proc/self/fd/{client.held[0]}", os.O_RDONLY)
    assert "handed back" in refused(client, [fd, *client.held[1:]])
    os.close(fd)
    works(client, daemon)


def test_numbers_that_do_not_fit_are_not_taken(client: NetdevClient, daemon: Daemon) -> None:
    assert "bytes of memory" in refused(client, region_bytes=client.size * 2)
    assert "bytes of memory" in refused(client, client.held[:-2], pairs=client.port.pairs - 1)
    for peer in (0, 0x10000, 0xFFFFFFFF):
        assert "no peer id" in refused(client, peer=peer)
    works(client, daemon)


def test_other_things_than_eventfds_are_not_taken(client: NetdevClient, daemon: Daemon) -> None:
    for fd in (os.pipe()[1], memfd(4096), os.open("/dev/null", os.O_RDWR)):
        for place in (1, 5, -1):
            held = list(client.held)
            held[place] = fd
            assert "no eventfd" in refused(client, held)
    semaphore = os.eventfd(0, os.EFD_SEMAPHORE)
    if "eventfd-semaphore" in Path(f"/proc/self/fdinfo/{semaphore}").read_text():
        assert "semaphore" in refused(client, [*client.held[:-1], semaphore])
    works(client, daemon)


def test_an_eventfd_has_one_place(client: NetdevClient, daemon: Daemon) -> None:
    """Where a vector is a doorbell, relays would pass a wake-up on for ever."""
    if "eventfd-id" not in described(client.held[1]):
        pytest.skip("this kernel does not tell eventfds from one another")
    doorbell, vector = 1 + 3, 1 + client.port.pairs + 3
    held = list(client.held)
    held[vector] = held[doorbell]
    assert "twice" in refused(client, held)
    with netdev(daemon, "vale0:b").hello() as other:
        held = list(client.held)
        held[vector] = other.held[doorbell]
        assert "another port's" in refused(client, held)
    works(client, daemon)


def test_memory_of_another_port_is_not_taken(client: NetdevClient, daemon: Daemon) -> None:
    with netdev(daemon, "vale0:b").hello() as other:
        assert "another region" in refused(client, [other.held[0], *client.held[1:]])
        assert client.port.region_bytes == other.port.region_bytes
    works(client, daemon)


@pytest.mark.parametrize("port", ["p{1", "vale0:x"])
@pytest.mark.usefixtures("_nothing_left")
def test_memory_that_ports_share_is_not_taken(daemon: Daemon, port: str) -> None:
    with netdev(daemon, port).hello() as client:
        assert "single port" in refused(client)
        assert booted(client).register().error == 0
