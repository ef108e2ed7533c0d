# SPDX-License-Identifier: BSD-2-Clause
"""Ports of a real daemon: ringport, pktgen and bridge in processes of their own."""

import asyncio
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import ringport
from ringport import Error, Port
from ringport.transport.daemon import Daemon as DaemonPort
from tests.support.daemon import RINGPASS, Daemon
from tests.support.vhost import open_fds
from tests.support.wait import PATIENCE_S

FRAME = b"\xff" * 6 + bytes.fromhex("020000000001 88b5") + bytes(46)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon"), "") as running:
        yield running


@pytest.fixture(autouse=True)
def runtime_dir(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGPASS_RUNTIME_DIR", str(daemon.runtime_dir))


@contextmanager
def ringpass(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a command while the block lasts."""
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", RINGPASS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def result(process: "subprocess.Popen[str]") -> Any:
    """Return the JSON that the process ends with."""
    said, talk = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, talk
    return json.loads(said)


def said(process: "subprocess.Popen[str]", word: str) -> None:
    """Wait until the process tells of `word`."""
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    pytest.fail(f"it ended without a word of {word}")


def descriptors() -> set[int]:
    """Return what this process has open."""
    named = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    return {fd for fd in named if Path(f"/proc/self/fd/{fd}").exists()}


def receive(port: Port, frames: int) -> list[bytes]:
    got: list[bytes] = []
    while len(got) < frames:
        assert port.wait_readable(PATIENCE_S)
        got += iter(port.rx[0].get, None)
    return got


def test_frames_pass_a_switch() -> None:
    with ringport.open("vale0:a") as a, ringport.open("vale0:b") as b:
        frames = [FRAME + bytes([number]) for number in range(100)]
        for frame in frames:
            a.tx[0].put(frame)
        a.txsync()
        assert receive(b, 100) == frames
        assert a.mem_id != b.mem_id
        assert not b.wait_readable(0.001)
        assert b.wait_writable(0)


def test_a_wait_ends_when_a_frame_comes() -> None:
    with ringport.open("vale1:a") as a, ringport.open("vale1:b") as b:

        def send() -> None:
            a.tx[0].put(FRAME)
            a.txsync()

        timer = threading.Timer(0.01, send)
        timer.start()
        assert receive(b, 1) == [FRAME]
        timer.join()


def test_coroutines_wait_for_the_daemon() -> None:
    async def both(a: Port, b: Port) -> None:
        async with asyncio.timeout(PATIENCE_S):
            waiting = asyncio.create_task(b.readable())
            await asyncio.sleep(0.005)
            await a.writable()
            a.tx[0].put(FRAME)
            a.txsync()
            await waiting

    with ringport.open("vale2:a") as a, ringport.open("vale2:b") as b:
        asyncio.run(both(a, b))
        assert receive(b, 1) == [FRAME]


def test_geometry_and_buffers_are_what_was_asked_for() -> None:
    with ringport.open("vale3:a@conf:rings=2,slots=64", extra_bufs=5) as port:
        assert [ring.num_slots for ring in port.rings] == [64] * 4
        assert len(set(port.extra_bufs)) == 5
        with ringport.open(f"vale3:b@{port.mem_id}") as other:
            assert other.region_key == port.region_key


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("vale4:a@9999", errno.EINVAL),
        ("vale4:a/t", errno.EINVAL),
        ("netmap:nosuchnic", errno.ENXIO),
        ("vale4:", errno.EINVAL),
    ],
)
def test_the_daemons_refusals_are_told(name: str, code: int) -> None:
    with pytest.raises(Error, match="cannot") as caught:
        ringport.open(name)
    assert caught.value.errno == code


def test_a_refusal_has_what_why_and_fix() -> None:
    with pytest.raises(Error) as caught:
        ringport.open("vale4:a/t")
    error = caught.value
    assert error.what == "cannot open vale4:a/t"
    assert error.why == "cannot watch vale4:a: no program has it open"
    assert error.fix == "open it first; a monitor watches what another program does"
    with ringport.open("vale4:a/x"), pytest.raises(Error) as caught:
        ringport.open("vale4:a")
    assert "cannot open vale4:a" not in caught.value.why, "once is enough"


def test_without_a_daemon_the_user_is_told_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGPASS_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(Error, match="ringpass up") as caught:
        ringport.open("vale0:a", via="daemon")
    assert caught.value.errno == errno.ENOENT


def test_a_daemon_that_goes_ends_a_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGPASS_RUNTIME_DIR", str(tmp_path))
    with Daemon(tmp_path, "") as mortal, ringport.open("vale0:a") as port:
        timer = threading.Timer(0.01, mortal.kill)
        timer.start()
        with pytest.raises(Error, match="who served it is gone") as caught:
            port.wait_readable(PATIENCE_S)
        timer.join()
        assert caught.value.errno == errno.EPIPE


def test_who_waits_for_a_monitor_is_told_that_its_port_has_gone() -> None:
    parent = ringport.open("vale5:parent")
    with ringport.open("vale5:parent/rt") as monitor:
        parent.tx[0].put(FRAME)
        parent.txsync()
        assert receive(monitor, 1) == [FRAME]
        timer = threading.Timer(0.01, parent.close)
        timer.start()
        with pytest.raises(Error, match=r"vale5:parent, which it monitored, is gone") as caught:
            monitor.wait_readable(PATIENCE_S)
        timer.join()
        assert caught.value.errno == errno.EIO
        for sync in (monitor.rxsync, monitor.txsync, monitor.rx[0].sync):
            with pytest.raises(Error, match="is gone"):
                sync()


def test_coroutines_are_told_as_well() -> None:
    parent = ringport.open("vale5:parent")
    with ringport.open("vale5:parent/rt") as monitor:

        async def read() -> None:
            asyncio.get_running_loop().call_later(0.01, parent.close)
            async with asyncio.timeout(PATIENCE_S):
                await monitor.readable()

        with pytest.raises(Error, match="is gone"):
            asyncio.run(read())


def test_what_a_monitor_has_when_its_port_goes_is_read_first() -> None:
    parent = ringport.open("vale5:parent")
    with ringport.open("vale5:parent/rt") as monitor:
        parent.tx[0].put(FRAME)
        parent.txsync()
        parent.close()
        assert receive(monitor, 1) == [FRAME]
        with pytest.raises(Error, match="is gone"):
            monitor.wait_readable(PATIENCE_S)


def test_a_monitor_sends_nothing() -> None:
    with ringport.open("vale5:shown"), ringport.open("vale5:shown/rt") as monitor:
        monitor.txsync()
        monitor.tx[0].put(FRAME)
        with pytest.raises(Error, match="a monitor sends nothing") as caught:
            monitor.txsync()
        assert caught.value.errno == errno.EIO


def send_nonsense(port: Port) -> None:
    """Send a slot without a buffer, and sync until that is refused."""
    port.tx[0].slot(0).buf_idx = 0
    port.tx[0].advance()
    while True:
        port.txsync()


def test_the_user_of_a_port_that_breaks_is_told_until_it_is_repaired(daemon: Daemon) -> None:
    with ringport.open("vale5:bad") as bad, ringport.open("vale5:good") as good:
        with pytest.raises(Error, match="buffer index is not in the region") as caught:
            send_nonsense(bad)
        assert caught.value.errno == errno.EIO
        with pytest.raises(Error, match="buffer index"):
            bad.wait_readable(PATIENCE_S)
        good.tx[0].put(FRAME)
        good.txsync()
        (problem,) = daemon.call("status")["problems"]
        assert "close it and open it again" in problem
        bad.tx[0].slot(0).buf_idx = bad.tx[0].slot(1).buf_idx
        daemon.call("port.repair", name="vale5:bad")
        bad.rxsync()


def test_a_capture_ends_with_its_port(tmp_path: Path) -> None:
    file = tmp_path / "seen.pcapng"
    with (
        ringport.open("vale5:seen") as port,
        ringpass("capture", "vale5:seen", "-w", str(file)) as process,
    ):
        while not file.exists() or FRAME not in file.read_bytes():
            port.tx[0].put(FRAME)
            port.txsync()
            assert process.poll() is None
        port.close()
        _, talk = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "vale5:seen, which it monitored, is gone" in talk


def test_nothing_is_left_behind() -> None:
    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count("memfd:")

    before, mapped = open_fds(), mappings()
    for _ in range(3):
        with ringport.open("vale5:a") as port:
            port.rx[0].batch()
            port.fileno()
            port.wait_readable(0.001)
        with pytest.raises(Error):
            ringport.open("vale5:a@9999")
    assert open_fds() <= before
    assert mappings() == mapped


def test_no_descriptor_of_a_port_is_inherited() -> None:
    before = descriptors()
    with ringport.open("vale5:a") as port:
        port.fileno()
        opened = descriptors() - before
        assert len(opened) > 2
        assert [fd for fd in opened if os.get_inheritable(fd)] == []


def test_an_answer_with_descriptors_cut_off_is_refused(tmp_path: Path) -> None:
    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 16384, 1)
            with socket.socket(fileno=fds[0]) as reply:
                socket.send_fds(reply, [b"x"], [0] * 253)

    path = tmp_path / "netmap.sock"
    before = descriptors()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        server = threading.Thread(target=answer, args=(listener,))
        server.start()
        with pytest.raises(Error, match="cut off") as caught:
            DaemonPort("vale0:a", path=path)
        server.join(PATIENCE_S)
    assert caught.value.errno == errno.EMFILE
    assert descriptors() <= before


def test_pktgen_loses_nothing_in_a_pipe() -> None:
    count = ["-n", "200000", "--check", "--json", "-T", "0"]
    with (
        ringpass("pktgen", "-i", "vale6:x}1", "-f", "rx", *count) as rx,
        ringpass("pktgen", "-i", "vale6:x{1", "-f", "tx", *count) as tx,
    ):
        sent, received = result(tx), result(rx)
    assert (sent["frames"], sent["bytes"]) == (200000, 12000000)
    assert (received["frames"], received["bytes"]) == (200000, 12000000)
    assert (received["lost"], received["reordered"], received["foreign"]) == (0, 0, 0)


def test_pktgen_pings_through_a_switch() -> None:
    options = ["-f", "ping", "-n", "50", "--json", "-T", "0"]
    with ringpass("pktgen", "-i", "vale7:b", "-f", "pong", "-T", "50") as pong:
        said(pong, "Mpps")
        with ringpass("pktgen", "-i", "vale7:a", *options) as ping:
            found = result(ping)
        pong.send_signal(signal.SIGINT)
        out, _ = pong.communicate(timeout=PATIENCE_S)
    assert found["frames"] + found["lost"] == 50
    assert found["frames"] > 0
    assert 0 < found["rtt_us"]["min"] <= found["rtt_us"]["p99"]
    assert pong.returncode == 0
    assert "frames" in out


def test_bridge_joins_two_pipes_without_a_copy() -> None:
    count = ["-n", "100000", "--check", "--json", "-T", "0"]
    with (
        ringpass("bridge", "vale8:x}1", "vale8:x{2", "--json") as bridge,
        ringpass("pktgen", "-i", "vale8:x}2", "-f", "rx", *count) as rx,
        ringpass("pktgen", "-i", "vale8:x{1", "-f", "tx", *count) as tx,
    ):
        result(tx)
        received = result(rx)
        bridge.send_signal(signal.SIGINT)
        found = result(bridge)
    assert (received["frames"], received["lost"], received["reordered"]) == (100000, 0, 0)
    assert found["zero_copy"] is True
    there, back = found["directions"]
    assert (there["slots"], there["bytes"]) == (100000, 6000000)
    assert (back["slots"], back["bytes"]) == (0, 0)


def test_bridge_copies_between_switches() -> None:
    with (
        ringport.open("vale9:a") as a,
        ringport.open("vale10:a") as b,
        ringpass("bridge", "vale9:x", "vale10:x", "--json") as bridge,
    ):
        said(bridge, "with a copy")
        a.tx[0].put(FRAME)
        a.txsync()
        assert receive(b, 1) == [FRAME]
        b.tx[0].put(FRAME * 2)
        b.txsync()
        assert receive(a, 1) == [FRAME * 2]
        bridge.send_signal(signal.SIGTERM)
        found = result(bridge)
    assert [way["bytes"] for way in found["directions"]] == [60, 120]


def test_bridge_does_not_join_a_port_with_itself() -> None:
    with ringpass("bridge", "vale9:x", "vale9:x@conf:slots=64") as process:
        _, talk = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert "the same rings of one port" in talk


@pytest.mark.parametrize(
    ("name", "why"),
    [("vale13:none", "port vale13:none is not there"), ("vale13:guest", "that can be shared")],
)
def test_a_region_that_cannot_be_shared_is_told_by_its_port(
    daemon: Daemon, name: str, why: str
) -> None:
    daemon.call("switch.add", name="vale13")
    daemon.call("port.add", name="vale13:guest", settings={})
    with pytest.raises(Error, match=why) as refused:
        ringport.open(f"vale12:a@share={name}")
    assert refused.value.errno == errno.EINVAL
    daemon.call("port.remove", name="vale13:guest")


def test_a_command_tells_errors_in_three_lines() -> None:
    with ringpass("bridge", "vale0:a", "vale0") as process:
        _, talk = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert [line.split(":")[0] for line in talk.splitlines()] == ["error", "why", "fix"]


def test_the_netmap_transport_works_on_what_serves_dev_netmap() -> None:
    """ioctl, mmap and poll on /dev/netmap, which the interposing library serves."""
    program = """if 1:
        import sys, ringport
        with (
            ringport.open("vale11:a", via="netmap", extra_bufs=2) as a,
            ringport.open("vale11:b@share=vale11:a", via="netmap") as b,
        ):
            assert len(a.extra_bufs) == 2
            assert a.region_key == b.region_key
            frame = bytes.fromhex(sys.argv[1])
            assert not b.wait_readable(0.001)
            assert a.tx[0].put(frame)
            a.txsync()
            assert b.wait_readable(60)
            assert b.rx[0].get() == frame
            a.tx[0].put(frame)
            a.wait_writable(0)
            assert b.wait_readable(60)
        try:
            ringport.open("vale11:a@9999", via="netmap")
        except ringport.Error as error:
            print(error.errno, error)
    """
    with ringpass("netmap", "--", sys.executable, "-c", program, FRAME.hex()) as process:
        out, talk = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, talk
    assert out.startswith(f"{errno.EINVAL} cannot open vale11:a@9999: ")
    assert not os.path.lexists("/dev/netmap")
