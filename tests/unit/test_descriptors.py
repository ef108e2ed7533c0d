# SPDX-License-Identifier: BSD-2-Clause
"""Descriptors of peers are closed, and nobody waits for it."""

import os
import socket
import threading
from pathlib import Path

from ringpass import descriptors
from ringpass.descriptors import MAX_THREADS, Closer
from tests.support.slow import lingering
from tests.support.wait import PATIENCE_S, wait_until


def is_open(fd: int) -> bool:
    """Return whether this process has the descriptor."""
    try:
        Path(f"/proc/self/fd/{fd}").readlink()
    except FileNotFoundError:
        return False
    return True


def test_what_cannot_wait_is_closed_at_once() -> None:
    read_end, write_end = os.pipe()
    for fd in (os.memfd_create("m"), os.eventfd(0), read_end, write_end):
        descriptors.common.close(fd)
        assert not is_open(fd)
    descriptors.common.close(1 << 20)  # a number that nobody has


def test_a_file_that_waits_holds_up_nobody() -> None:
    with lingering(MAX_THREADS + 1) as slow:
        closer, other = Closer(), Closer()
        while slow:
            closer.close(slow.pop())
        ours, theirs = socket.socketpair()
        with ours:
            other.close(theirs.detach())
            ours.settimeout(PATIENCE_S)
            assert ours.recv(1) == b"", "another thread closed it"
        assert closer.pending == MAX_THREADS + 1
    wait_until(lambda: closer.pending == 0, "all is closed")


def test_threads_are_few_and_everything_is_closed_in_the_end() -> None:
    go_on = threading.Event()
    closed: list[int] = []

    def close(fd: int) -> None:
        go_on.wait(PATIENCE_S)
        closed.append(fd)

    before = threading.active_count()
    closer = Closer(close)
    fds = list(range(1000, 1100))
    for fd in fds:
        closer.close_later(fd)
    assert closer.full
    assert threading.active_count() <= before + MAX_THREADS
    assert closed == []
    go_on.set()
    wait_until(lambda: sorted(closed) == fds, "all of them")
    wait_until(lambda: not closer.full, "room for more")
