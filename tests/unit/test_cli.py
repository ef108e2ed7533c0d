# SPDX-License-Identifier: BSD-2-Clause
"""The command line: data on standard output, talk on standard error, exit codes that stay."""

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import ringpass
from ringpass.cli import main as cli
from ringpass.client import TIMEOUT_S
from ringpass.errors import ExitCode
from tests.support.daemon import Daemon
from tests.support.miniguest import MiniGuest, frame, wait_for

VM1 = "vale0:vm1"
CONFIG = f'[switch.vale0]\n[port."{VM1}"]\n[port."vale0:sink"]\nkind = "null"\n'


class Result(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the command line in this process."""
    # Set, then deleted: what a command sets is forgotten after the test.
    monkeypatch.setenv("RINGPASS_RUNTIME_DIR", "")
    monkeypatch.delenv("RINGPASS_RUNTIME_DIR")

    def call(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["ringpass", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Result(int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d"), CONFIG) as daemon:
        yield daemon


@pytest.fixture
def ask(run: Run, daemon: Daemon) -> Run:
    """Return a function that runs a command for the daemon."""
    return lambda *arguments: run("--runtime-dir", daemon.runtime_dir, *arguments)


def test_the_version_is_data(run: Run) -> None:
    assert run("--version") == (0, f"ringpass {ringpass.__version__}\n", "")


def test_help_lists_the_commands(run: Run) -> None:
    helped = run("--help")
    assert helped.code == 0
    for command in ("up", "down", "status", "apply", "switch", "port", "config"):
        assert command in helped.out


@pytest.mark.parametrize("arguments", [("nonsense",), ("port", "nonsense"), ("port", "show")])
def test_wrong_usage_has_its_exit_code(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.code == ExitCode.USAGE
    assert result.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("status", "--json"),
        ("switch", "ls"),
        ("switch", "add", "vale0"),
        ("switch", "rm", "vale0"),
        ("switch", "fdb", "vale0"),
        ("port", "ls"),
        ("port", "show", VM1),
        ("port", "add", VM1),
        ("port", "rm", VM1),
        ("port", "repair", VM1),
        ("config", "show"),
        ("vm", "xml", VM1),
        ("capture", VM1, "-w", "-"),
        ("capture", VM1, "--replay", "-"),
        ("pktgen", "-i", VM1),
        ("bridge", VM1, "vale0:b"),
        ("top", "--once"),
    ],
)
def test_without_a_daemon_each_command_says_so(
    run: Run, runtime_dir: Path, arguments: tuple[str, ...]
) -> None:
    result = run("--runtime-dir", runtime_dir, *arguments)
    assert result.code == ExitCode.UNREACHABLE
    assert result.out == ""
    lines = result.err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "why", "fix"]
    assert "ringpass up FILE.toml" in lines[2]


def test_a_runtime_directory_need_not_be_readable(
    run: Run, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK and access(path, mode))
    assert run("--runtime-dir", runtime_dir, "status").code == ExitCode.UNREACHABLE


def test_without_a_daemon_there_is_nothing_to_stop(run: Run, runtime_dir: Path) -> None:
    stopped = run("--runtime-dir", runtime_dir, "down", "--json")
    assert (stopped.code, json.loads(stopped.out)) == (0, {"result": "absent"})


def test_status_shows_everything(ask: Run, daemon: Daemon) -> None:
    with MiniGuest(daemon.socket("vale0:sink")) as guest:
        guest.send(frame("52:54:00:00:00:01", "52:54:00:00:00:02", b""))
        shown = ask("status")
        data = json.loads(ask("status", "--json").out)
    assert shown.code == 0
    assert shown.err == ""
    for text in ("vale0:sink", "discard", "adaptive", "waiting", str(daemon.call("ping")["pid"])):
        assert text in shown.out
    assert "\x1b" not in shown.out, "no colours in a pipe"
    ports = {port["name"]: port for port in data["ports"]}
    assert ports["vale0:sink"]["tx"]["drops"]["discard"] >= 1
    assert ports[VM1]["state"] == "waiting"


def test_a_broken_port_comes_first(ask: Run, daemon: Daemon) -> None:
    with MiniGuest(daemon.socket(VM1)) as guest:
        guest.rings[1].set_avail_index(999)
        os.eventfd_write(guest.rings[1].kick, 1)
        wait_for(lambda: daemon.call("port.show", name=VM1)["state"] == "broken", "the port")
        lines = ask("status").out.splitlines()
        assert lines[1].startswith(f"! {VM1}: broken: ")
        assert ask("port", "ls").out.splitlines()[1].startswith(VM1)
        assert "broken: transmit virtqueue 0" in ask("port", "show", VM1).out


def test_switches_come_and_go(ask: Run) -> None:
    added = ask("switch", "add", "vale5", "--ageing", "9", "--json")
    assert json.loads(added.out) == {"result": "added"}
    again = ask("switch", "add", "vale5", "--ageing", "9")
    assert (again.code, again.out, again.err) == (0, "", "vale5: unchanged\n")
    assert ask("switch", "add", "vale5", "--ageing", "8").code == ExitCode.USAGE
    shown = {"name": "vale5", "ageing": 9, "ports": [], "addresses": 0, "logic": "bridge"}
    shown["ephemeral"] = False
    assert shown in json.loads(ask("switch", "ls", "--json").out)
    assert "vale5" in ask("switch", "ls").out
    assert json.loads(ask("switch", "fdb", "vale5", "--json").out) == []
    assert json.loads(ask("switch", "rm", "vale5", "--json").out) == {"result": "removed"}
    assert json.loads(ask("switch", "rm", "vale5", "--json").out) == {"result": "absent"}
    assert ask("switch", "fdb", "vale5").code == ExitCode.NOT_FOUND


def test_ports_come_and_go_with_all_their_settings(ask: Run, daemon: Daemon) -> None:
    options = ["--kind", "vhost-user", "--mode", "server", "--path", "p.sock", "--queues", "2"]
    options += ["--mtu", "9000", "--mac", "52:54:00:00:00:77", "--full", "drop", "--hold-us", "5"]
    options += ["--offload", "csum", "--offload", "tso4", "--withhold", "packed"]
    options += ["--worker", "0"]
    assert json.loads(ask("port", "add", "vale0:p", *options, "--json").out) == {"result": "added"}
    assert daemon.call("config.show")["port"]["vale0:p"] == {
        "kind": "vhost-user",
        "mode": "server",
        "path": str(daemon.runtime_dir / "p.sock"),
        "queues": 2,
        "mtu": 9000,
        "mac": "52:54:00:00:00:77",
        "full": "drop",
        "hold_us": 5,
        "offloads": ["csum", "tso4"],
        "withhold": ["packed"],
        "worker": 0,
        "interface": None,
        "host": False,
        "fallback": "packet",
        "polling": [],
        "slots": 1024,
        "region": None,
        "extra_rings": 8,
        "extra_buffers": 1024,
    }
    assert json.loads(ask("port", "show", "vale0:p", "--json").out)["mtu"] == 9000
    shown = ask("port", "show", "vale0:p")
    assert "52:54:00:00:00:77" in shown.out
    assert ask("port", "rm", "vale0:p").err == "vale0:p: removed\n"
    missing = ask("port", "show", "vale0:p")
    assert missing.code == ExitCode.NOT_FOUND
    assert "ringpass port ls" in missing.err or "did you mean" in missing.err


def test_qemu_gets_arguments_for_every_kind_of_port(ask: Run, daemon: Daemon) -> None:
    for port in (VM1, "vale0:sink"):
        argv = json.loads(ask("vm", "qemu-args", port, "--json").out)
        path = daemon.call("port.show", name=port)["path"]
        assert f"socket,id=chr0,path={path},reconnect=1" in argv


def test_patched_qemu_gets_arguments_for_its_own_devices(ask: Run) -> None:
    assert ask("port", "add", "vale0:pass", "--passthrough").code == 0
    args = ("vm", "qemu-args", "vale0:pass", "--json")
    stock = " ".join(json.loads(ask(*args).out))
    assert "ivshmem-doorbell" in stock
    for device, wanted in ((), "ptnet-pci"), (("--device", "virtio-net-pci"), "virtio-net-pci"):
        argv = json.loads(ask(*args, "--qemu", "patched", *device).out)
        path = stock.partition("path=")[2].partition(".sock")[0]
        assert f"ringpass,id=net0,path={path}.netdev" in argv
        assert argv[-1].startswith(f"{wanted},id=nic0,netdev=net0")
        assert "share=on" in " ".join(argv)
        assert "virtio-net-pci.vectors=0" not in argv
    assert ask("port", "rm", "vale0:pass").code == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--device", "ptnet-pci"), "has no -netdev ringpass"),
        (("--qemu", "patched", "--uml"), "a program of its own"),
    ],
)
def test_devices_that_no_guest_can_have(ask: Run, arguments: tuple[str, ...], why: str) -> None:
    result = ask("vm", "run", VM1, *arguments)
    assert result.code == ExitCode.USAGE
    assert f"why: {why}" in result.err or why in result.err


@pytest.mark.parametrize("command", ["qemu-args", "run"])
def test_a_guest_has_a_port_once(ask: Run, command: str) -> None:
    result = ask("vm", command, VM1, "vale0:sink", VM1)
    assert result.code == ExitCode.USAGE
    assert f"error: {VM1} is named twice" in result.err
    assert "why: each name makes a network card, and a port has one" in result.err
    assert "fix: name it once" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("port", "ls"),
        ("port", "show", VM1),
        ("switch", "ls"),
        ("switch", "fdb", "vale0"),
        ("config", "show"),
    ],
)
def test_what_shows_something_does_not_wait_long(
    ask: Run, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    command = importlib.import_module(f"ringpass.cli.{arguments[0]}")
    assert command.SHOW_S < TIMEOUT_S
    monkeypatch.setattr(command, "SHOW_S", 0.01)
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        hung = ask(*arguments)
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    assert hung.code == ExitCode.UNREACHABLE
    assert "did not answer within 0.01 s" in hung.err


def test_names_that_are_not_utf_8_are_refused(ask: Run) -> None:
    added = ask("port", "add", "vale0:\udcff")
    assert added.code == ExitCode.USAGE
    assert added.err.splitlines()[1] == "why: it is not UTF-8"
    parsed = ask("port", "parse", "--json", "netmap:\udcff")
    assert parsed.code == ExitCode.USAGE
    assert json.loads(parsed.out)[0]["why"] == "it is not UTF-8"


def test_apply_prints_what_it_does(ask: Run, tmp_path: Path) -> None:
    wanted = tmp_path / "wanted.toml"
    wanted.write_text(CONFIG + '[switch.vale8]\n[port."vale8:x"]\n')
    dry = ask("apply", wanted, "--dry-run")
    assert dry.code == 0
    assert [line[:2] for line in dry.out.splitlines()] == ["+ ", "+ "]
    assert ask("apply", wanted).out == dry.out
    answer = json.loads(ask("apply", wanted, "--json").out)
    assert answer == {"dry_run": False, "actions": []}
    nothing = ask("apply", wanted)
    assert (nothing.out, nothing.err) == ("", "nothing to do\n")
    wanted.write_text(CONFIG)
    assert len(ask("apply", wanted).out.splitlines()) == 2


def test_apply_prints_names_as_they_are(ask: Run, tmp_path: Path) -> None:
    changed = tmp_path / "changed.toml"
    changed.write_text(CONFIG + '[port."vale0:x"]\npath = "[b].sock"\n')
    result = ask("apply", changed, "--dry-run")
    assert "+ port vale0:x: vhost-user" in result.out
    assert "/[b].sock, queues 1" in result.out


def test_a_wrong_file_is_reported_by_name_and_key(ask: Run, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(f'[switch.vale0]\n[port."{VM1}"]\nqueus = 2\n')
    for command in (("apply",), ("config", "check"), ("up",)):
        result = ask(*command, wrong)
        assert result.code == ExitCode.USAGE
        assert f'error: {wrong}: port."{VM1}".queus is wrong' in result.err
        assert "fix: did you mean 'queues'?" in result.err


def test_a_processor_that_is_not_there_is_refused_before_anything_is_done(
    ask: Run, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(f"[daemon]\nworkers = [{{cpu = 4000}}]\n{CONFIG}[switch.vale7]\n")
    before = ask("switch", "ls", "--json").out
    for command in (("apply", "--dry-run"), ("apply",), ("config", "check")):
        result = ask(*command, wrong)
        assert result.code == ExitCode.USAGE
        assert f"error: {wrong}: daemon.workers[0].cpu is wrong" in result.err
        assert "why: there is no processor 4000; this machine has 0 to" in result.err
        assert "fix: choose one of these" in result.err
    assert ask("switch", "ls", "--json").out == before


def test_a_right_file_is_completed(run: Run, runtime_dir: Path, tmp_path: Path) -> None:
    right = tmp_path / "right.toml"
    right.write_text(CONFIG)
    assert "2 ports" in run("--runtime-dir", runtime_dir, "config", "check", right).err
    checked = run("--runtime-dir", runtime_dir, "config", "check", right, "--json")
    assert json.loads(checked.out)["port"][VM1]["path"] == f"{runtime_dir}/vale0.vm1.sock"
    assert json.loads(run("config", "schema").out)["$defs"]["Port"]


def test_status_starts_without_what_it_does_not_need() -> None:
    script = (
        "import sys; sys.argv = ['ringpass', '--runtime-dir', '/nowhere', 'status']\n"
        "from ringpass.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print(*sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.split())
    assert "ringpass.client" in loaded
    for heavy in ("_cffi_backend", "ringpass.dataplane", "ringpass.image", "pexpect", "asyncio"):
        assert heavy not in loaded
