# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass capture`, on ports of a backend in its own process: files, pipes, signals, tshark."""

import errno
import io
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pcapng
import pytest
from pcapng.blocks import EnhancedPacket, InterfaceStatistics
from typer.testing import CliRunner

import ringpass
import ringport
from ringpass.capture import Writer
from ringpass.cli import capture
from ringpass.errors import ConfigError, Denied, NotFound, RingpassError
from tests.support.wait import PATIENCE_S

FRAME = bytes.fromhex("02000000000202000000000188b5") + bytes(46)

# A sender that does not stop, and the command line in the same process.
PROGRAM = """
import sys, threading, time
import ringpass, ringport
from ringpass.cli import capture
from tests.support.wait import PATIENCE_S

backend = ringpass.Backend()
port = backend.open("vale0:a")
ringport.open = backend.open

def send():
    while True:
        port.tx[0].put(bytes.fromhex("02000000000202000000000188b5") + bytes(46))
        port.txsync()
        time.sleep(0.001)

threading.Thread(target=send, daemon=True).start()
capture.app(sys.argv[1:])
"""


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[ringpass.Backend]:
    with ringpass.Backend() as made:
        monkeypatch.setattr(ringport, "open", made.open)
        yield made


def run(*argv: str | Path) -> str:
    """Run the command; return what it printed. Raises what it raises."""
    result = CliRunner().invoke(capture.app, [str(word) for word in argv])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def start(*argv: str, stdout: int | BinaryIO = subprocess.PIPE) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *argv], stdout=stdout, stderr=subprocess.PIPE
    )


def blocks(data: bytes) -> list[object]:
    return list(pcapng.FileScanner(io.BytesIO(data)))


def recording(backend: ringpass.Backend, file: Path) -> None:
    """Record one frame of a port that sends all the time."""
    done = threading.Event()
    with backend.open("vale0:a") as port:

        def send() -> None:
            while not done.wait(0.001):
                port.tx[0].put(FRAME)
                port.txsync()

        sender = threading.Thread(target=send)
        sender.start()
        try:
            run("vale0:a", "-w", file, "-c", "1")
        finally:
            done.set()
            sender.join()
        open_ports = [each.name for each in backend._open if not each.closed]
        assert open_ports == ["vale0:a"], "the monitor has gone"


def test_what_was_recorded_is_replayed(backend: ringpass.Backend, tmp_path: Path) -> None:
    file = tmp_path / "frames.pcapng"
    with file.open("wb") as stream:
        writer = Writer(stream, "vale0:a", 1000)
        for number in range(3):
            writer.packet(number, FRAME, 1)
            writer.packet(number, b"", 1)
    with backend.open("vale0:b") as receiver:
        said = json.loads(run("vale0:c", "--replay", file, "--fast", "--json"))
        receiver.rxsync()
        assert [receiver.rx[0].get() for _ in range(4)] == [FRAME] * 3 + [None]
    assert said == {"port": "vale0:c", "packets": 3, "bytes": 180, "skipped": 0, "empty": 3}


def test_what_was_before_the_damage_is_sent_and_told(
    backend: ringpass.Backend, tmp_path: Path
) -> None:
    file = tmp_path / "frames.pcapng"
    with file.open("wb") as stream:
        writer = Writer(stream, "vale0:a", 1000)
        for number in range(3):
            writer.packet(number, FRAME, 1)
        writer.flush()
    file.write_bytes(file.read_bytes()[:-10])
    with backend.open("vale0:b") as receiver:
        with pytest.raises(RingpassError, match="the 2 frames before that have been sent"):
            run("vale0:c", "--replay", file, "--fast")
        receiver.rxsync()
        assert [receiver.rx[0].get() for _ in range(3)] == [FRAME] * 2 + [None]
    file.write_bytes(b"no such file")
    with pytest.raises(RingpassError) as refused:
        run("vale0:c", "--replay", file)
    assert "sent" not in refused.value.why


def test_the_monitor_goes_with_the_command(backend: ringpass.Backend, tmp_path: Path) -> None:
    recording(backend, tmp_path / "a.pcapng")
    assert isinstance(blocks((tmp_path / "a.pcapng").read_bytes())[-1], InterfaceStatistics)


@pytest.mark.parametrize(
    "argv",
    [
        ["vale0:a"],
        ["vale0:a", "-w", "x", "--replay", "y"],
        ["vale0:a", "-w", "x", "--direction", "up"],
        ["vale0:a", "-w", "x", "--direction", "tx", "--zero-copy"],
    ],
)
def test_arguments_that_contradict_each_other(argv: list[str]) -> None:
    with pytest.raises(ConfigError):
        run(*argv)


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EACCES, Denied), (errno.EPERM, Denied), (errno.ENXIO, NotFound)]
)
def test_a_refused_port_has_the_exit_code_of_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, kind: type[RingpassError]
) -> None:
    def refuse(name: str) -> None:
        raise ringport.Error(number, f"cannot open {name}")

    monkeypatch.setattr(ringport, "open", refuse)
    frames = tmp_path / "frames.pcapng"
    with frames.open("wb") as stream:
        Writer(stream, "vale0:a", 1000)
    for way in (("-w", tmp_path / "x"), ("--replay", frames)):
        with pytest.raises(kind, match="cannot open vale0:a"):
            run("vale0:a", *way)


def test_what_cannot_be_opened(backend: ringpass.Backend, tmp_path: Path) -> None:
    with pytest.raises(RingpassError, match="no program has it open"):
        run("vale0:a", "-w", tmp_path / "x")
    with backend.open("vale0:a"), pytest.raises(RingpassError, match="cannot write"):
        run("vale0:a", "-w", tmp_path)
    with pytest.raises(RingpassError, match="cannot read"):
        run("vale0:a", "--replay", tmp_path / "none")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_recording_and_the_file_is_whole(number: signal.Signals) -> None:
    with start("vale0:a", "-w", "-") as process:
        assert process.stdout is not None
        head = process.stdout.read(1000)
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 0, said
    found = blocks(head + rest)
    assert isinstance(found[-1], InterfaceStatistics)
    packets = sum(isinstance(block, EnhancedPacket) for block in found)
    assert f"{packets} frames captured, 0 dropped" in said.decode()


def test_a_reader_that_has_seen_enough() -> None:
    with start("vale0:a", "-w", "-") as process:
        assert process.stdout is not None
        process.stdout.read(100)
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(PATIENCE_S) == 0, said
    assert said == b""


def test_a_full_disk_is_told(backend: ringpass.Backend) -> None:
    with backend.open("vale0:a"), pytest.raises(RingpassError, match="No space left") as caught:
        run("vale0:a", "-w", "/dev/full", "--duration", "0")
    assert caught.value.fix
    full = Path("/dev/full")
    with full.open("wb") as stdout, start("vale0:a", "-w", "-", stdout=stdout) as process:
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert "No space left" in said
    assert "Exception ignored" not in said, "what was left was written once more, and failed"


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_understands_it(backend: ringpass.Backend, tmp_path: Path) -> None:
    recording(backend, tmp_path / "a.pcapng")
    fields = ["frame.interface_name", "frame.packet_flags_direction", "frame.len", "eth.type"]
    seen = subprocess.run(
        ["tshark", "-r", "-", "-T", "fields", *(word for name in fields for word in ("-e", name))],
        stdin=(tmp_path / "a.pcapng").open("rb"),
        capture_output=True,
        check=True,
        timeout=100,
    ).stdout.decode()
    name, direction, size, kind = seen.split()
    assert (name, int(size), int(kind, 16)) == ("vale0:a", 60, 0x88B5)
    assert int(direction, 0) == 2  # outbound
