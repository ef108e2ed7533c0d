# SPDX-License-Identifier: BSD-2-Clause
"""apt is asked once for what does not change."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ringpass.image.debian import Apt
from ringpass.image.remembered import answer, fingerprint


class Oracle:
    """Says something else each time."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        return f"answer {self.asked}"


def test_a_question_is_asked_again_when_something_changed(tmp_path: Path) -> None:
    file, oracle = tmp_path / "memory.json", Oracle()
    assert answer(file, "one", ["a"], oracle) == "answer 1"
    assert answer(file, "one", ["b"], oracle) == "answer 2"
    assert answer(file, "one", ["a"], oracle) == "answer 1"
    assert answer(file, "two", ["a"], oracle) == "answer 3"
    assert answer(file, "two", ["a"], oracle) == "answer 3"
    assert answer(file, "one", ["a"], oracle) == "answer 4"
    assert list(tmp_path.iterdir()) == [file]


def test_nothing_is_no_answer(tmp_path: Path) -> None:
    for _ in range(2):
        assert answer(tmp_path / "memory.json", "one", ["a"], lambda: "") == ""
    assert list(tmp_path.iterdir()) == []


def test_a_memory_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    file, oracle = tmp_path / "memory.json", Oracle()
    for text in ("", "{", '{"of": 7}'):
        file.write_text(text)
        answer(file, "one", ["a"], oracle)
        assert answer(file, "one", ["a"], oracle) == f"answer {oracle.asked}"
    assert oracle.asked == 3


def rewrite(file: Path) -> None:
    """Write a file anew as apt does it: another one in its place, as long as the one before."""
    other = file.with_name("other")
    other.write_text(file.read_text())
    other.replace(file)


@pytest.mark.parametrize(
    "change",
    [
        rewrite,
        Path.unlink,
        lambda file: file.write_text("more than was there"),
        lambda file: os.utime(file, ns=(1, 1)),
        lambda file: (file.parent / "new").write_text(""),
    ],
    ids=["rewritten", "gone", "longer", "touched", "new"],
)
def test_each_change_shows_in_the_fingerprint(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    file = tmp_path / "below" / "list"
    file.parent.mkdir()
    file.write_text("text")
    before = fingerprint([tmp_path])
    assert fingerprint([tmp_path, tmp_path / "nosuch"]) == before
    change(file)
    assert fingerprint([tmp_path]) != before


def test_packages_are_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    run = Apt.run

    def counted(apt: Apt, program: str, *args: str, check: bool = True) -> str:
        asked.append(program)
        return run(apt, program, *args, check=check)

    monkeypatch.setattr(Apt, "run", counted)
    for _ in range(2):
        shown = Apt(tmp_path).show({"libc6", "busybox-static"})
        assert shown.keys() == {"libc6", "busybox-static"}
    assert asked.count("apt-cache") == 1
