# SPDX-License-Identifier: BSD-2-Clause
"""A stock QEMU as the client of a passthrough port's server. It never boots anything."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ringpass.vm import qemu
from ringpass.vm.nic import Nic
from ringpass.vm.qmp import Qmp, QmpError
from tests.support.daemon import Daemon
from tests.support.wait import wait_until

CONFIG = """
[switch.vale0]
[port."vale0:a"]
kind = "passthrough"
[port."vale0:b"]
kind = "passthrough"
queues = 8
extra_rings = 64
"""
MACHINE = ["-S", "-nodefaults", "-display", "none", "-accel", "tcg", "-machine", "pc", "-m", "64"]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that the tests of this module share."""
    with Daemon(tmp_path_factory.mktemp("q"), CONFIG) as daemon:
        yield daemon


def device(daemon: Daemon, port: str, index: int = 0) -> list[str]:
    """Return what QEMU is told of a port."""
    status = daemon.call("port.show", name=port)
    return qemu.nic_args(Nic(socket=Path(status["path"]), vectors=status["vectors"]), index)


def connected(daemon: Daemon, port: str) -> int | None:
    """Return the process that has a port."""
    guest = daemon.call("port.show", name=port)["guest"]
    return None if guest is None else int(guest["pid"])


@contextmanager
def stock(arguments: list[str], qmp: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a QEMU that stands still; its machine protocol is at `qmp`."""
    control = ["-qmp", f"unix:{qmp},server=on,wait=off"]
    # It must not outlive its test, however that ends.
    guard = ["setpriv", "--pdeathsig", "KILL"]
    process = subprocess.Popen(
        [*guard, qemu.PROGRAM, *MACHINE, *arguments, *control],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def monitor(path: Path) -> Qmp | None:
    """Return QEMU's machine protocol, once it listens."""
    try:
        return Qmp(path)
    except QmpError:
        return None


def test_a_port_goes_from_qemu_to_qemu(daemon: Daemon, tmp_path: Path) -> None:
    for _ in range(2):
        with stock(device(daemon, "vale0:a"), tmp_path / "qmp") as process:
            wait_until(lambda: connected(daemon, "vale0:a"), "its QEMU")
            assert connected(daemon, "vale0:a") == process.pid
            with stock(device(daemon, "vale0:a"), tmp_path / "second") as second:
                _, said = second.communicate(timeout=30)
                assert (second.returncode, b"version -16" in said) == (1, True)
            assert connected(daemon, "vale0:a") == process.pid
        wait_until(lambda: connected(daemon, "vale0:a") is None, "its end")


def test_a_device_is_plugged_in_while_the_machine_is_there(daemon: Daemon, tmp_path: Path) -> None:
    status = daemon.call("port.show", name="vale0:b")
    backend = {
        "type": "socket",
        "data": {
            "addr": {"type": "unix", "data": {"path": status["path"]}},
            "server": False,
        },
    }
    with stock([], tmp_path / "qmp") as process:
        opened = wait_until(lambda: monitor(tmp_path / "qmp"), "its machine protocol")
        assert opened is not None
        with opened as qmp:
            qmp.execute("chardev-add", id="later", backend=backend)
            qmp.execute(
                "device_add",
                driver="ivshmem-doorbell",
                id="port",
                chardev="later",
                vectors=status["vectors"],
            )
            assert connected(daemon, "vale0:b") == process.pid
            assert qmp.execute("query-status")["running"] is False
        os.kill(process.pid, 9)
        wait_until(lambda: connected(daemon, "vale0:b") is None, "its end")
