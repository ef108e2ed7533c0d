# SPDX-License-Identifier: BSD-2-Clause
"""What is told of a guest that does not answer."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass.vm import standstill
from tests.support.wait import wait_until

REGISTERS = """
CPU#0\r
RAX=0000000000000001 RBX=ffff8d6e82afd000 RCX=00000000000005ee RDX=0000000000000cc0\r
RIP=ffffffff90d858f9 RFL=00000206 [-----P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\r
ES =0000 0000000000000000 00000000 00000000\r
\r
CPU#1\r
RIP=00007f412affd6c0 RFL=00000246 [---Z-P-] CPL=3 II=0 A20=1 SMM=0 HLT=1\r
"""
"""As QEMU 7.2 prints them, the lines in between left out."""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits in a read of a pipe."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        yield process


def test_each_processor_is_told_with_what_it_does() -> None:
    assert standstill.cpus(REGISTERS) == [
        "CPU 0 running in the kernel at ffffffff90d858f9",
        "CPU 1 halted in a program at 00007f412affd6c0",
    ]


def test_threads_are_told_with_what_they_wait_for(sleeper: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: "pipe" in standstill.of_process(sleeper.pid), "the process does not read")
    assert standstill.of_process(sleeper.pid).startswith(f"process {sleeper.pid} has used ")


def test_process_that_has_ended_is_no_error(sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.kill()
    sleeper.wait()
    assert standstill.describe(sleeper.pid, None) == f"process {sleeper.pid} has ended"


def test_monitor_that_does_not_answer_is_told(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standstill, "MONITOR_S", 0.05)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime_dir / "qmp.sock"))
        listener.listen()
        told = standstill.describe(os.getpid(), runtime_dir / "qmp.sock")
    assert told.startswith("QEMU does not answer its monitor (its main loop is busy). process")


def test_monitor_that_is_not_there_is_told(runtime_dir: Path) -> None:
    told = standstill.of_machine(runtime_dir / "qmp.sock")
    assert told.startswith("QEMU does not answer its monitor (")
    assert "No such file" in told
