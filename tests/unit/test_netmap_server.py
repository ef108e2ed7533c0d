# SPDX-License-Identifier: BSD-2-Clause
"""The device's socket in a daemon: programs come and go, and hostile ones harm nobody."""

import array
import asyncio
import errno
import fcntl
import json
import mmap
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from ringpass.dataplane import NO_CSB
from ringpass.descriptors import MAX_THREADS
from ringpass.netmap import attach
from ringpass.netmap.abi import PortInfo, Register, Request
from ringpass.netmap.call import Device
from ringpass.netmap.server import FILE_NAME, MAX_OPENS, MAX_WAITING, Server
from ringpass.netmap.session import MAGIC, REQUEST, VERSION, Operation, Session
from ringpass.sockets import Access
from tests.support.daemon import RINGPASS, Daemon
from tests.support.miniguest import MiniGuest, frame, wait_for
from tests.support.netmap import Program, control, message, parse, receive
from tests.support.processes import stopped
from tests.support.slow import lingering
from tests.support.wait import PATIENCE_S

CONFIG = """
[switch.vale0]
[region.video]
buffers = 4096
[port."vale0:static"]
kind = "netmap"
region = "video"
slots = 64
[port."vale0:vm"]
[port."vale0:vm{1"]
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that the tests of this module share."""
    with Daemon(tmp_path_factory.mktemp("n"), CONFIG) as daemon:
        yield daemon


@pytest.fixture
def path(daemon: Daemon) -> Iterator[Path]:
    """Return the device's socket. What a test leaves in the daemon makes it fail."""
    before = held(daemon)
    yield daemon.runtime_dir / FILE_NAME
    wait_for(lambda: held(daemon) == before, "everything given back")


def held(daemon: Daemon) -> tuple[int, list[str], list[str], int]:
    """Return what the daemon has: descriptors, ports, switches, regions."""
    status = daemon.call("status")
    fds = len(list(Path(f"/proc/{status['pid']}/fd").iterdir()))
    ports = [port["name"] for port in status["ports"]]
    return fds, ports, [row["name"] for row in status["switches"]], len(status["regions"])


def shown(daemon: Daemon, name: str) -> dict[str, object]:
    """Return the status of a port."""
    status: dict[str, object] = daemon.call("port.show", name=name)
    return status


def test_a_registration_brings_the_region_and_the_rings(daemon: Daemon, path: Path) -> None:
    with Program(path) as program, program.register("vale9:a", tx_rings=2) as answer:
        got = answer.registered
        size, nifp, flags, mode, mem_id, rings, fds = attach.ATTACHMENT.unpack_from(
            answer.attachment
        )
        assert (size, nifp, flags, mode) == (got.memsize, got.offset, 0, 1)
        assert (mem_id, rings, fds) == (got.mem_id, 3, len(answer.fds))
        assert [(ring.dir, ring.place) for ring in answer.rings] == [(1, 0), (1, 1), (0, 0)]
        with mmap.mmap(answer.fds[0], size) as memory:
            name = memory[nifp : nifp + 16].rstrip(b"\0")
            assert name == b"vale9:a"
            for ring in answer.rings:
                offset, slots, _, number, direction = struct.unpack_from(
                    "<qIIHH", memory, ring.ring_offset
                )
                assert (slots, number, direction) == (1024, ring.place, ring.dir)
                assert 0 < ring.ring_offset + offset < size
        with pytest.raises(PermissionError):
            os.ftruncate(answer.fds[0], 4096)
        status = shown(daemon, "vale9:a")
        assert (status["state"], status["ephemeral"]) == ("up", True)
        users = status["users"]
        assert isinstance(users, list)
        assert [user["pid"] for user in users] == [os.getpid()]
        names = [switch["name"] for switch in daemon.call("switch.list") if switch["ephemeral"]]
        assert names == ["vale9"]


def test_an_open_lasts_until_its_last_copy_is_closed(daemon: Daemon, path: Path) -> None:
    program = Program(path)
    program.register("vale9:copied").close()
    copy = program.socket.dup()
    program.close()
    assert shown(daemon, "vale9:copied")["state"] == "up"
    other = Program.__new__(Program)
    other.socket = copy
    with other.ask(message(Operation.DESCRIBE, b"")) as told:
        assert told.error == 0
        assert len(told.rings) == 2
    other.close()
    wait_for(
        lambda: all(port["name"] != "vale9:copied" for port in daemon.call("port.list")), "the end"
    )


def test_answers_go_where_their_request_says(path: Path) -> None:
    with Program(path) as program:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(8)]
        for number, (_, theirs) in enumerate(pairs):
            info = control(Request.PORT_INFO_GET, f"vale9:p{number}", PortInfo())
            program.send(message(Operation.CTRL, info), [theirs.fileno()])
            theirs.close()
        for number, (ours, _) in reversed(list(enumerate(pairs))):
            ours.settimeout(PATIENCE_S)
            answer = parse(*receive(ours))
            ours.close()
            assert answer.header.name.rstrip(b"\0") == b"vale9:p%d" % number


def test_a_pipes_ends_are_told_of_each_other(path: Path) -> None:
    with (
        Program(path) as one,
        Program(path) as two,
        one.register("vale9:p{1") as a,
        two.register("vale9:p}1") as b,
    ):
        (a_tx, a_rx), (b_tx, b_rx) = a.rings, b.rings
        assert (a_tx.peer_csb, a_rx.peer_csb) == (b_rx.csb, b_tx.csb)
        assert (b_tx.peer_csb, b_rx.peer_csb) == (a_rx.csb, a_tx.csb)
        assert min(a_tx.peer_call, b_rx.call) > 0
        os.eventfd_write(a.fds[a_tx.peer_call], 1)
        assert os.eventfd_read(b.fds[b_rx.call]) == 1


def test_ports_of_the_configuration_are_as_it_says(daemon: Daemon, path: Path) -> None:
    assert shown(daemon, "vale0:static")["state"] == "waiting"
    regions = {row["name"]: row["number"] for row in daemon.call("status")["regions"]}
    with Program(path) as program, program.register("vale0:static", tx_slots=512) as answer:
        got = answer.registered
        assert (got.tx_slots, got.mem_id) == (64, regions["video"])
        status = shown(daemon, "vale0:static")
        assert (status["state"], status["ephemeral"]) == ("up", False)
        assert daemon.call("port.remove", name="vale0:static") == {"result": "removed"}
        assert shown(daemon, "vale0:static")["ephemeral"] is True
        settings = {"kind": "netmap", "region": "video", "slots": 64}
        daemon.call("port.add", name="vale0:static", settings=settings)


def test_the_command_line_shows_who_has_what(daemon: Daemon, path: Path) -> None:
    def ask(*arguments: str) -> str:
        return subprocess.run(
            [RINGPASS, *arguments],
            env={**os.environ, "RINGPASS_RUNTIME_DIR": str(daemon.runtime_dir), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_S,
        ).stdout

    with Program(path) as program, program.register("vale0:static", flags=0x800):
        listed = next(row for row in ask("port", "ls").splitlines() if "vale0:static" in row)
        assert f"process {os.getpid()}" in listed
        told = ask("port", "show", "vale0:static")
        assert f"process {os.getpid()} of user {os.geteuid()}: ALL_NIC EXCLUSIVE, 1 tx" in told
        regions = next(row for row in ask("status").splitlines() if "video" in row)
        assert regions.split()[:4] == ["@1", "video", "130", "4098"]
    wait_for(lambda: shown(daemon, "vale0:static")["state"] == "waiting", "the end")
    assert "region" in ask("port", "show", "vale0:static")


def test_a_virtual_machines_port_is_not_for_programs(path: Path) -> None:
    with Program(path) as program:
        for name in ("vale0:vm", "vale0:vm{1"):
            with program.register(name) as answer:
                assert answer.error == errno.EBUSY
                assert "virtual machine" in answer.text


def test_a_program_and_a_guest_share_a_pipe(daemon: Daemon, path: Path) -> None:
    with (
        MiniGuest(daemon.socket("vale0:vm{1")) as guest,
        Program(path) as program,
        program.register("vale0:vm}1") as answer,
    ):
        assert {ring.peer_csb for ring in answer.rings} == {NO_CSB}
        sent = frame("52:54:00:00:00:02", "52:54:00:00:00:01", b"over the pipe")
        guest.send(sent)
        rx = answer.rings[1]
        with mmap.mmap(answer.fds[0], answer.registered.memsize) as memory:
            wait_for(lambda: hwtail(memory, rx.csb) == 1, "the frame")
            offset, _, size = struct.unpack_from("<qII", memory, rx.ring_offset)
            index, length = struct.unpack_from("<IH", memory, rx.ring_offset + 256)
            where = rx.ring_offset + offset + index * size
            assert memory[where : where + length] == sent


@pytest.mark.usefixtures("path")
def test_two_guests_share_a_pipe(daemon: Daemon) -> None:
    ends = ("vale0:two{1", "vale0:two}1")
    for end in ends:
        daemon.call("port.add", name=end)
    try:
        with (
            MiniGuest(daemon.socket(ends[0])) as one,
            MiniGuest(daemon.socket(ends[1])) as two,
        ):
            sent = frame("52:54:00:00:00:02", "52:54:00:00:00:01", b"over the pipe")
            one.send(sent)
            assert two.receive() == sent
            two.send(sent)
            assert one.receive() == sent
    finally:
        for end in ends:
            daemon.call("port.remove", name=end)


def hwtail(memory: mmap.mmap, csb: int) -> int:
    """Return how far the backend filled a ring: from the kernel's half of its CSB."""
    (pool,) = struct.unpack_from("<Q", memory, 24)
    (tail,) = struct.unpack_from("<I", memory, pool + 256 * csb + 64 + 4)
    return int(tail)


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        REQUEST.pack(1, VERSION, 1, 0, 0),
        REQUEST.pack(MAGIC, 2, 1, 0, 0),
        REQUEST.pack(MAGIC, VERSION, 99, 0, 0),
        REQUEST.pack(MAGIC, VERSION, 1, 5, 0),
        message(Operation.CTRL, b""),
        message(Operation.CTRL, bytes(96)[:95]),
        message(Operation.CTRL, control(1, "vale9:a", Register()) + b"x"),
        message(Operation.CTRL, control(1, "vale9:a", Register(), b"\xff" * 32)),
        message(Operation.REGIF, bytes(59)),
        message(Operation.GINFO, b""),
        message(Operation.CONFIG, b""),
        message(Operation.DESCRIBE, b""),
        bytes(16384),
        bytes(20000),
    ],
)
def test_what_is_no_request_is_refused_and_the_open_goes_on(path: Path, data: bytes) -> None:
    with Program(path) as program:
        with program.ask(data) as answer:
            assert answer.error in (errno.EPROTO, errno.EINVAL, errno.ENXIO)
            assert answer.text
        with program.register("vale9:after") as answer:
            assert answer.error == 0


def test_descriptors_that_come_with_requests_are_closed(path: Path) -> None:
    read_end, write_end = os.pipe()
    with socket.socket() as inet, Path("/dev/null").open("rb") as null:
        for fds in ([], [null.fileno()], [inet.fileno()], [write_end] * 40):
            with Program(path) as program:
                program.send(message(Operation.DESCRIBE, b""), fds)
                assert program.socket.recv(1) == b"", "nobody waits for an answer for ever"
    os.close(write_end)
    assert os.read(read_end, 1) == b"", "nobody else has the other end"
    os.close(read_end)


def test_who_asked_may_be_gone_and_the_open_goes_on(path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with Program(path) as program:
        ours.close()
        with theirs:
            program.send(message(Operation.DESCRIBE, b""), [theirs.fileno()])
        with program.ask(message(Operation.DESCRIBE, b"")) as answer:
            assert answer.error == errno.ENXIO


def test_an_open_that_fails_to_end_keeps_nothing_but_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Session) -> None:
        raise RuntimeError("not today")

    async def serve() -> None:
        server = Server(tmp_path / "s", Access(0o600, None), cast("Device", None))
        server.open()
        with Program(tmp_path / "s") as one, Program(tmp_path / "s") as two:
            while server.opens < 2:
                await asyncio.sleep(0)
            server.close()
            assert server.opens == 0
            assert (one.socket.recv(1), two.socket.recv(1)) == (b"", b"")
        assert not (tmp_path / "s").exists()

    monkeypatch.setattr(Session, "close", fail)
    asyncio.run(serve())
    assert caplog.text.count("RuntimeError: not today") == 2


def test_a_peer_that_reads_no_answers_stops_nobody(path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with Program(path) as deaf, Program(path) as other, ours, theirs:
        deaf.socket.setblocking(False)
        info = message(Operation.CTRL, control(Request.PORT_INFO_GET, "vale9:d", PortInfo()))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))]
        for _ in range(400):
            try:
                deaf.socket.sendmsg([info], rights)
            except (BlockingIOError, ConnectionError):  # it ends when an answer has no room
                break
        with other.register("vale9:other") as answer:
            assert answer.error == 0


def test_a_connection_passed_through_itself_ends(path: Path) -> None:
    program = Program(path)
    program.send(message(Operation.DESCRIBE, b""), [program.socket.fileno()])
    program.close()


def test_the_socket_has_the_mode_of_the_ports(daemon: Daemon, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o660
    text = {"daemon": {"socket_mode": "0600"}, **json.loads(json.dumps(TABLES))}
    daemon.call("apply", config=text)
    assert path.stat().st_mode & 0o777 == 0o600
    daemon.call("apply", config=TABLES)
    assert path.stat().st_mode & 0o777 == 0o660


TABLES = {
    "switch": {"vale0": {}},
    "region": {"video": {"buffers": 4096}},
    "port": {
        "vale0:static": {"kind": "netmap", "region": "video", "slots": 64},
        "vale0:vm": {},
        "vale0:vm{1": {},
    },
}


def test_applying_the_same_again_does_nothing(daemon: Daemon, path: Path) -> None:
    assert daemon.call("apply", config=TABLES)["actions"] == []
    assert path.exists()


def test_a_region_changes_only_while_nobody_is_in_it(daemon: Daemon, path: Path) -> None:
    larger = {**TABLES, "region": {"video": {"buffers": 8192}}}
    with Program(path) as program:
        program.register("vale0:static").close()
        with pytest.raises(Exception, match="1 ports are in it"):
            daemon.call("apply", config=larger)
    wait_for(lambda: shown(daemon, "vale0:static")["state"] == "waiting", "a free region")
    daemon.call("apply", config=larger)
    daemon.call("apply", config=TABLES)


def test_there_are_at_most_so_many_opens(daemon: Daemon, path: Path) -> None:
    programs = []
    try:
        for _ in range(MAX_OPENS):
            programs.append(Program(path))
        wait_for(lambda: held(daemon)[0] >= MAX_OPENS, "all of them")
        with Program(path) as refused:
            fcntl.fcntl(refused.socket, fcntl.F_GETFD)
            assert refused.socket.recv(1) == b""
    finally:
        for program in programs:
            program.close()


def test_descriptors_that_do_not_close_are_no_more_than_some(daemon: Daemon, path: Path) -> None:
    before = held(daemon)[0]
    plain = os.open("/proc/self/exe", os.O_RDONLY)
    with lingering(MAX_THREADS) as slow:
        with Program(path) as program:
            with stopped(daemon.pid):  # so that its descriptors are the last
                program.send(b"x", slow)
                while slow:
                    os.close(slow.pop())
            assert program.socket.recv(1) == b"", "the first descriptor is no socket of packets"
        for _ in range(20):
            with Program(path) as program:
                program.send(b"x", [plain] * 250)
        daemon.call("ping")
        assert held(daemon)[0] < before + MAX_WAITING + 3 * 253
    os.close(plain)
    with Program(path) as program:
        program.register("vale9:again").close()
