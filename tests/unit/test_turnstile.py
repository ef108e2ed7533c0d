# SPDX-License-Identifier: BSD-2-Clause
"""A test that must be alone is, and it need not wait until nobody else wants to run."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.turnstile import Turnstile
from tests.support.wait import PATIENCE_S, wait_until

INSTANT_S = 0.05
"""Enough for a thread to enter, were it not held back."""


class Visitor:
    """Somebody who enters, and leaves when told to."""

    def __init__(self, executor: ThreadPoolExecutor, directory: Path, *, alone: bool) -> None:
        self.inside, self.leave = threading.Event(), threading.Event()
        self.visit = executor.submit(self._visit, Turnstile(directory), alone)

    def _visit(self, turnstile: Turnstile, alone: bool) -> None:
        with turnstile.entered(alone=alone):
            self.inside.set()
            assert self.leave.wait(PATIENCE_S)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as executor:
        yield executor


def test_others_are_together_and_one_alone_is_not(
    executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    first = Visitor(executor, tmp_path, alone=False)
    second = Visitor(executor, tmp_path, alone=False)
    assert first.inside.wait(PATIENCE_S)
    assert second.inside.wait(PATIENCE_S)
    alone = Visitor(executor, tmp_path, alone=True)
    first.leave.set()
    assert not alone.inside.wait(INSTANT_S)
    second.leave.set()
    assert alone.inside.wait(PATIENCE_S)
    late = Visitor(executor, tmp_path, alone=False)
    assert not late.inside.wait(INSTANT_S)
    alone.leave.set()
    assert late.inside.wait(PATIENCE_S)
    late.leave.set()


def test_nobody_passes_one_who_waits_to_be_alone(
    executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    first = Visitor(executor, tmp_path, alone=False)
    assert first.inside.wait(PATIENCE_S)
    alone = Visitor(executor, tmp_path, alone=True)
    wait_until(lambda: stands_in(tmp_path / "turnstile.lock"), "one waits in the turnstile")
    late = Visitor(executor, tmp_path, alone=False)
    assert not late.inside.wait(INSTANT_S)
    first.leave.set()
    assert alone.inside.wait(PATIENCE_S)
    assert not late.inside.is_set()
    alone.leave.set()
    late.leave.set()
    assert late.inside.wait(PATIENCE_S)


def stands_in(lock: Path) -> bool:
    """Whether somebody holds the lock."""
    if not lock.exists():
        return False
    inode = f":{lock.stat().st_ino} "
    held = (line for line in Path("/proc/locks").read_text().splitlines() if " -> " not in line)
    return any(inode in line for line in held)
