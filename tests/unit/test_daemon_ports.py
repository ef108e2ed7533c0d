# SPDX-License-Identifier: BSD-2-Clause
"""A daemon and drivers without a guest: frames arrive, and what breaks, breaks alone."""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringpass.vhostuser import messages as m
from ringpass.vhostuser.messages import Request
from tests.support.daemon import Daemon
from tests.support.miniguest import BUFFER_BYTES, ENTRIES, MiniGuest, frame, wait_for
from tests.support.vhost import RawFrontEnd
from tests.support.wait import PATIENCE_S

A, B, C = "52:54:00:00:00:0a", "52:54:00:00:00:0b", "52:54:00:00:00:0c"
VM1, VM2, VM3 = "vale0:vm1", "vale0:vm2", "vale0:vm3"
CONFIG = f"""
[switch.vale0]
[port."{VM1}"]
mtu = 9000
[port."{VM2}"]
mtu = 9000
[port."{VM3}"]
queues = 2
[port."vale0:sink"]
kind = "null"
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that the tests of this module share."""
    with Daemon(tmp_path_factory.mktemp("d"), CONFIG) as daemon:
        yield daemon


@pytest.fixture
def guests(daemon: Daemon) -> Iterator[tuple[MiniGuest, MiniGuest]]:
    """Return the drivers of two ports that have nobody else."""
    wait_for(lambda: all(p["state"] == "waiting" for p in daemon.call("port.list")), "free ports")
    with MiniGuest(daemon.socket(VM1)) as one, MiniGuest(daemon.socket(VM2)) as two:
        yield one, two


def exchange(one: MiniGuest, two: MiniGuest, rounds: int = 3) -> None:
    """Send frames to and fro and compare them."""
    for number in range(rounds):
        there, back = frame(B, A, b"there %d" % number), frame(A, B, os.urandom(1400))
        one.send(there)
        assert two.receive() == there
        two.send(back)
        assert one.receive() == back


def test_frames_arrive_unchanged(daemon: Daemon, guests: tuple[MiniGuest, MiniGuest]) -> None:
    exchange(*guests, rounds=200)
    known = {entry["mac"]: entry["port"] for entry in daemon.call("switch.fdb", name="vale0")}
    assert known[A] == VM1
    assert known[B] == VM2
    shown = daemon.call("port.show", name=VM1)
    assert shown["state"] == "up"
    assert shown["front_end"]["pid"] == os.getpid()
    assert shown["front_end"]["features"] == ["MRG_RXBUF", "PROTOCOL_FEATURES", "VERSION_1"]
    assert shown["tx"]["frames"] >= 200
    assert shown["tx"]["copied"] >= shown["tx"]["bytes"], "one copy, and its bytes are counted"


def test_a_null_port_takes_everything(daemon: Daemon) -> None:
    with MiniGuest(daemon.socket("vale0:sink")) as guest:
        for number in range(100):
            guest.send(frame(B, A, b"%d" % number))
        taken = daemon.call("port.show", name="vale0:sink")["tx"]
    assert taken["drops"] == {"discard": 100}
    assert taken["copied"] == 0


def test_two_queue_pairs_serve_one_port(daemon: Daemon) -> None:
    with MiniGuest(daemon.socket(VM3), pairs=2) as guest, MiniGuest(daemon.socket(VM1)) as other:
        for pair in (0, 1, 0, 1):
            sent = frame(A, C, b"from queue pair %d" % pair)
            guest.send(sent, pair)
            assert other.receive() == sent
        other.send(frame(C, A, b"back"))
        assert guest.receive() == frame(C, A, b"back")


def test_a_third_front_end_is_turned_away(
    daemon: Daemon, guests: tuple[MiniGuest, MiniGuest]
) -> None:
    refused = daemon.call("port.show", name=VM1)["refused"]
    with RawFrontEnd.connect(daemon.socket(VM1)) as second:
        assert second.ask(Request.GET_QUEUE_NUM) == bytes([1] + 7 * [0])
        with RawFrontEnd.connect(daemon.socket(VM1)) as third:
            assert third.closed()
        assert daemon.call("port.show", name=VM1)["refused"] == refused + 1
        assert second.ask(Request.GET_QUEUE_NUM) == bytes([1] + 7 * [0])
    exchange(*guests)


def test_a_front_end_that_is_gone_is_not_in_the_way_of_the_next(daemon: Daemon) -> None:
    refused = daemon.call("port.show", name=VM1)["refused"]
    for _ in range(20):
        with RawFrontEnd.connect(daemon.socket(VM1)) as first:
            first.send(Request.SET_OWNER)
        with RawFrontEnd.connect(daemon.socket(VM1)) as second:
            second.send(Request.GET_FEATURES)
            assert second.receive()
    assert daemon.call("port.show", name=VM1)["refused"] == refused


class Gone(Exception):
    """The front end stops in the middle of what it says."""


@pytest.mark.parametrize("messages", range(12))
def test_a_front_end_that_goes_between_any_two_messages_leaves_the_port_usable(
    daemon: Daemon, messages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = messages
    send = RawFrontEnd.send

    def send_some(self: RawFrontEnd, *args: object, **kwargs: object) -> None:
        nonlocal left
        if left == 0:
            raise Gone
        left -= 1
        send(self, *args, **kwargs)  # type: ignore[arg-type]

    guest = MiniGuest(daemon.socket(VM1))
    with monkeypatch.context() as patch:
        patch.setattr(RawFrontEnd, "send", send_some)
        with pytest.raises(Gone):
            guest.start()
    guest.close()
    wait_for(lambda: daemon.call("port.show", name=VM1)["state"] == "waiting", "the port")
    with MiniGuest(daemon.socket(VM1)) as one, MiniGuest(daemon.socket(VM2)) as two:
        exchange(one, two)


def test_a_front_end_that_breaks_the_protocol_is_named_and_another_may_come(
    daemon: Daemon, guests: tuple[MiniGuest, MiniGuest]
) -> None:
    one, two = guests
    one.front_end.send(Request.SET_VRING_NUM, m.VringState(0, 255))
    assert one.front_end.closed()
    shown = daemon.call("port.show", name=VM1)
    assert shown["state"] == "waiting"
    assert "power of two" in shown["last_error"]
    assert shown["violations"] >= 1
    with MiniGuest(daemon.socket(VM1)) as again:
        exchange(again, two)


def _loop(guest: MiniGuest) -> None:
    ring = guest.rings[1]
    at = ring.buffers
    struct.pack_into("<QIHH", guest.memory, ring.desc, at, 64, 1, 0)
    ring.offer(0)


def _wild_address(guest: MiniGuest) -> None:
    ring = guest.rings[1]
    struct.pack_into("<QIHH", guest.memory, ring.desc, 1 << 60, 64, 0, 0)
    ring.offer(0)


def _index_runs_away(guest: MiniGuest) -> None:
    guest.rings[1].set_avail_index(ENTRIES + 1)


def _wild_descriptor(guest: MiniGuest) -> None:
    guest.rings[1].offer(ENTRIES)


@pytest.mark.parametrize("attack", [_loop, _wild_address, _index_runs_away, _wild_descriptor])
def test_a_ring_that_breaks_the_rules_breaks_its_port_alone_until_it_is_reset(
    daemon: Daemon, guests: tuple[MiniGuest, MiniGuest], attack: Callable[[MiniGuest], None]
) -> None:
    one, two = guests
    with MiniGuest(daemon.socket(VM3), pairs=2) as third:
        attack(one)
        os.eventfd_write(one.rings[1].kick, 1)
        wait_for(lambda: daemon.call("port.show", name=VM1)["state"] == "broken", "the port")
        shown = daemon.call("port.show", name=VM1)
        assert "virtqueue 0" in shown["reason"]
        wait_for(lambda: daemon.call("port.show", name=VM1)["last_error"] == shown["reason"], "it")
        assert shown["front_end"] is not None
        status = daemon.call("status")
        assert any(VM1 in problem for problem in status["problems"])
        two.send(frame(C, B, b"neighbours"))
        assert third.receive() == frame(C, B, b"neighbours")
    one.front_end.send(Request.SET_STATUS, m.Number(0))
    one.start()
    exchange(one, two)
    assert daemon.call("port.show", name=VM1)["state"] == "up"


def test_a_broken_port_comes_back_with_its_next_front_end(
    daemon: Daemon, guests: tuple[MiniGuest, MiniGuest]
) -> None:
    one, two = guests
    _wild_address(one)
    os.eventfd_write(one.rings[1].kick, 1)
    wait_for(lambda: daemon.call("port.show", name=VM1)["state"] == "broken", "the port")
    one.front_end.socket.close()
    wait_for(lambda: daemon.call("port.show", name=VM1)["state"] == "waiting", "the end")
    assert "virtqueue 0" in daemon.call("port.show", name=VM1)["last_error"]
    with MiniGuest(daemon.socket(VM1)) as again:
        exchange(again, two)


def test_memory_that_is_cut_off_under_us_breaks_the_port_alone(
    daemon: Daemon, guests: tuple[MiniGuest, MiniGuest]
) -> None:
    one, two = guests
    os.ftruncate(one.memory_fd, 0)
    os.eventfd_write(one.rings[1].kick, 1)
    wait_for(lambda: daemon.call("port.show", name=VM1)["state"] == "broken", "the port")
    assert "memory" in daemon.call("port.show", name=VM1)["reason"]
    with MiniGuest(daemon.socket(VM3), pairs=2) as third:
        two.send(frame(C, B, b"still here"))
        assert third.receive() == frame(C, B, b"still here")


def test_a_file_that_is_shorter_than_its_region_is_refused(daemon: Daemon) -> None:
    guest = MiniGuest(daemon.socket(VM1))
    os.ftruncate(guest.memory_fd, len(guest.memory) // 2)
    with pytest.raises((EOFError, ConnectionError)):
        guest.start()
    guest.close()
    wait_for(lambda: daemon.call("port.show", name=VM1)["front_end"] is None, "the end")
    assert "memory" in daemon.call("port.show", name=VM1)["last_error"]


def test_memory_that_is_not_shared_is_a_problem(daemon: Daemon) -> None:
    with MiniGuest(daemon.socket(VM1), private=True):
        (problem,) = daemon.call("status")["problems"]
    assert problem.startswith(VM1)
    assert "share=on" in problem
    wait_for(lambda: not daemon.call("status")["problems"], "the end of it")


def test_rings_without_any_memory_are_suspected(daemon: Daemon) -> None:
    guest = MiniGuest(daemon.socket(VM1))
    guest.front_end.send(Request.SET_PROTOCOL_FEATURES, m.Number(8))
    guest.front_end.send(Request.SET_FEATURES, m.Number(1 << 32))
    guest.start_ring(guest.rings[0])
    (problem,) = daemon.call("status")["problems"]
    guest.close()
    assert problem.startswith(VM1)
    assert "share=on" in problem


def test_frames_of_every_length_arrive(guests: tuple[MiniGuest, MiniGuest]) -> None:
    one, two = guests
    for length in (14, 15, 59, 60, 61, 64, 1500, 1514, BUFFER_BYTES - 12):
        sent = (bytes.fromhex(B.replace(":", "") + A.replace(":", "")) + os.urandom(2048))[:length]
        one.send(sent)
        assert two.receive() == sent


def test_the_mtu_changes_while_guests_are_connected(
    daemon: Daemon, guests: tuple[MiniGuest, MiniGuest]
) -> None:
    """Frames that are too long now are dropped at their sender, and nobody is disconnected."""
    one, two = guests
    sessions = [daemon.call("port.show", name=name)["sessions"] for name in (VM1, VM2)]
    exchange(one, two)
    fits, too_long = (frame(B, A, bytes(size - 14)) for size in (1518, 1519))
    running = daemon.call("config.show")
    for mtu, drops in ((1500, 1), (9000, 0)):
        before = daemon.call("port.show", name=VM1)["tx"]["drops"].get("mtu", 0)
        running["port"][VM2]["mtu"] = mtu
        (action,) = daemon.call("apply", config=running, source="test", dry_run=False)["actions"]
        assert f"mtu {mtu}" in action["text"]
        one.send(fits)
        assert two.receive() == fits
        one.send(too_long)
        after = daemon.call("port.show", name=VM1)["tx"]["drops"].get("mtu", 0)
        assert after - before == drops
        if not drops:
            assert two.receive() == too_long
        assert daemon.call("port.show", name=VM2)["mtu"] == mtu
    assert [daemon.call("port.show", name=name)["sessions"] for name in (VM1, VM2)] == sessions


def test_ports_of_both_modes_find_their_front_ends(runtime_dir: Path) -> None:
    path = runtime_dir / "front.sock"
    config = f'[switch.vale0]\n[port."{VM1}"]\nmode = "client"\npath = "{path}"\n'
    with Daemon(runtime_dir, config) as daemon, socket.socket(socket.AF_UNIX) as listening:
        assert daemon.call("port.show", name=VM1)["state"] == "waiting"
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(PATIENCE_S)
        for _ in range(2):
            connected, _address = listening.accept()
            with RawFrontEnd(connected) as front_end:
                front_end.send(Request.GET_FEATURES)
                assert front_end.receive()[0].size == 8
