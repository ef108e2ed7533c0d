# SPDX-License-Identifier: BSD-2-Clause
"""What becomes of a guest's port when its guest, its QEMU or its configuration changes."""

import errno
import os
import resource
import select
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass.errors import RingpassError
from ringpass.netmap.abi import Flag
from ringpass.netmap.server import FILE_NAME
from ringpass.passthrough.guest import Op
from tests.support.daemon import Daemon
from tests.support.miniguest import frame, wait_for
from tests.support.netmap import Program
from tests.support.passthrough import (
    FakeDriver,
    FakeQemu,
    Refused,
    booted,
    nothing_left,
    qemu,
    serving,
)
from tests.support.wait import PATIENCE_S

BASE = """
[switch.vale0]
[port."vale0:b"]
kind = "passthrough"
slots = 64
"""
CONFIG = (
    BASE
    + """
[port."vale0:a"]
kind = "passthrough"
slots = 64
"""
)
PIPE = """
[port."p{1"]
kind = "passthrough"
[port."p}1"]
kind = "passthrough"
"""
HEADER = 0x1803  # csum and tso4, both ways


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
        apply(daemon, CONFIG)


def apply(daemon: Daemon, text: str) -> None:
    """Make the daemon what a configuration says."""
    daemon.call("apply", config=tomllib.loads(text))


def state(daemon: Daemon, port: str = "vale0:a") -> str:
    """Return the state of a port."""
    return str(daemon.call("port.show", name=port)["state"])


def check_traffic(daemon: Daemon, driver: FakeDriver) -> None:
    """Send a frame from vale0:a to vale0:b."""
    sent = frame("ff:ff:ff:ff:ff:ff", "52:54:00:00:00:0a", b"hello")
    with qemu(daemon, "vale0:b") as client:
        receiver = booted(client)
        rx = receiver.ring(receiver.register().rings[1])
        answer = driver.register(number=9)
        assert answer.error == 0, answer.text
        driver.ring(answer.rings[0]).send(sent)
        assert rx.receive() == [sent]
        driver.close(9)


def test_a_killed_qemu_leaves_the_port_to_the_next(daemon: Daemon) -> None:
    for _ in range(3):
        with qemu(daemon, "vale0:a") as client:
            driver = booted(client)
            answer = driver.register()
            driver.register("rp0{1", 1, extra_bufs=50)
            driver.ring(answer.rings[0]).send(*[bytes(60)] * 20)
        wait_for(lambda: state(daemon) == "waiting", "the end")
    with qemu(daemon, "vale0:a") as client:
        check_traffic(daemon, booted(client))


def test_a_qemu_may_go_before_it_heard_anything(daemon: Daemon) -> None:
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as hasty:
            hasty.connect(str(daemon.socket("vale0:a")))
    wait_for(lambda: state(daemon) == "waiting", "the end")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(daemon.socket("vale0:a")))
        wait_for(lambda: state(daemon) == "connected", "the silent one")
    wait_for(lambda: state(daemon) == "waiting", "the end")
    with qemu(daemon, "vale0:a") as client:
        check_traffic(daemon, booted(client))


def test_a_client_that_speaks_is_put_out(daemon: Daemon) -> None:
    before = daemon.call("port.show", name="vale0:a")["violations"]
    with qemu(daemon, "vale0:a") as client:
        client.socket.send(b"what the protocol does not know")
        wait_for(lambda: state(daemon) == "waiting", "the end")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            client.socket.send(b"more")
    assert daemon.call("port.show", name="vale0:a")["violations"] == before + 1


def test_a_qemu_for_which_descriptors_are_missing_is_told_so(daemon: Daemon) -> None:
    pid = daemon.call("status")["pid"]
    vectors = daemon.call("port.show", name="vale0:a")["vectors"]
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(fd.name) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    free = [fd for fd in range(1024) if fd not in taken]
    client, room = None, 1
    said: set[str] = set()
    try:
        while client is None:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[room], limits[1]))
            try:
                client = FakeQemu(daemon.socket("vale0:a"), vectors)
            except Refused as why:
                said.add(str(why))
                room += 1
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert room > 2 * vectors
    assert said == {os.strerror(errno.EBUSY)}, "nobody was left without a word"
    with client:
        check_traffic(daemon, booted(client))


def test_a_guest_reboots(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client:
        for generation in (7, 8):
            driver = booted(client, generation)
            assert driver.register("rp0{1", 1).error == 0
            assert driver.register().error == 0
            driver.begin(Op.CLOSE, 1)  # nobody waits for the answer
        driver = booted(client, 9)
        guest = daemon.call("port.show", name="vale0:a")["guest"]
        assert (guest["opens"], guest["extra_rings"]) == (0, 0)
        check_traffic(daemon, driver)
        assert driver.register("rp0{1", 1).error == 0
        assert driver.ask(Op.RESET).error == 0
        assert daemon.call("port.show", name="vale0:a")["guest"]["opens"] == 0
        check_traffic(daemon, driver)


def broken(daemon: Daemon, client: FakeQemu) -> FakeDriver:
    """Return a driver that broke its port."""
    driver = booted(client)
    tx = driver.ring(driver.register().rings[0])
    tx.csb.atok.head = 12345
    driver.doorbell(tx.told.kick)
    wait_for(lambda: driver.record.link == 0, "the link")
    driver.wait(0)
    assert state(daemon) == "broken"
    return driver


def test_a_broken_port_is_repaired(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client:
        driver = broken(daemon, client)
        epoch = driver.record.epoch
        assert daemon.call("port.repair", name="vale0:a")["result"] == "repaired"
        driver.wait(0)
        assert (driver.record.link, driver.record.epoch) == (1, epoch + 1)
        assert driver.register(number=1).error == errno.ESTALE
        assert driver.hello().error == 0
        check_traffic(daemon, driver)
        assert daemon.call("port.repair", name="vale0:a")["result"] == "unchanged"
    history = daemon.call("port.show", name="vale0:a")
    assert "head" in history["last_error"]


def test_a_driver_repairs_what_it_broke(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client:
        driver = broken(daemon, client)
        assert driver.close().error == 0
        assert driver.record.link == 1
        check_traffic(daemon, driver)


def test_another_mtu_reaches_the_guest(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client:
        driver = booted(client)
        apply(daemon, CONFIG + "mtu = 1400\n")
        driver.wait(0)
        assert driver.record.mtu == 1400
        check_traffic(daemon, driver)


def test_a_port_that_goes_leaves_its_guest_without(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client:
        driver = booted(client)
        assert driver.register().error == 0
        assert driver.register("rp0{1", 1).error == 0
        apply(daemon, BASE)
        assert driver.record.peer == 0
        assert select.select([client.socket], [], [], PATIENCE_S)[0]
        assert client.socket.recv(1) == b""
        apply(daemon, CONFIG)
        with qemu(daemon, "vale0:a") as again:
            check_traffic(daemon, booted(again))


def test_a_pipe_outlives_one_of_its_guests(daemon: Daemon) -> None:
    apply(daemon, CONFIG + PIPE)
    with qemu(daemon, "p{1") as one, qemu(daemon, "p}1") as other:
        left, right = booted(one), booted(other)
        theirs = right.register().rings
        assert left.register().error == 0
        one.close()
        wait_for(lambda: state(daemon, "p{1") == "waiting", "the end")
        with qemu(daemon, "p{1") as third:
            left = booted(third)
            left.doorbell(left.register().rings[0].peer_call)
            right.wait(theirs[1].call)


def test_a_pipe_that_both_left_is_as_new(daemon: Daemon) -> None:
    apply(daemon, CONFIG + PIPE)
    for _ in range(2):
        with qemu(daemon, "p{1") as one, qemu(daemon, "p}1") as other:
            left, right = booted(one), booted(other)
            told, theirs = left.register().rings, right.register().rings
            rings = [left.ring(ring) for ring in told]
            for ring, peer in zip(rings, reversed(theirs), strict=True):
                assert (ring.ring.num_slots, ring.csb.atok.head, ring.csb.ktoa.hwcur) == (
                    1024,
                    0,
                    0,
                )
                assert ring.csb.peer == peer.csb
                assert ring.ring.slot[7].buf_idx == right.ring(peer).ring.slot[7].buf_idx > 1
                ring.ring.num_slots = ring.csb.atok.head = ring.csb.peer = 77
                ring.ring.slot[7].buf_idx = 0xFFFFFFFF
            driver = booted(one, 5)
            assert driver.register().error == 0
            assert rings[0].ring.num_slots == 77, "the other end has it open"
        wait_for(lambda: state(daemon, "p{1") == state(daemon, "p}1") == "waiting", "the end")


def test_an_end_of_a_pipe_goes_and_comes_back(daemon: Daemon) -> None:
    one_end = PIPE.replace('[port."p}1"]\nkind = "passthrough"', "")
    apply(daemon, CONFIG + PIPE)
    with qemu(daemon, "p{1") as client:
        driver = booted(client)
        assert driver.register().error == 0
        apply(daemon, CONFIG + one_end)
        with Program(daemon.runtime_dir / FILE_NAME) as program:
            assert program.register("p}1").error == 0
            with pytest.raises(RingpassError, match="has it open"):
                apply(daemon, CONFIG + PIPE)
        apply(daemon, CONFIG + PIPE)
        with qemu(daemon, "p}1") as other:
            assert booted(other).register().error == 0


def test_ends_of_a_pipe_must_be_alike(daemon: Daemon) -> None:
    with pytest.raises(RingpassError, match="alike"):
        apply(daemon, CONFIG + PIPE + "slots = 64\n")


def test_a_program_keeps_a_guest_out_of_its_port(daemon: Daemon) -> None:
    with Program(daemon.runtime_dir / FILE_NAME) as program:
        program.register("vale0:c").close()
        with pytest.raises(RingpassError, match="has it open"):
            daemon.call("port.add", name="vale0:c", settings={"kind": "passthrough"})


def test_a_header_lasts_as_long_as_the_open_that_wanted_it(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client:
        driver = booted(client)
        assert driver.record.offloads & HEADER == HEADER
        wanted = HEADER.to_bytes(8, "little")
        assert driver.ask(Op.OFFLOADS, 3, wanted).error == 0
        assert driver.register(number=1).error == 0, "another open has no header"
        assert driver.ask(Op.OFFLOADS, 2, wanted).error == errno.EBUSY
        driver.close(1)
        assert driver.register(number=3, flags=Flag.ACCEPT_VNET_HDR).error == 0
        assert driver.register(number=1).error == errno.EIO, "it knows of no headers"
        driver.close(3)
        check_traffic(daemon, driver)


def test_a_refused_qemu_does_no_harm(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client:
        driver = booted(client)
        for _ in range(3):
            with pytest.raises((Refused, ConnectionError)):
                qemu(daemon, "vale0:a").close()
        check_traffic(daemon, driver)
        assert daemon.call("port.show", name="vale0:a")["refused"] >= 3
