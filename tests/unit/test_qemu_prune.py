# SPDX-License-Identifier: BSD-2-Clause
"""Which builds of QEMU stay in the cache."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ringpass.qemu import build, program, prune

Make = Callable[[str], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that puts a build into the cache, which is newer than those before it."""
    made: list[Path] = []

    def make(name: str) -> Path:
        place = tmp_path / "qemu" / name
        place.mkdir(parents=True)
        shutil.copy("/bin/sleep", place / build.PROGRAM)
        made.append(place)
        os.utime(place / build.PROGRAM, (len(made), len(made)))
        return place

    return make


def test_what_newer_builds_have_replaced_goes(make: Make, tmp_path: Path) -> None:
    old, older, new = make("old"), make("older"), make("new")
    broken_off = tmp_path / "qemu" / "partial"
    (broken_off / "made").mkdir(parents=True)
    assert sorted(prune(cache=tmp_path)) == sorted([old, older, broken_off])
    assert [path for path in (tmp_path / "qemu").iterdir() if path.is_dir()] == [new]
    assert prune(cache=tmp_path) == []


def test_the_build_of_this_version_stays(make: Make, tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    description = tmp_path / "sources" / "qemu_7.2.dsc"
    description.touch()
    own, old, new = make(build.place_of(description, tmp_path).name), make("old"), make("new")
    assert prune(cache=tmp_path) == [old]
    assert program(cache=tmp_path).parent == own
    assert new.exists()


def test_a_build_that_runs_stays(make: Make, tmp_path: Path) -> None:
    used, _new = make("used"), make("new")
    with subprocess.Popen([used / build.PROGRAM, "60"]) as running:
        try:
            assert prune(cache=tmp_path) == []
        finally:
            running.kill()
    assert prune(cache=tmp_path) == [used]


def test_nobody_builds_while_builds_are_removed(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _new = make("old"), make("new")

    def look(path: Path) -> None:
        assert path == old
        with (tmp_path / "qemu" / "lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    monkeypatch.setattr(shutil, "rmtree", look)
    assert prune(cache=tmp_path) == [old]
