# SPDX-License-Identifier: BSD-2-Clause
"""Daemons that are killed under a QEMU with a netdev: what is held for it, what it hands back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.netdev_client import CLOSE, GuestMemory, netdev
from tests.support.passthrough import FakeDriver, booted, numbered, receive, restart

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
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Return a daemon that is to be killed."""
    with Daemon(tmp_path, CONFIG) as daemon:
        yield daemon


def test_a_qemu_sees_nothing_of_a_restart(daemon: Daemon) -> None:
    memory = GuestMemory()
    with netdev(daemon, "vale0:a").hello() as one, netdev(daemon, "vale0:b").hello() as other:
        opened = other.open()
        tx = memory.ring(one, memory.open(one), 0)
        rx = FakeDriver(other).ring(opened.rings[1])
        for round_ in range(2):
            frames = [numbered(10 * round_ + i) for i in range(10)]
            tx.send(*frames)
            receive(rx, frames)
            daemon.kill()
            frames = [numbered(1000 + round_)] * 5
            tx.send(*frames)  # the guest does not know, and goes on
            daemon.start()
            receive(rx, frames)
        assert not one.pending()
        assert not other.pending()
        shown = daemon.call("port.show", name="vale0:a")
        assert (shown["state"], shown["guest"]["way"]) == ("up", "netdev")
        one.ask(CLOSE)
        memory.open(one)
    memory.close()


def test_the_other_end_of_the_blocks_goes_on(daemon: Daemon) -> None:
    memory = GuestMemory(atok_at=64)
    with netdev(daemon, "vale0:a").hello() as one, netdev(daemon, "vale0:b").hello() as other:
        rx = memory.ring(other, memory.open(other), 1)
        tx = FakeDriver(one).ring(one.open().rings[0])
        for number in range(2):
            if number:
                restart(daemon)
            tx.send(*[numbered(number)] * 50)
            receive(rx, [numbered(number)] * 50)
    memory.close()


def test_a_qemu_is_told_if_its_rings_are_lost(daemon: Daemon) -> None:
    memory = GuestMemory()
    with netdev(daemon, "vale0:a").hello() as client:
        epoch = client.port.epoch
        memory.open(client)
        daemon.kill()
        memory.truncate()
        daemon.start()
        assert client.wait_for_change().epoch == epoch + 1
        client.open()
    memory.close()


def test_a_driver_of_the_guest_goes_on_too(daemon: Daemon) -> None:
    with netdev(daemon, "vale0:a").hello() as client:
        driver = booted(client)
        assert driver.register().error == 0
        restart(daemon)
        assert driver.close().error == 0
        assert not client.pending()


def test_memory_that_was_not_taken_back_does_not_keep_others_from_going_on(tmp_path: Path) -> None:
    shared = CONFIG.replace("slots = 64", 'slots = 64\nregion = "x"')
    with Daemon(tmp_path, f"{shared}[region.x]\nbuffers = 4096\n") as daemon:
        one, other = netdev(daemon, "vale0:a").hello(), netdev(daemon, "vale0:b").hello()
        with one, other:
            assert booted(other).register().error == 0
            assert not one.again()
            daemon.kill()
            daemon.start()
            assert "event=guest-resumed port=vale0:b" in daemon.log()
            assert "event=resume-failed" not in daemon.log()
