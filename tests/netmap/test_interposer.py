# SPDX-License-Identifier: BSD-2-Clause
"""Netmap programs in C, through the interposing library: each file is one subject's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cbuild import run
from tests.support.daemon import Daemon
from tests.support.netmap_run import compiled, served
from tests.support.wait import PATIENCE_S


@pytest.fixture
def daemon(runtime_dir: Path) -> Iterator[Daemon]:
    with Daemon(runtime_dir, "") as daemon:
        yield daemon


@pytest.mark.parametrize("subject", ["broken", "poll", "epoll", "descriptors", "kloop", "memory"])
def test_programs_find_netmaps_semantics(subject: str, daemon: Daemon, tmp_path: Path) -> None:
    run(served(compiled(subject, tmp_path)), timeout=60)
    assert daemon.process is not None
    assert daemon.process.poll() is None


def test_programs_see_that_the_backend_died(daemon: Daemon, tmp_path: Path) -> None:
    run(served(compiled("orphans", tmp_path)), timeout=60)
    assert daemon.process is not None
    assert daemon.process.wait(PATIENCE_S) < 0
