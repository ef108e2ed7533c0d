# SPDX-License-Identifier: BSD-2-Clause
"""The reaper and the relay, with shell scripts for guests: nothing of them is left behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ringpass.vm import reaper as reaper_script
from ringpass.vm import registry
from ringpass.vm.launch import script
from tests.support.wait import PATIENCE_S, wait_until

# A guest with a process that leaves it, as those of User-mode Linux's guests are left.
ORPHAN = "(setsid sleep 100 & echo $! >orphan); echo ready; "


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def orphan_of(directory: Path) -> int:
    pid = directory / "orphan"
    wait_until(lambda: pid.exists() and pid.read_text(), "there is an orphan")
    return int(pid.read_text())


def guest_of(directory: Path) -> int:
    """Return the guest's process, which its reaper writes down a moment after it has started."""
    return wait_until(lambda: registry.process(directory), "the guest's process is known")


def reaper(directory: Path, command: str, parent: int = 0) -> subprocess.Popen[bytes]:
    options = ["--pid-file", str(directory / "pid"), "--parent", str(parent)]
    argv = [*script("reaper.py"), *options, "--", "sh", "-c", command]
    return subprocess.Popen(argv, cwd=directory, stdout=subprocess.PIPE)


@pytest.mark.parametrize(("command", "code"), [("exit 3", 3), ("kill -9 $$", 137), ("true", 0)])
def test_exit_code_is_the_guest_s(tmp_path: Path, command: str, code: int) -> None:
    with reaper(tmp_path, command) as process:
        assert process.wait(PATIENCE_S) == code


def test_guest_that_cannot_be_started(tmp_path: Path) -> None:
    argv = [*script("reaper.py"), "--pid-file", str(tmp_path / "pid"), "--", "/nosuch"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 127
    assert "/nosuch" in done.stderr


@pytest.mark.parametrize("ending", ["exit 0", "kill -9 $$"])
def test_orphans_die_with_the_guest(tmp_path: Path, ending: str) -> None:
    with reaper(tmp_path, ORPHAN + ending) as process:
        process.wait(PATIENCE_S)
    assert not alive(orphan_of(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_guest_and_orphans(tmp_path: Path, number: int) -> None:
    with reaper(tmp_path, ORPHAN + "sleep 100") as process:
        orphan = orphan_of(tmp_path)
        guest = guest_of(tmp_path)
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 128 + number
    assert not alive(orphan)
    assert not alive(guest)


def test_killed_reaper_takes_the_guest_along(tmp_path: Path) -> None:
    with reaper(tmp_path, "exec sleep 100") as process:
        guest = guest_of(tmp_path)
        process.kill()
    wait_until(lambda: not alive(guest), "the guest has ended")


def test_guest_ends_with_the_process_that_wanted_it(tmp_path: Path) -> None:
    starter = (
        "import subprocess, sys, os, time\n"
        "argv = sys.argv[1:]\n"
        "argv[argv.index('@')] = str(os.getpid())\n"
        "subprocess.Popen(argv)\n"
        "time.sleep(100)\n"
    )
    options = ["--pid-file", str(tmp_path / "pid"), "--parent", "@"]
    command = [*script("reaper.py"), *options, "--", "sh", "-c", ORPHAN + "sleep 100"]
    with subprocess.Popen([sys.executable, "-c", starter, *command], cwd=tmp_path) as parent:
        orphan = orphan_of(tmp_path)
        guest = guest_of(tmp_path)
        parent.kill()
    wait_until(lambda: not (alive(guest) or alive(orphan)), "both have ended")


def test_parent_that_died_before_is_noticed(tmp_path: Path) -> None:
    with reaper(tmp_path, "touch started", parent=1 << 22) as process:
        assert process.wait(PATIENCE_S) == 1
    assert not (tmp_path / "started").exists()


def test_ending_of_the_starting_thread_does_not_matter(tmp_path: Path) -> None:
    """PR_SET_PDEATHSIG would fire here: a test may start its guests in a pool of threads."""
    with ThreadPoolExecutor(1) as pool:
        process = pool.submit(reaper, tmp_path, "echo ready; sleep 100", os.getpid()).result()
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.3)
    assert process.poll() is None
    process.terminate()
    process.wait(PATIENCE_S)
    process.stdout.close()


class Relay:
    """A relay with a shell script for a guest, in a directory of its own."""

    def __init__(self, directory: Path, command: str) -> None:
        self.directory = directory / "vm"
        self.directory.mkdir()
        argv = [*script("relay.py"), "--directory", str(self.directory), "--", "sh", "-c", command]
        self.process = subprocess.Popen(argv, cwd=directory, start_new_session=True)
        self.log = self.directory / registry.LOG

    def connect(self) -> socket.socket:
        console = socket.socket(socket.AF_UNIX)
        console.settimeout(PATIENCE_S)
        console.connect(str(self.directory / registry.CONSOLE))
        return console

    def wait_log(self, text: str) -> None:

        def there() -> bool:
            return self.log.exists() and text in self.log.read_text(errors="replace")

        wait_until(there, f"{text!r} in the log")


def read_line(console: socket.socket) -> bytes:
    """Return what comes up to the end of a line."""
    line = b""
    while not line.endswith(b"\n"):
        data = console.recv(1)
        assert data, line
        line += data
    return line


def test_relay_logs_what_the_guest_prints(tmp_path: Path) -> None:
    relay = Relay(tmp_path, "echo one; echo two; read x")
    relay.wait_log("two\n")
    assert relay.log.read_bytes() == b"one\ntwo\n"
    relay.process.terminate()
    relay.process.wait(PATIENCE_S)


def test_relay_joins_any_number_of_consoles(tmp_path: Path) -> None:
    relay = Relay(tmp_path, "stty -echo; echo ready; while read x; do echo got $x; done")
    relay.wait_log("ready")
    with relay.connect() as first, relay.connect() as second:
        # Who is answered is known, and so is who connected before.
        second.sendall(b"one\n")
        assert read_line(second) == read_line(first) == b"got one\n"
        first.sendall(b"two\n")
        assert read_line(second) == read_line(first) == b"got two\n"
    relay.process.terminate()
    relay.process.wait(PATIENCE_S)


def test_relay_outlives_clients_and_slow_ones_hold_nothing_up(tmp_path: Path) -> None:
    much = "head -c 3000000 /dev/zero | tr '\\0' a"
    relay = Relay(tmp_path, f"echo ready; read x; {much}; echo end; read y")
    relay.wait_log("ready")  # the console's socket is there before anybody listens
    with relay.connect() as slow:
        relay.connect().close()
        slow.sendall(b"\n")
        relay.wait_log("end")
        files = [relay.log, relay.log.with_suffix(".old")]
        assert sum(file.stat().st_size for file in files) < 3 << 20
    assert relay.process.poll() is None
    relay.process.terminate()
    relay.process.wait(PATIENCE_S)


def test_relay_leaves_nothing_when_the_guest_ends(tmp_path: Path) -> None:
    relay = Relay(tmp_path, ORPHAN + "exit 0")
    assert relay.process.wait(PATIENCE_S) == 0
    assert not relay.directory.exists()
    assert not alive(orphan_of(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_relay_that_is_told_to_end_takes_the_guest_along(tmp_path: Path, number: int) -> None:
    relay = Relay(tmp_path, ORPHAN + "sleep 100")
    relay.wait_log("ready")
    guest = guest_of(relay.directory)
    relay.process.send_signal(number)
    relay.process.wait(PATIENCE_S)
    assert not relay.directory.exists()
    assert not alive(guest)
    assert not alive(orphan_of(tmp_path))


def test_crash_kills_children_before_their_parent(tmp_path: Path) -> None:
    """A parent that sees its child end would say so; a child that outlives it would, too."""
    command = (
        "trap 'echo parent saw it >>seen' CHLD\n"
        "(while [ $(cut -d' ' -f4 /proc/self/stat) ] && kill -0 $$; do sleep 0.01; done;"
        " echo child saw it >>seen) & echo $! >orphan; wait; echo parent went on >>seen; sleep 100"
    )
    with reaper(tmp_path, command) as process:
        orphan = orphan_of(tmp_path)
        guest = guest_of(tmp_path)
        reaper_script.crash(guest)
        process.wait(PATIENCE_S)
    assert not alive(orphan)
    assert not (tmp_path / "seen").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")
def test_unprivileged_guest_can_do_no_harm_to_the_host(tmp_path: Path) -> None:
    options = ["--pid-file", str(tmp_path / "pid"), "--unprivileged"]
    show = ["grep", "-E", "^(CapEff|CapPrm|CapBnd|NoNewPrivs)", "/proc/self/status"]
    argv = [*script("reaper.py"), *options, "--", *show]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    status = dict(line.split(":\t") for line in done.stdout.splitlines())
    dac_override = f"{1 << reaper_script.CAP_DAC_OVERRIDE:016x}"
    assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == dac_override
    assert status["NoNewPrivs"] == "1"
