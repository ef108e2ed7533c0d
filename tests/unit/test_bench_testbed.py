# SPDX-License-Identifier: BSD-2-Clause
"""A testbed leaves nothing behind, however it ends. Its guests are tested with the demo."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ringpass.bench.machine import family, place
from ringpass.bench.testbed import Testbed
from ringpass.bench.usage import Usage, cpu_seconds
from ringpass.errors import RingpassError
from tests.support.wait import PATIENCE_S, wait_until

SWITCH = "[switch.vale0]\n"

HOLDER = """
import sys, time
from ringpass.bench.testbed import Testbed
with Testbed("bed", "[switch.vale0]"):
    print(flush=True)
    time.sleep(60)
"""


@contextmanager
def holder() -> Iterator[subprocess.Popen[str]]:
    """Yield another process that has a testbed open."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def daemon_of(directory: Path) -> int:
    return int((directory / "daemon.pid").read_text().split()[0])


def wait_for_end(pid: int) -> None:
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), f"the end of process {pid}")


def test_a_testbed_runs_a_daemon_and_removes_it(runtime_dir: Path) -> None:
    with Testbed("bed", SWITCH) as bed:
        assert [switch.name for switch in bed.status().switches] == ["vale0"]
        pid = bed.daemon_pid
        assert bed.directory == runtime_dir / "bed"
        assert bed.usage().frames == 0
    assert not Path(f"/proc/{pid}").exists()
    assert not bed.directory.exists()


def test_a_daemon_that_does_not_start_says_why(runtime_dir: Path) -> None:
    with pytest.raises(RingpassError, match="did you mean 'switch'"), Testbed("bed", "[swich.a]"):
        pass
    assert not (runtime_dir / "bed").exists()


def test_there_is_one_testbed_of_a_name(runtime_dir: Path) -> None:
    with holder():
        with pytest.raises(RingpassError, match="another run"), Testbed("bed", SWITCH):
            pass
        with Testbed("other", SWITCH):
            assert (runtime_dir / "bed" / "daemon.pid").exists()


def test_a_killed_testbed_is_cleaned_up_by_the_next(runtime_dir: Path) -> None:
    with holder() as process:
        first = daemon_of(runtime_dir / "bed")
        process.kill()
        process.wait()
        with Testbed("bed", SWITCH) as bed:
            assert not Path(f"/proc/{first}").exists()
            assert bed.status().pid == bed.daemon_pid != first
    assert not (runtime_dir / "bed").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_testbed_cleans_up_after_a_signal(runtime_dir: Path, number: signal.Signals) -> None:
    with holder() as process:
        daemon = daemon_of(runtime_dir / "bed")
        process.send_signal(number)
        assert process.wait(PATIENCE_S) != 0
        wait_for_end(daemon)
        assert not (runtime_dir / "bed").exists()


def test_a_killed_testbed_takes_its_daemon_along(runtime_dir: Path) -> None:
    with holder() as process:
        daemon = daemon_of(runtime_dir / "bed")
        process.kill()
        wait_for_end(daemon)


@pytest.mark.usefixtures("runtime_dir")
def test_an_idle_daemon_uses_no_cpu() -> None:
    with Testbed("bed", '[switch.vale0]\n[port."vale0:a"]\n') as bed:

        def share() -> float:
            before = bed.usage()
            time.sleep(0.5)
            usage = bed.usage() - before
            return usage.cpu_s / usage.at_s

        # Right after its start it may still have something to do.
        wait_until(lambda: share() < 0.005, "it sleeps")


def test_cpu_seconds_are_those_of_all_threads() -> None:
    # A child that has used exactly what it says.
    code = (
        "import threading, time\n"
        "def burn():\n"
        "    while time.process_time() < 0.3: pass\n"
        "threads = [threading.Thread(target=burn) for _ in range(2)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "print(time.process_time(), flush=True); input()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    said = float(child.stdout.readline())
    assert said >= 0.3
    assert said <= cpu_seconds(child.pid) < said + 0.1
    child.communicate("\n")


def test_the_difference_of_two_usages_is_what_lies_between() -> None:
    first = Usage(1.0, 0.5, 100, 6000, 6000, kicks=7, calls=1, drops=Counter(full=2))
    second = Usage(3.0, 0.75, 300, 18000, 18000, kicks=9, calls=2, drops=Counter(full=5, mtu=1))
    between = second - first
    assert (between.at_s, between.cpu_s, between.frames) == (2.0, 0.25, 200)
    assert (between.bytes, between.copied) == (12000, 12000)
    assert (between.kicks, between.calls) == (2, 1)
    assert between.drops == {"full": 3, "mtu": 1}


def test_place_puts_a_whole_family_on_some_cpus() -> None:
    cpu = max(os.sched_getaffinity(0))
    shell = subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE, process_group=0
    )
    try:
        assert shell.stdout is not None
        shell.stdout.readline()
        members = family(shell.pid)
        assert len(members) == 2
        place(shell.pid, {cpu})
        assert [os.sched_getaffinity(pid) for pid in members] == [{cpu}, {cpu}]
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.communicate()
