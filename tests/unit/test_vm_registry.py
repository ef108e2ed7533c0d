# SPDX-License-Identifier: BSD-2-Clause
"""Which guests run is told by their directories; what killed sessions leave is in nobody's way."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass.errors import NotFound
from ringpass.vm import reaper, registry
from tests.support.wait import PATIENCE_S

pytestmark = pytest.mark.usefixtures("runtime_dir")


def record(name: str) -> registry.Record:
    return registry.Record(name, "qemu", ("vale0:vm1",), 256, "key", detached=True)


def add(name: str, pid: int | None) -> Path:
    """Register a guest `name` whose process is `pid`; None leaves out the pid file."""
    place = registry.directory(name)
    registry.claim(place)
    registry.write_record(place, record(name))
    if pid is not None:
        reaper.write_pid(place / registry.PID, pid)
    return place


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "100"]) as process:
        yield process
        process.kill()


def test_running_guest_is_listed_with_its_record() -> None:
    add("vm1", os.getpid())
    (running,) = registry.list_running()
    assert running.guest == record("vm1")
    assert running.pid == os.getpid()
    assert running.seconds > 0
    assert registry.find("vm1").directory == running.directory


def test_name_of_a_running_guest_is_taken() -> None:
    place = add("vm1", os.getpid())
    with pytest.raises(registry.GuestInUse, match="vm stop vm1"):
        registry.claim(place)


def test_name_of_a_starting_guest_is_taken_for_a_while() -> None:
    place = add("vm1", None)
    with pytest.raises(registry.GuestInUse):
        registry.claim(place)
    old = time.time() - registry.STARTING - 1
    os.utime(place, (old, old))
    registry.claim(place)
    assert not list(place.iterdir())


def test_reused_pid_is_somebody_else() -> None:
    place = add("vm1", os.getpid())
    start = reaper.start_time(os.getpid())
    (place / registry.PID).write_text(f"{os.getpid()} {start - 1}\n")
    assert registry.process(place) is None
    assert registry.list_running() == []
    assert not place.exists()


@pytest.mark.parametrize("content", ["", "x y\n", "1\n", "-5 3\n"])
def test_damaged_pid_file_is_no_guest(content: str) -> None:
    place = add("vm1", None)
    (place / registry.PID).write_text(content)
    assert registry.process(place) is None
    registry.claim(place)


def test_damaged_record_hides_only_its_own_guest() -> None:
    add("vm1", os.getpid())
    (add("vm2", os.getpid()) / registry.RECORD).write_text("{")
    assert [running.guest.name for running in registry.list_running()] == ["vm1"]


def test_stopping_ends_the_process_and_removes_the_directory(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "STOPPING", 0.2)
    place = add("vm1", process.pid)
    assert registry.stop("vm1")
    assert process.wait(PATIENCE_S) != 0
    assert not place.exists()
    assert not registry.stop("vm1")


def test_process_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "STOPPING", 0.2)
    deaf = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"]
    with subprocess.Popen(deaf, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"deaf\n"
        add("vm1", process.pid)
        assert registry.stop("vm1")
        assert process.wait(PATIENCE_S) == -9


def test_stale_guest_is_not_killed_by_its_old_pid() -> None:
    """The pid now belongs to this very process: a stop that trusted it would be our end."""
    place = add("vm1", os.getpid())
    (place / registry.PID).write_text(f"{os.getpid()} 1\n")
    assert not registry.stop("vm1")
    assert not place.exists()


def test_guest_that_does_not_run_is_not_found() -> None:
    add("vm1", os.getpid())
    with pytest.raises(NotFound, match="ringpass vm ls"):
        registry.find("nosuch")
