# SPDX-License-Identifier: BSD-2-Clause
"""Ports that guests map, in a daemon: what a QEMU is told, and what a driver can do with it."""

import errno
from collections.abc import Iterator

import pytest

from ringpass._dp import ffi
from ringpass.passthrough.guest import Op
from tests.support.daemon import Daemon
from tests.support.miniguest import frame
from tests.support.passthrough import (
    RX,
    TX,
    FakeDriver,
    Refused,
    booted,
    nothing_left,
    qemu,
    serving,
)

CONFIG = """
[switch.vale0]
[port."vale0:a"]
kind = "passthrough"
mac = "52:54:00:00:00:0a"
[port."vale0:b"]
kind = "passthrough"
queues = 2
mtu = 9000
slots = 64
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that the tests of this module share."""
    with serving(tmp_path_factory.mktemp("p"), CONFIG) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def _nothing_left(daemon: Daemon) -> Iterator[None]:
    """What a test leaves in the daemon makes it fail."""
    with nothing_left(daemon):
        yield


def test_a_qemu_gets_memory_and_two_peers(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client:
        assert client.id > 0
        assert len(client.doorbells) == len(client.vectors) == 1 + 2 + 8
        assert client.size & (client.size - 1) == 0
        assert client.extra_word(0.05) == b""


def test_a_guest_finds_its_port_in_the_record(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:b") as client:
        record = FakeDriver(client).record
        assert (record.tx_rings, record.rx_rings, record.tx_slots) == (2, 2, 64)
        assert (record.mtu, record.link, record.vectors) == (9000, 1, 13)
    with qemu(daemon, "vale0:a") as client:
        record = FakeDriver(client).record
        assert bytes(record.mac).hex(":") == "52:54:00:00:00:0a"
        assert ffi.string(record.port) == b"vale0:a"


def test_a_driver_registers_its_port_by_any_name(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:b") as client:
        driver = booted(client)
        for name in ("rp0", "vale0:b", "vale7:x"):
            answer = driver.register(name)
            assert answer.error == 0, answer.text
            assert answer.header.name.rstrip(b"\0") == name.encode()
            ways = [(ring.dir, ring.place, ring.kick, ring.call) for ring in answer.rings]
            assert ways == [(TX, 0, 1, 1), (TX, 1, 2, 2), (RX, 0, -1, 3), (RX, 1, -1, 4)]
            assert daemon.call("port.show", name="vale0:b")["state"] == "up"
            assert driver.close().error == 0
        status = daemon.call("port.show", name="vale0:b")
        assert (status["state"], status["guest"]["driver"]) == ("connected", True)


def test_frames_go_from_guest_to_guest(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as one, qemu(daemon, "vale0:b") as other:
        sender, receiver = booted(one), booted(other)
        tx = sender.ring(sender.register().rings[0])
        rx = receiver.ring(receiver.register().rings[2])
        for number in range(3):
            sent = [frame("ff:ff:ff:ff:ff:ff", "52:54:00:00:00:0a", b"%d" % number)] * 40
            tx.send(*sent)
            got: list[bytes] = []
            while len(got) < len(sent):
                got += rx.receive()
            assert got == sent


def test_calls_before_hello_or_of_another_generation_are_stale(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client:
        driver = FakeDriver(client)
        assert driver.register().error == errno.ESTALE
        assert driver.hello().error == 0
        assert driver.register().error == 0
        again = FakeDriver(client, 2)
        assert again.ask(Op.CLOSE).error == errno.ESTALE
        assert again.hello().error == 0
        assert daemon.call("port.show", name="vale0:a")["users"] == []
        assert driver.register().error == errno.ESTALE
        assert again.register().error == 0


def test_a_port_has_one_qemu_at_a_time(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as first:
        driver = booted(first)
        assert driver.register().error == 0
        with pytest.raises((Refused, ConnectionError)):
            qemu(daemon, "vale0:a").close()
        assert driver.close().error == 0
        assert driver.register().error == 0
    with qemu(daemon, "vale0:a") as second:
        assert second.id != first.id
        assert booted(second).register().error == 0
