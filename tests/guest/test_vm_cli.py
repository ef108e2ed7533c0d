# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass vm` and `ringpass image`: guests on ports of a running daemon."""

import json
import os
import pty
import select
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass.image import Image
from ringpass.vm import registry
from ringpass.vm.qemu import Emulator
from tests.support.daemon import RINGPASS
from tests.support.probe import ProbedDaemon
from tests.support.wait import PATIENCE_S, wait_until

pytestmark = pytest.mark.guest

RUN = ("vm", "run", "vale0:vm1", "--uml")

CONFIG = """
[switch.vale0]
[port."vale0:vm1"]
mac = "52:54:00:00:00:01"
[port."vale0:vm2"]
mac = "52:54:00:00:00:02"
queues = 2
mtu = 3000
[port."vale0:vm3"]
mac = "52:54:00:00:00:03"
[port."vale0:in"]
mode = "client"
[port."vale0:pass"]
kind = "passthrough"
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[ProbedDaemon]:
    with (
        tempfile.TemporaryDirectory(prefix="rp-") as directory,
        ProbedDaemon(Path(directory), CONFIG) as daemon,
    ):
        yield daemon


@pytest.fixture
def daemon(
    shared: ProbedDaemon, image: Image, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProbedDaemon]:
    """Return a daemon whose ports have no guest; those of the test are ended after it."""
    assert image
    monkeypatch.setenv("RINGPASS_RUNTIME_DIR", str(shared.runtime_dir))
    yield shared
    for running in registry.list_running():
        shared.run("vm", "stop", running.guest.name)
    for port in ("vale0:vm1", "vale0:vm2", "vale0:vm3", "vale0:pass"):
        shared.wait_port(port, "waiting")


def talk(path: str, line: str, answer: str) -> str:
    """Type a line into a console, and return what it says up to `answer`."""
    with socket.socket(socket.AF_UNIX) as console:
        console.settimeout(PATIENCE_S)
        console.connect(path)
        console.sendall(f"{line}\n".encode())
        text = ""
        while answer not in text:
            data = console.recv(65536)
            assert data, text
            text += data.decode(errors="replace")
        return text


def run_command(daemon: ProbedDaemon) -> list[str]:
    """Return the command that runs a guest in the foreground."""
    return [str(RINGPASS), "--runtime-dir", str(daemon.runtime_dir), *RUN]


@pytest.mark.parametrize("kind", ["qemu", "uml"])
def test_guest_in_the_background(daemon: ProbedDaemon, kind: str) -> None:
    options = ["--uml"] if kind == "uml" else []
    run = ("vm", "run", "vale0:vm1", "--detach", "--address", "10.0.0.1/24", *options)
    guest = daemon.ask(*run)
    assert (guest["name"], guest["kind"], guest["ports"]) == ("vm1", kind, ["vale0:vm1"])
    assert daemon.port("vale0:vm1").state == "up"
    assert [row["name"] for row in daemon.ask("vm", "ls")] == ["vm1"]
    shown = talk(guest["console"], "ip -br address show eth0; hostname; echo do'n'e", "done")
    assert "10.0.0.1/24" in shown
    assert "vm1" in shown
    assert "ringpass-guest-ready vm1" in Path(guest["log"]).read_text()

    again = daemon.run(*run)
    assert again.returncode == 1
    assert "is its front end" in again.stderr

    assert daemon.ask("vm", "stop", "vm1")["result"] == "stopped"
    daemon.wait_port("vale0:vm1", "waiting")
    assert not Path(f"/proc/{guest['pid']}").exists()
    assert daemon.ask("vm", "stop", "vm1")["result"] == "was not running"
    assert daemon.ask("vm", "ls") == []


def test_guest_of_the_patched_qemu(daemon: ProbedDaemon, patched: Emulator) -> None:
    """It maps one port, and has MSI-X on a vhost-user one: no guard keeps that away."""
    addresses = ("--address", "10.0.0.1/24", "--address", "10.0.1.1/24")
    run = ("vm", "run", "vale0:pass", "vale0:vm3", "--qemu", "patched", "--detach", *addresses)
    guest = daemon.ask(*run)
    assert Path(f"/proc/{guest['pid']}/exe").resolve() == Path(patched.program)
    shown = talk(guest["console"], "ip -br address; cat /proc/interrupts; echo do'n'e", "done")
    for nic, address in (("rp0", "10.0.0.1"), ("eth0", "10.0.1.1")):
        assert f"{address}/24" in next(line for line in shown.splitlines() if nic in line)
    assert "MSI" in next(line for line in shown.splitlines() if "virtio0-input" in line)
    again = daemon.run(*run)
    assert again.returncode == 1
    assert "a port has one guest" in again.stderr


def test_guest_ends_from_inside(daemon: ProbedDaemon) -> None:
    guest = daemon.ask("vm", "run", "vale0:vm1", "--detach", "--uml", "--name", "inside")
    with socket.socket(socket.AF_UNIX) as console:
        console.connect(guest["console"])
        console.sendall(b"poweroff -f\n")
        wait_until(lambda: registry.list_running() == [], "the guest to be gone")
    place = Path(guest["console"]).parent
    wait_until(lambda: not place.exists(), "its directory to be gone, which goes last")


def test_guest_has_the_queues_and_the_mtu_of_its_port(daemon: ProbedDaemon) -> None:
    guest = daemon.ask("vm", "run", "vale0:vm2", "--detach", "--smp", "2")
    shown = talk(
        guest["console"],
        "ls /sys/class/net/eth0/queues; cat /sys/class/net/eth0/mtu; echo do'n'e",
        "done",
    )
    assert "tx-1" in shown
    assert "3000" in shown


def test_two_ports_are_two_cards_in_order(daemon: ProbedDaemon) -> None:
    addresses = ("--address", "10.0.0.1/24", "--address", "10.0.1.1/24")
    guest = daemon.ask("vm", "run", "vale0:vm1", "vale0:vm3", "--detach", "--uml", *addresses)
    shown = talk(guest["console"], "ip -br address; ip -br link; echo do'n'e", "done")
    for nic, address, mac in (("eth0", "10.0.0.1", "00:01"), ("eth1", "10.0.1.1", "00:03")):
        lines = [line for line in shown.splitlines() if line.startswith(nic)]
        assert any(address in line for line in lines), shown
        assert any(f"52:54:00:00:{mac}" in line for line in lines)


def test_foreground_is_the_console_and_gives_the_terminal_back(daemon: ProbedDaemon) -> None:
    ours, theirs = pty.openpty()
    settings = subprocess.check_output(["stty", "-a"], stdin=theirs)
    with subprocess.Popen(
        run_command(daemon), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        text = b""
        deadline = time.monotonic() + PATIENCE_S
        while b"ringpass-guest-ready" not in text and time.monotonic() < deadline:
            if select.select([ours], [], [], 1)[0]:
                text += os.read(ours, 65536)
        os.write(ours, b"poweroff -f\n")
        assert process.wait(PATIENCE_S) == 0, text.decode()
    assert subprocess.check_output(["stty", "-a"], stdin=theirs) == settings
    assert daemon.ask("vm", "ls") == []
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_foreground_guest_ends_with_its_command(
    daemon: ProbedDaemon, number: signal.Signals
) -> None:
    with subprocess.Popen(
        run_command(daemon), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        try:
            daemon.wait_port("vale0:vm1", "up", "connected")
        finally:
            process.send_signal(number)
        process.wait(PATIENCE_S)
    daemon.wait_port("vale0:vm1", "waiting")
    wait_until(lambda: registry.list_running() == [], "the guest has ended")


def test_guest_that_does_not_become_ready_is_removed(daemon: ProbedDaemon) -> None:
    done = daemon.run("vm", "run", "vale0:vm1", "--detach", "--memory", "64", "--timeout", "3")
    assert done.returncode == 1
    assert "cannot start guest vm1" in done.stderr
    assert "console:" in done.stderr
    assert daemon.ask("vm", "ls") == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["vale0:nosuch"], 4, "vale0:nosuch"),
        (["vale0:in", "--uml"], 2, "only connects"),
        (["vale0:vm2", "--uml"], 2, "2 queue pairs"),
        (["vale0:vm1", "--address", "10.0.0.1"], 2, "10.0.0.1/24"),
        (["vale0:vm1", "--address", "10.0.0.1/24", "--address", "10.0.0.2/24"], 2, "2 addresses"),
        (["vale0:vm1", "--name", "not a name"], 2, "not a name"),
        (["vale0:vm1", "--image", "nosuch"], 4, "recipe"),
    ],
)
def test_what_cannot_run_is_refused(
    daemon: ProbedDaemon, arguments: list[str], code: int, words: str
) -> None:
    done = daemon.run("vm", "run", "--detach", *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert registry.list_running() == []


def test_json_of_a_foreground_guest_is_refused(daemon: ProbedDaemon) -> None:
    done = daemon.run("vm", "run", "vale0:vm1", "--json")
    assert done.returncode == 2
    assert "--detach" in done.stderr


def test_console_of_no_guest(daemon: ProbedDaemon) -> None:
    assert daemon.run("vm", "console", "nosuch").returncode == 4


def test_arguments_for_a_qemu_of_yours(daemon: ProbedDaemon) -> None:
    argv = daemon.ask("vm", "qemu-args", "vale0:vm1", "vale0:in")
    assert daemon.run("vm", "qemu-args", "vale0:vm1", "vale0:in").stdout.strip() == shlex.join(argv)
    assert "virtio-net-pci.vectors=0" in argv
    text = " ".join(argv)
    assert f"path={daemon.port('vale0:vm1').path},reconnect=1" in text
    assert f"path={daemon.port('vale0:in').path},server=on" in text
    assert "mac=52:54:00:00:00:01" in text
    kvm = daemon.ask("vm", "qemu-args", "vale0:vm1", "--accel", "kvm")
    assert "vectors" not in " ".join(kvm)


def test_qemu_takes_the_arguments(daemon: ProbedDaemon, image: Image) -> None:
    argv = daemon.ask("vm", "qemu-args", "vale0:vm1")
    kernel = ["-kernel", str(image.kernel), "-initrd", str(image.initrd)]
    rest = ["-nodefaults", "-display", "none", "-append", "quiet"]
    with subprocess.Popen(["qemu-system-x86_64", *argv, *kernel, *rest]) as process:
        try:
            assert daemon.wait_port("vale0:vm1", "up").front_end is not None
        finally:
            process.kill()


def test_image_is_built_once(daemon: ProbedDaemon, image: Image) -> None:
    shown = daemon.ask("image", "build")
    assert shown["key"] == image.key
    assert json.loads(Path(shown["manifest"]).read_text())["name"] == "guest"
    assert daemon.run("image", "build", "nosuch").returncode == 4
