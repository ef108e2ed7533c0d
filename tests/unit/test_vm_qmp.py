# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass vm qmp`: a command for any QEMU."""

import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringpass.cli import main as cli

ANSWERS: dict[str, dict[str, Any]] = {
    "qmp_capabilities": {"return": {}},
    "query-name": {"return": {"name": "vm1"}},
    "set_link": {"return": {}},
    "netdev_del": {"error": {"class": "DeviceNotFound", "desc": "there is no net7"}},
}


class Machine:
    """One who speaks QMP, to one client; an event comes before each answer."""

    def __init__(self, path: Path) -> None:
        self.asked: list[dict[str, Any]] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        try:
            client, _ = self.listener.accept()
        except OSError:  # nobody came
            return
        with client:
            client.sendall(b'{"QMP": {}}\n')
            while data := client.recv(65536):
                self.asked.append(json.loads(data))
                said = [{"event": "RESUME"}, ANSWERS[self.asked[-1]["execute"]]]
                client.sendall("".join(f"{json.dumps(one)}\n" for one in said).encode())

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@pytest.fixture
def place(runtime_dir: Path) -> Path:
    return runtime_dir / "vm1.qmp"


@pytest.fixture
def machine(place: Path) -> Iterator[Machine]:
    machine = Machine(place)
    yield machine
    machine.close()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["ringpass", "vm", "qmp", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_what_qemu_returns_is_data(
    machine: Machine,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, place, "query-name") == 0
    assert json.loads(capsys.readouterr().out) == {"name": "vm1"}
    assert [one["execute"] for one in machine.asked] == ["qmp_capabilities", "query-name"]


def test_a_command_is_told_its_arguments(
    machine: Machine, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, place, "set_link", '{"name": "net0", "up": false}') == 0
    assert machine.asked[-1]["arguments"] == {"name": "net0", "up": False}


def test_a_refusal_is_an_error_with_its_reason(
    machine: Machine,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert machine
    assert run(monkeypatch, place, "netdev_del", '{"id": "net7"}') == 1
    assert "there is no net7" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nobody", "query-name"], 4, "nobody"),
        (["nobody", "set_link", "net0"], 2, "cannot tell QEMU net0"),
        (["nobody", "set_link", "[]"], 2, "object"),
    ],
)
@pytest.mark.usefixtures("runtime_dir")
def test_what_cannot_be_asked_is_refused(
    arguments: list[str],
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *arguments) == code
    assert words in capsys.readouterr().err
