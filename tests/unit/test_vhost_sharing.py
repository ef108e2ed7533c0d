# SPDX-License-Identifier: BSD-2-Clause
"""Memory that a front end maps privately is told from memory that it shares."""

import mmap
import os
import subprocess
from collections.abc import Iterator

import pytest

from ringpass.vhostuser.sharing import keeps_to_itself
from tests.support.vhost import memfd


@pytest.fixture
def fd() -> Iterator[int]:
    fd = memfd()
    yield fd
    os.close(fd)


def test_private_mapping_is_not_shared(fd: int) -> None:
    with mmap.mmap(fd, 0, mmap.MAP_PRIVATE):
        assert keeps_to_itself(os.getpid(), [fd])


def test_shared_mapping_is_shared_whatever_else_is_mapped(fd: int) -> None:
    with mmap.mmap(fd, 0, mmap.MAP_SHARED):
        assert not keeps_to_itself(os.getpid(), [fd])
        with mmap.mmap(fd, 0, mmap.MAP_PRIVATE):
            assert not keeps_to_itself(os.getpid(), [fd])


def test_nothing_is_said_of_a_file_that_is_not_mapped(fd: int) -> None:
    assert not keeps_to_itself(os.getpid(), [fd])


def test_nothing_is_said_of_a_process_that_has_gone(fd: int) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert not keeps_to_itself(process.pid, [fd])
