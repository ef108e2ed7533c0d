# SPDX-License-Identifier: BSD-2-Clause
"""Ports that QEMU's netdev has: what it is told, and what it can do with the rings."""

import errno
import tomllib
from collections.abc import Iterator
from struct import Struct
from typing import Any

import pytest

from ringpass._dp import ffi, lib
from ringpass.passthrough import netdev_messages as messages
from ringpass.passthrough import offloads
from tests.support.daemon import Daemon
from tests.support.miniguest import frame
from tests.support.netdev_client import CLOSE, NetdevClient, Opened, Refused, netdev
from tests.support.passthrough import (
    RX,
    TX,
    FakeDriver,
    FakeRing,
    booted,
    nothing_left,
    qemu,
    receive,
    serving,
)
from tests.support.passthrough import Refused as IvshmemRefused

MAC = "52:54:00:00:00:0a"
CONFIG = f"""
[switch.vale0]
[port."vale0:a"]
kind = "passthrough"
mac = "{MAC}"
[port."vale0:b"]
kind = "passthrough"
queues = 2
mtu = 9000
slots = 64
[port."vale0:many"]
kind = "passthrough"
queues = 8
slots = 64
extra_rings = 64
[port."p{{1"]
kind = "passthrough"
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that the tests of this module share."""
    with serving(tmp_path_factory.mktemp("n"), CONFIG) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def _nothing_left(daemon: Daemon) -> Iterator[None]:
    """What a test leaves in the daemon makes it fail."""
    with nothing_left(daemon):
        yield


def ring(client: NetdevClient, opened: Opened, number: int) -> FakeRing:
    """Return a ring of an answer to OPEN, whose communication block is in the region."""
    return FakeDriver(client).ring(opened.rings[number])


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("message", messages.MESSAGE),
        ("hello", messages.HELLO),
        ("port", messages.PORT),
        ("open", messages.OPEN),
        ("opened", messages.OPENED),
    ],
)
def test_layouts_are_those_of_c(name: str, layout: Struct) -> None:
    assert layout.size == ffi.sizeof(f"struct rp_netdev_{name}")


def test_constants_are_those_of_c() -> None:
    assert offloads.HEADER_BYTES == lib.RP_NETDEV_HEADER_BYTES
    for constant in ("MAGIC", "VERSION", "MAX_PAIRS"):
        assert getattr(messages, constant) == getattr(lib, f"RP_NETDEV_{constant}")
    assert messages.MAX_BYTES == lib.RP_NETDEV_MESSAGE_BYTES
    flags = {**messages.PortFlag.__members__, **messages.OpenFlag.__members__}
    for name, value in {**messages.Op.__members__, **flags}.items():
        assert value == getattr(lib, f"RP_NETDEV_{name}")


def test_a_qemu_is_told_what_the_port_is_like(daemon: Daemon) -> None:
    with netdev(daemon, "vale0:b").hello() as client:
        port = client.port
        assert (port.tx_rings, port.rx_rings, port.tx_slots, port.rx_slots) == (2, 2, 64, 64)
        assert (port.mtu, port.link, port.pairs, port.flags) == (9000, 1, 13, 0)
        assert ffi.string(port.name) == b"vale0:b"
        record = FakeDriver(client).record
        assert (record.peer, record.epoch) == (port.peer, port.epoch)
        directory = ffi.cast("struct rp_directory *", ffi.from_buffer(client.memory))
        for pool in ("if_pool", "ring_pool", "buf_pool"):
            told, there = getattr(port, pool), getattr(directory, pool)
            assert bytes(ffi.buffer(ffi.addressof(told))) == bytes(ffi.buffer(ffi.addressof(there)))
        shown = daemon.call("port.show", name="vale0:b")
        assert port.mem_id == shown["region"]
        assert shown["guest"]["way"] == "netdev"
        assert shown["netdev_path"].endswith("/vale0.b.netdev")
    with netdev(daemon, "vale0:a").hello() as client:
        assert bytes(client.port.mac).hex(":") == MAC


def test_as_many_pairs_as_a_port_may_have_fit_a_message(daemon: Daemon) -> None:
    with netdev(daemon, "vale0:many").hello() as client:
        assert client.port.pairs == 1 + 2 * 8 + 64 <= messages.MAX_PAIRS
        assert len(client.open().rings) == 16


def test_the_interface_that_it_is_told_of_has_all_rings(daemon: Daemon) -> None:
    with netdev(daemon, "vale0:b").hello() as client:
        opened = client.open()
        base = ffi.cast("uint8_t *", ffi.from_buffer(client.memory))
        for offset in (client.port.nifp_offset, opened.nifp_offset):
            nifp: Any = ffi.cast("struct netmap_if *", base + offset)
            assert (nifp.ni_tx_rings, nifp.ni_rx_rings) == (2, 2)
            named = [offset + nifp.ring_ofs[i] for i in (0, 1, 3, 4)]
            assert named == [each.ring_offset for each in opened.rings]


def test_rings_have_the_pairs_behind_the_mailboxs(daemon: Daemon) -> None:
    with netdev(daemon, "vale0:b").hello(queues=2) as client:
        ways = [(ring.dir, ring.place, ring.kick, ring.call) for ring in client.open().rings]
        assert ways == [(TX, 0, 1, 1), (TX, 1, 2, 2), (RX, 0, -1, 3), (RX, 1, -1, 4)]
        assert daemon.call("port.show", name="vale0:b")["state"] == "up"
        client.ask(CLOSE)
        client.ask(CLOSE)
        assert daemon.call("port.show", name="vale0:b")["state"] == "connected"


def test_frames_go_from_one_to_another(daemon: Daemon) -> None:
    with netdev(daemon, "vale0:a").hello() as one, netdev(daemon, "vale0:b").hello() as other:
        tx, rx = ring(one, one.open(), 0), ring(other, other.open(), 2)
        sent = [frame("ff:ff:ff:ff:ff:ff", MAC, b"%d" % number) for number in range(40)]
        tx.send(*sent)
        receive(rx, sent)


def test_frames_have_a_header_if_it_wants_one(daemon: Daemon) -> None:
    with netdev(daemon, "vale0:a").hello() as one, netdev(daemon, "vale0:b").hello() as other:
        features = one.port.offloads
        assert features
        tx = ring(one, one.open(header_bytes=12, features=features), 0)
        rx = ring(other, other.open(), 2)
        sent = frame("ff:ff:ff:ff:ff:ff", MAC, b"x")
        tx.send(bytes(12) + sent)
        receive(rx, [sent])
        tx = ring(one, one.open(), 0)  # without one again
        tx.send(sent)
        receive(rx, [sent])
        one.open(header_bytes=12)


def test_the_last_to_come_has_the_port(daemon: Daemon) -> None:
    with netdev(daemon, "vale0:a").hello() as client:
        client.open()
        driver = FakeDriver(client)
        assert driver.register().error == errno.ESTALE
        assert driver.hello().error == 0
        assert daemon.call("port.show", name="vale0:a")["users"] == []
        assert driver.register().error == 0
        assert driver.register("rp0{1", number=1).error == 0
        client.open()
        assert driver.close().error == errno.ESTALE
        guest = daemon.call("port.show", name="vale0:a")["guest"]
        assert (guest["driver"], guest["opens"]) == (False, 1)


def test_a_driver_of_the_guest_needs_nothing_of_qemu(daemon: Daemon) -> None:
    with netdev(daemon, "vale0:a").hello() as one, qemu(daemon, "vale0:b") as other:
        sender, receiver = booted(one), booted(other)
        tx = sender.ring(sender.register().rings[0])
        rx = receiver.ring(receiver.register().rings[2])
        sent = [frame("ff:ff:ff:ff:ff:ff", MAC, b"x")]
        tx.send(*sent)
        receive(rx, sent)


def test_changes_are_told(daemon: Daemon) -> None:
    with netdev(daemon, "vale0:a").hello() as client:
        tx = ring(client, client.open(), 0)
        epoch = client.port.epoch
        tx.csb.atok.head = 99999
        os_doorbell(client, 1)
        assert client.wait_for_change().link == 0
        assert daemon.call("port.repair", name="vale0:a")
        while client.port.link == 0:
            client.wait_for_change()
        assert client.port.epoch == epoch + 1
        tx = ring(client, client.open(), 0)
        tx.csb.atok.head = 99999
        os_doorbell(client, 1)
        assert client.wait_for_change().link == 0
        client.ask(CLOSE)  # the last to close a broken port leaves it whole
        assert client.port.link == 1 or client.wait_for_change().link == 1


def apply(daemon: Daemon, text: str) -> None:
    """Let the daemon become what a configuration says."""
    daemon.call("apply", config=tomllib.loads(text))


def test_another_mtu_is_told(daemon: Daemon) -> None:
    with netdev(daemon, "vale0:b").hello() as client:
        apply(daemon, CONFIG.replace("mtu = 9000", "mtu = 3000"))
        assert client.wait_for_change().mtu == 3000
        assert FakeDriver(client).record.mtu == 3000
        apply(daemon, CONFIG)
        assert client.wait_for_change().mtu == 9000


def os_doorbell(client: NetdevClient, pair: int) -> None:
    """Ring the doorbell of a pair."""
    FakeDriver(client).doorbell(pair)


def test_a_port_has_one_qemu_whichever_way_it_comes(daemon: Daemon) -> None:
    with netdev(daemon, "vale0:a").hello():
        with netdev(daemon, "vale0:a") as second, pytest.raises(Refused) as refused:
            second.hello()
        assert refused.value.errno == errno.EBUSY
        assert "by its netdev" in refused.value.text
        with pytest.raises((IvshmemRefused, ConnectionError)):
            qemu(daemon, "vale0:a").close()
    with qemu(daemon, "vale0:a"), netdev(daemon, "vale0:a") as second:
        with pytest.raises(Refused) as refused:
            second.hello()
        assert "by its ivshmem device" in refused.value.text
    with netdev(daemon, "vale0:a").hello():
        pass


def test_what_a_port_has_not_is_refused(daemon: Daemon) -> None:
    with netdev(daemon, "vale0:b") as client:
        with pytest.raises(Refused, match="queues=3"):
            client.hello(queues=3)
        client.hello()
        for header, features in ((10, 0), (0, 2), (12, 1 << 60)):
            with pytest.raises(Refused):
                client.open(header_bytes=header, features=features)
        client.open()


def test_the_end_of_a_pipe_is_for_the_guests_driver_alone(daemon: Daemon) -> None:
    with netdev(daemon, "p{1").hello() as client:
        with pytest.raises(Refused) as refused:
            client.open()
        assert refused.value.errno == errno.EOPNOTSUPP
        assert "swap buffers" in refused.value.text
        driver = booted(client)
        assert driver.register().error == 0


def test_sockets_have_the_same_access(daemon: Daemon) -> None:
    paths = [daemon.socket("vale0:a"), daemon.socket("vale0:a").with_suffix(".netdev")]
    modes = {path.stat().st_mode & 0o777 for path in paths}
    assert modes == {0o660}
