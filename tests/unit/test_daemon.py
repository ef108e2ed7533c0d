# SPDX-License-Identifier: BSD-2-Clause
"""The daemon's life and its control socket."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringpass import rpc
from ringpass.client import Client
from ringpass.errors import (
    ConfigError,
    DaemonUnreachable,
    Denied,
    ExitCode,
    NotFound,
    RingpassError,
)
from tests.support.daemon import RINGPASS, Daemon
from tests.support.miniguest import MiniGuest, wait_for
from tests.support.processes import stopped
from tests.support.vhost import RawFrontEnd
from tests.support.wait import PATIENCE_S

VM1, VM2 = "vale0:vm1", "vale0:vm2"
TABLES: dict[str, Any] = {"switch": {"vale0": {}}, "port": {VM1: {}, VM2: {"queues": 2}}}
CONFIG = f'[switch.vale0]\n[port."{VM1}"]\n[port."{VM2}"]\nqueues = 2\n'


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that tests share which leave it as it was."""
    with Daemon(tmp_path_factory.mktemp("d"), CONFIG) as daemon:
        yield daemon


@pytest.fixture
def daemon(runtime_dir: Path) -> Iterator[Daemon]:
    with Daemon(runtime_dir, CONFIG) as daemon:
        yield daemon


def apply(daemon: Daemon, tables: dict[str, Any], *, dry_run: bool = False) -> list[str]:
    answer = daemon.call("apply", config=tables, source="test", dry_run=dry_run)
    return [action["text"] for action in answer["actions"]]


# Life


def test_a_signal_ends_it_cleanly(daemon: Daemon) -> None:
    front_end = RawFrontEnd.connect(daemon.socket(VM1))
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(PATIENCE_S) == 0
    assert front_end.closed()
    left = {path.name for path in daemon.runtime_dir.iterdir()}
    assert left == {"daemon.lock", "log", "test.toml"}


def test_a_second_daemon_is_refused_with_the_process_of_the_first(daemon: Daemon) -> None:
    assert daemon.process is not None
    second = subprocess.run(
        [RINGPASS, "--runtime-dir", daemon.runtime_dir, "up", daemon.config],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert second.returncode == ExitCode.FAILED
    assert f"process {daemon.process.pid}" in second.stderr
    assert daemon.call("ping")["pid"] == daemon.process.pid
    assert daemon.socket(VM1).exists()


def test_after_a_crash_it_starts_again_and_front_ends_come_back(daemon: Daemon) -> None:
    with MiniGuest(daemon.socket(VM1)) as guest:
        daemon.kill()
        assert guest.front_end.closed()
        assert daemon.socket(VM1).exists(), "what the crash left"
    with pytest.raises(DaemonUnreachable) as caught:
        daemon.call("ping")
    assert "ringpass up" in caught.value.fix
    daemon.start()
    with MiniGuest(daemon.socket(VM1)):
        assert daemon.call("port.show", name=VM1)["state"] == "up"


@pytest.mark.parametrize(
    ("text", "code", "why"),
    [
        ("[swich.vale0]", ExitCode.USAGE, "did you mean 'switch'"),
        (f'[switch.vale0]\n[port."{VM1}"]\npath = "/nowhere/x.sock"', ExitCode.USAGE, "/nowhere"),
        (f'[switch.vale0]\n[port."{VM1}"]\npath = "{"x" * 120}"', ExitCode.USAGE, "107"),
        ("[daemon]\nworkers = [{cpu = 4000}]", ExitCode.USAGE, "no processor 4000"),
    ],
)
def test_a_configuration_that_cannot_be_had_leaves_nothing(
    runtime_dir: Path, text: str, code: ExitCode, why: str
) -> None:
    (runtime_dir / "test.toml").write_text(text)
    done = subprocess.run(
        [RINGPASS, "--runtime-dir", runtime_dir, "up", runtime_dir / "test.toml"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert why.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert {path.name for path in runtime_dir.iterdir()} <= {"daemon.lock", "test.toml"}


# Operations


def test_what_is_added_twice_is_unchanged_and_what_is_removed_twice_absent(shared: Daemon) -> None:
    results = [
        shared.call("switch.add", name="vale1")["result"],
        shared.call("switch.add", name="vale1")["result"],
        shared.call("port.add", name="vale1:a", settings={"queues": 2})["result"],
        shared.call("port.add", name="vale1:a", settings={"queues": 2})["result"],
        shared.call("port.remove", name="vale1:a")["result"],
        shared.call("port.remove", name="vale1:a")["result"],
        shared.call("switch.remove", name="vale1")["result"],
        shared.call("switch.remove", name="vale1")["result"],
        shared.call("port.repair", name=VM1)["result"],
    ]
    assert results == ["added", "unchanged"] * 2 + ["removed", "absent"] * 2 + ["unchanged"]


@pytest.mark.parametrize(
    ("method", "params", "kind", "text"),
    [
        ("switch.add", {"name": "vale0", "ageing": 5}, ConfigError, "ageing 300"),
        ("switch.add", {"name": "lan"}, ConfigError, "vale"),
        ("switch.remove", {"name": "vale0"}, RingpassError, VM1),
        ("switch.fdb", {"name": "vale9"}, NotFound, "did you mean vale0"),
        ("port.add", {"name": VM1, "settings": {"mtu": 9000}}, ConfigError, "other settings"),
        ("port.add", {"name": "vale9:x"}, ConfigError, "no switch vale9"),
        ("port.add", {"name": "vale0:x", "settings": {"mut": 1}}, ConfigError, "'mtu'"),
        ("port.add", {"name": "vale0:x", "settings": {"path": "vale0.vm1.sock"}}, ConfigError, VM1),
        ("port.show", {"name": "vale0:vm3"}, NotFound, "did you mean"),
        ("port.repair", {"name": "vale7:abc"}, NotFound, "ringpass port ls"),
        ("apply", {"config": {"port": {VM1: {}}}}, ConfigError, "no switch vale0"),
        ("apply", {"config": {"daemon": {"runtime_dir": "/x"}}}, ConfigError, "runtime_dir"),
    ],
)
def test_what_cannot_be_done_says_why(
    shared: Daemon, method: str, params: dict[str, Any], kind: type[RingpassError], text: str
) -> None:
    with pytest.raises(kind) as caught:
        shared.call(method, **params)
    assert text in str(caught.value)
    assert caught.value.exit_code == kind.default_exit_code


def test_apply_changes_what_differs_and_touches_nothing_else(daemon: Daemon) -> None:
    assert apply(daemon, TABLES) == []
    with MiniGuest(daemon.socket(VM1)) as guest:
        wanted: dict[str, Any] = {
            "daemon": {"workers": 2, "socket_mode": "0600"},
            "switch": {"vale0": {"ageing": 7}, "vale1": {}},
            "port": {VM1: {"full": "drop"}, "vale1:new": {"mtu": 9000}},
        }
        expected = apply(daemon, wanted, dry_run=True)
        assert len(expected) == 7
        shown = daemon.call("config.show")["switch"]
        assert {name: switch["ageing"] for name, switch in shown.items()} == {"vale0": 300}
        assert apply(daemon, wanted) == expected
        assert apply(daemon, wanted) == []
        shown = daemon.call("port.show", name=VM1)
        assert shown["front_end"]["pid"] == os.getpid(), "it stayed connected"
        assert shown["sessions"] == 1
        assert not daemon.socket(VM2).exists()
        assert daemon.socket("vale1:new").exists()
        assert daemon.socket(VM1).stat().st_mode & 0o777 == 0o600
        removed = apply(daemon, {})
        assert f"process {os.getpid()} is disconnected" in removed[0]
        assert guest.front_end.closed()
    assert daemon.call("status")["ports"] == []
    assert len(daemon.call("status")["workers"]) == 1


def test_the_configuration_that_is_shown_can_be_applied(shared: Daemon) -> None:
    shown = shared.call("config.show")
    assert apply(shared, shown) == []


def test_an_action_that_fails_says_how_far_it_came(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        path = daemon.runtime_dir / "taken.sock"
        other.bind(str(path))
        other.listen()
        tables = {**TABLES, "switch": {"vale0": {}, "vale1": {}}}
        tables["port"] = {**TABLES["port"], "vale1:x": {"path": str(path)}}
        with pytest.raises(RingpassError) as caught:
            apply(daemon, tables)
    assert f"process {os.getpid()} listens there" in caught.value.why
    assert "1 of 2 actions were done" in caught.value.why
    assert apply(daemon, tables) == [f"+ port vale1:x: vhost-user, server of {path}, queues 1"]


def test_a_port_that_is_repaired_by_hand_goes_on_with_its_front_end(shared: Daemon) -> None:
    with MiniGuest(shared.socket(VM1)) as guest:
        guest.rings[1].set_avail_index(999)
        os.eventfd_write(guest.rings[1].kick, 1)
        wait_for(lambda: shared.call("port.show", name=VM1)["state"] == "broken", "the port")
        guest.rings[1].set_avail_index(0)
        assert shared.call("port.repair", name=VM1)["result"] == "repaired"
        assert shared.call("port.show", name=VM1)["state"] == "up"
        guest.send(bytes(60))


# The language


def raw(daemon: Daemon, *lines: bytes) -> list[Any]:
    """Send `lines` and the end; return the answers."""
    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(PATIENCE_S)
        connected.connect(str(daemon.runtime_dir / "control.sock"))
        connected.sendall(b"".join(line + b"\n" for line in lines))
        connected.shutdown(socket.SHUT_WR)
        data = b""
        while part := connected.recv(1 << 16):
            data += part
    return [json.loads(line) for line in data.splitlines()]


def _line(**members: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **members}).encode()


@pytest.mark.parametrize(
    ("line", "code", "id_"),
    [
        (b"{", rpc.PARSE_ERROR, None),
        (b"\xff\xfe", rpc.PARSE_ERROR, None),
        (b"[]", rpc.INVALID_REQUEST, None),
        (b"3", rpc.INVALID_REQUEST, None),
        (_line(id=1), rpc.INVALID_REQUEST, None),
        (_line(jsonrpc="1.0", method="ping", id=1), rpc.INVALID_REQUEST, None),
        (_line(method="pong", id=1), rpc.METHOD_NOT_FOUND, 1),
        (_line(method="ping", params={"x": 1}, id="a"), rpc.INVALID_PARAMS, "a"),
        (_line(method="port.show", params={"name": 3}, id=1), rpc.INVALID_PARAMS, 1),
        (_line(method="port.show", params={"name": "x"}, id=1), rpc.APPLICATION - 4, 1),
    ],
)
def test_a_bad_request_is_answered_with_its_error(
    shared: Daemon, line: bytes, code: int, id_: object
) -> None:
    refused, answered = raw(shared, line, _line(method="ping", id=2))
    assert refused["jsonrpc"] == "2.0"
    assert refused["error"]["code"] == code
    assert refused["error"]["message"]
    assert refused["id"] == id_
    assert "result" not in refused
    assert answered["result"]["pid"], "the connection goes on"


def test_who_sends_no_id_gets_no_answer(daemon: Daemon) -> None:
    add = _line(method="switch.add", params={"name": "vale7"})
    assert raw(daemon, add) == []
    assert [s["name"] for s in daemon.call("switch.list")] == ["vale0", "vale7"]


def test_a_line_without_end_is_refused(shared: Daemon) -> None:
    (refused,) = raw(shared, b"x" * (rpc.MAX_LINE + 10))
    assert refused["error"]["code"] == rpc.PARSE_ERROR
    assert shared.call("ping")


def test_many_clients_at_once_are_served(shared: Daemon) -> None:
    clients = [Client(shared.runtime_dir / "control.sock") for _ in range(30)]
    for client in clients:
        assert client.call("ping")
    for client in clients:
        assert client.call("status")["ports"]
        client.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_denied(daemon: Daemon) -> None:
    daemon.runtime_dir.chmod(0o755)
    for mode, reason in ((0o600, "belongs to another user"), (0o666, "does not own")):
        (daemon.runtime_dir / "control.sock").chmod(mode)
        child = os.fork()
        if child == 0:
            os.setresuid(65534, 65534, 65534)
            try:
                Client(daemon.runtime_dir / "control.sock").call("status")
            except Denied as error:
                os._exit(0 if reason in error.why else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0


def test_a_daemon_that_hangs_is_reported(shared: Daemon) -> None:
    assert shared.process is not None
    client = Client(shared.runtime_dir / "control.sock", timeout=0.2)
    with (
        stopped(shared.process.pid),
        pytest.raises(DaemonUnreachable, match="did not answer within") as caught,
    ):
        client.call("ping")
    assert "ringpass top" in caught.value.fix
