# SPDX-License-Identifier: BSD-2-Clause
"""A daemon's health is judged by its last sign of life and by what the kernel says of it."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ringpass.observe.counters import Life
from ringpass.observe.health import SILENT_S, examine, thread
from tests.support.wait import wait_until

HERE = Path("/proc/self/ns/pid").stat().st_ino


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def heard(pid: int, seconds_ago: float) -> Life:
    now = time.monotonic_ns()
    return Life(pid, HERE, now, now - int(seconds_ago * 1e9))


def test_one_that_was_heard_of_lately_runs() -> None:
    assert examine(heard(os.getpid(), 1)).state == "running"


def test_one_that_gives_no_signs_of_life_runs_as_long_as_there_is_a_process() -> None:
    assert examine(Life(os.getpid(), HERE, time.monotonic_ns(), 0)).state == "running"


def test_one_whose_control_plane_does_not_go_on_is_silent() -> None:
    health = examine(heard(os.getpid(), SILENT_S + 7))
    assert health.state == "silent"
    assert f"process {os.getpid()} has not moved for 12 s" in health.why


def test_one_that_a_signal_stopped_is_stopped(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGSTOP)
    life = heard(process.pid, 0)
    wait_until(lambda: examine(life).state == "stopped", "the process stands still")
    assert f"kill -CONT {process.pid}" in examine(life).why
    process.send_signal(signal.SIGCONT)
    wait_until(lambda: examine(life).state == "running", "the process goes on")


def test_one_that_nobody_waited_for_is_gone(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    wait_until(lambda: examine(heard(process.pid, 0)).state == "gone", "the process ends")
    process.wait()
    assert examine(heard(process.pid, 0)).state == "gone"


def test_in_another_pid_namespace_the_signs_of_life_tell(
    process: "subprocess.Popen[bytes]",
) -> None:
    process.kill()
    process.wait()
    assert examine(replace(heard(process.pid, 1), pid_ns=1)).state == "running"
    assert examine(replace(heard(process.pid, SILENT_S), pid_ns=1)).state == "silent"


def test_another_process_of_the_same_number_is_none_of_it(
    process: "subprocess.Popen[bytes]",
) -> None:
    now = time.monotonic_ns()
    assert examine(Life(process.pid, HERE, now - 10**10, now - 10**10)).state == "gone"


def test_a_thread_is_read_whatever_its_name(tmp_path: Path) -> None:
    program = tmp_path / ") R 1 ("
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as process:
        pid = process.pid
        wait_until(lambda: (found := thread(pid, pid)) and found.state == "S", "it sleeps")
        process.kill()
    assert thread(pid, pid) is None
