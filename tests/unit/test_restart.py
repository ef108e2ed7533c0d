# SPDX-License-Identifier: BSD-2-Clause
"""Daemons that are killed under a guest, which maps its region and its eventfds all the time."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringpass.keeper.document import Document
from ringpass.netmap.abi import Flag, PortHeader, PortInfo, Request
from ringpass.passthrough.guest import Op
from tests.support.daemon import Daemon, keepers_of
from tests.support.miniguest import wait_for
from tests.support.netmap import Ring
from tests.support.passthrough import (
    FakeDriver,
    FakeQemu,
    numbered,
    qemu,
    receive,
    restart,
)

CONFIG = """
[switch.vale0]
[port."vale0:a"]
kind = "passthrough"
mac = "52:54:00:00:00:0a"
slots = 256
[port."vale0:b"]
kind = "passthrough"
mac = "52:54:00:00:00:0b"
slots = 256
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Return a daemon that leaves nothing behind, its keeper included."""
    with Daemon(tmp_path, CONFIG) as daemon:
        yield daemon
        keepers = keepers_of(daemon)
    wait_for(lambda: not any(map(runs, keepers)), "the end of the keeper")
    assert not (tmp_path / "keeper.sock").exists()


def runs(pid: int) -> bool:
    """Return whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def booted(client: FakeQemu) -> tuple[FakeDriver, list[Ring]]:
    """Return a driver that registered its port, and its rings."""
    driver = FakeDriver(client)
    assert driver.hello().error == 0
    answer = driver.register()
    assert answer.error == 0, answer.text
    return driver, answer.rings


def test_frames_flow_on_through_the_same_memory_and_eventfds(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as one, qemu(daemon, "vale0:b") as other:
        (sender, sent), (receiver, received) = booted(one), booted(other)
        tx, rx = sender.ring(sent[0]), receiver.ring(received[1])
        epoch = sender.record.epoch
        for round_ in range(3):
            frames = [numbered(10 * round_ + i) for i in range(10)]
            tx.send(*frames)
            receive(rx, frames)
            daemon.kill()
            # The guest does not know, and goes on.
            frames = [numbered(1000 + round_)] * 5
            tx.send(*frames)
            daemon.start()
            receive(rx, frames)
        assert sender.record.epoch == epoch
        assert daemon.call("port.show", name="vale0:a")["state"] == "up"
        assert one.extra_word(0.0) == b""
        # Requests go on, too, by the same generation.
        assert sender.close().error == 0
        assert sender.register().error == 0


def test_a_restart_takes_little_time(
    daemon: Daemon, record_property: Callable[[str, object], None]
) -> None:
    with qemu(daemon, "vale0:a") as one, qemu(daemon, "vale0:b") as other:
        (sender, sent), (receiver, received) = booted(one), booted(other)
        tx, rx = sender.ring(sent[0]), receiver.ring(received[1])
        daemon.kill()
        start = time.monotonic()
        tx.send(numbered(1))
        daemon.start()
        receive(rx, [numbered(1)])
        took = time.monotonic() - start
    record_property("seconds_from_start_to_first_frame", took)
    sys.stdout.write(f"from start to first frame: {took:.3f} s\n")
    assert took < 30


def test_pipes_and_extra_buffers_are_still_open(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client:
        driver = FakeDriver(client)
        assert driver.hello().error == 0
        ends = [driver.register(f"rp0{end}", number) for number, end in enumerate(("{1", "}1"))]
        assert [end.error for end in ends] == [0, 0]
        assert driver.register(number=7, extra_bufs=3).error == 0
        before = [(ring.ring_offset, ring.csb) for end in ends for ring in end.rings]
        status = daemon.call("status")["regions"]
        restart(daemon)
        users = daemon.call("port.show", name="vale0:a")["guest"]
        assert (users["driver"], users["opens"], users["extra_rings"]) == (True, 3, 4)
        assert [row["buffers_used"] for row in daemon.call("status")["regions"]] == [
            row["buffers_used"] for row in status
        ]
        assert [driver.close(number).error for number in (0, 1, 7)] == [0, 0, 0]
        ends = [driver.register(f"rp0{end}", number) for number, end in enumerate(("{1", "}1"))]
        assert [(ring.ring_offset, ring.csb) for end in ends for ring in end.rings] == before


def test_requests_that_change_nothing_are_no_loss(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client:
        driver, _ = booted(client)
        for _ in range(12):
            assert driver.control(Request.PORT_INFO_GET, "rp0", PortInfo(), number=1).error == 0
        epoch = driver.record.epoch
        restart(daemon)
        assert driver.record.epoch == epoch
        assert driver.close().error == 0


def test_frames_have_the_header_that_they_had(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client:
        driver = FakeDriver(client)
        assert driver.hello().error == 0
        assert driver.register(flags=Flag.ACCEPT_VNET_HDR).error == 0
        assert driver.control(Request.PORT_HDR_SET, "rp0", PortHeader(12)).error == 0
        restart(daemon)
        answer = driver.control(Request.PORT_HDR_GET, "rp0", PortHeader())
        assert PortHeader.unpack(answer.body).hdr_len == 12


def test_a_guest_with_a_monitor_opens_everything_again(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client:
        driver, _ = booted(client)
        assert driver.register(number=1, flags=Flag.MONITOR_RX).error == 0
        epoch = driver.record.epoch
        restart(daemon)
        assert driver.record.epoch == epoch + 1
        assert driver.hello().error == 0
        assert driver.register().error == 0
        assert driver.register(number=1, flags=Flag.MONITOR_RX).error == 0


def test_a_qemu_that_ends_meanwhile_leaves_its_place(daemon: Daemon) -> None:
    first = qemu(daemon, "vale0:a")
    booted(first)
    daemon.kill()
    first.close()
    daemon.start()
    with qemu(daemon, "vale0:a") as second:
        booted(second)


def test_a_keeper_that_was_killed_is_replaced(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as one:
        driver, _ = booted(one)
        os.kill(keepers_of(daemon)[0], 9)
        with qemu(daemon, "vale0:b") as other:
            booted(other)
            restart(daemon)
            assert driver.close().error == 0
            assert len(keepers_of(daemon)) == 2


def test_what_was_asked_for_meanwhile_waits_until_all_are_there(tmp_path: Path) -> None:
    shared = CONFIG.replace("slots = 256", 'slots = 256\nregion = "x"')
    with (
        Daemon(tmp_path, shared + "[region.x]\nslots = 256\nbuffers = 4096") as daemon,
        qemu(daemon, "vale0:a") as one,
        qemu(daemon, "vale0:b") as other,
    ):
        (sender, _), (receiver, received) = booted(one), booted(other)
        daemon.kill()
        sender.begin(Op.CLOSE)
        daemon.start()
        wait_for(lambda: sender.record.answered == sender.page.sent, "the answer")
        answer = sender.register()
        buffers = [
            {slot.buf_idx for slot in driver.ring(ring).ring.slot[0:256]}
            for driver, rings in ((sender, answer.rings), (receiver, received))
            for ring in rings
        ]
        assert len(set().union(*buffers)) == 4 * 256, "two rings have the same buffers"


def test_a_new_port_leaves_a_guest_its_record(tmp_path: Path) -> None:
    region = "[region.x]\nslots = 256\nbuffers = 4096\n[switch.vale0]\n"
    port = '[port."vale0:{}"]\nkind = "passthrough"\nslots = 256\nregion = "x"\n'
    with (
        Daemon(tmp_path, region + port.format("b")) as daemon,
        qemu(daemon, "vale0:b") as client,
    ):
        driver, _ = booted(client)
        daemon.kill()
        daemon.config.write_text(region + port.format("a") + port.format("b"))
        daemon.start()
        assert driver.close().error == 0
        with qemu(daemon, "vale0:a") as second:
            booted(second)


def test_what_another_version_wrote_ends_no_start(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client, qemu(daemon, "vale0:b") as other:
        booted(client)
        driver, _ = booted(other)
        rewrite_document(daemon, b'"port":"vale0:a"', b'"epoch"', b'"era"')
        daemon.kill()
        daemon.start()
        assert client.socket.recv(1) == b""
        assert "another version of ringpass" in daemon.log()
        assert driver.close().error == 0
        with qemu(daemon, "vale0:a") as second:
            booted(second)


def rewrite_document(daemon: Daemon, which: bytes, before: bytes, after: bytes) -> None:
    """Replace something in the document of a daemon's that has `which` in it."""
    pid = daemon.call("status")["pid"]
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        if "ringpass-document" in str(fd.readlink()):
            document = Document(os.open(fd, os.O_RDWR))
            if which in document.text:
                assert before in document.text
                document.write(document.text.replace(before, after))
            document.close()


@pytest.mark.parametrize("taken", ["netmap.sock", "control.sock"])
def test_a_start_that_fails_changes_nothing(daemon: Daemon, taken: str) -> None:
    with qemu(daemon, "vale0:a") as one, qemu(daemon, "vale0:b") as other:
        (sender, sent), (receiver, received) = booted(one), booted(other)
        tx, rx = sender.ring(sent[0]), receiver.ring(received[1])
        epoch = sender.record.epoch
        daemon.kill()
        tx.send(numbered(1))
        in_the_way = daemon.runtime_dir / taken
        in_the_way.unlink(missing_ok=True)
        in_the_way.mkdir()
        with pytest.raises(AssertionError, match="the daemon ended"):
            daemon.start()
        assert sender.record.peer == one.id
        in_the_way.rmdir()
        daemon.start()
        assert sender.record.epoch == epoch
        receive(rx, [numbered(1)])
        assert sender.close().error == 0


def test_another_configuration_puts_the_guest_out(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:a") as client:
        booted(client)
        daemon.kill()
        daemon.config.write_text(CONFIG.replace("slots = 256", "slots = 512"))
        daemon.start()
        assert client.socket.recv(1) == b""
        with qemu(daemon, "vale0:a") as second:
            booted(second)


def test_a_keeper_ends_when_daemon_and_guests_are_gone(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        with qemu(daemon, "vale0:a") as client:
            booted(client)
            (keeper,) = keepers_of(daemon)
            daemon.kill()
            assert runs(keeper)
        wait_for(lambda: not runs(keeper), "the end of the keeper")
