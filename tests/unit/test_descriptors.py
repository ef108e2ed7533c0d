# SPDX-License-Identifier: BSD-2-Clause
"""Descriptors of peers are closed, and nobody waits for it."""

import os
import socket
import struct
import threading
import time
from pathlib import Path

from ringpass import descriptors
from tests.support.wait import PATIENCE_S, wait_until


def is_open(fd: int) -> bool:
    """Return whether this process has the descriptor."""
    try:
        Path(f"/proc/self/fd/{fd}").readlink()
    except FileNotFoundError:
        return False
    return True


def lingering() -> tuple[int, socket.socket]:
    """Return a TCP socket that takes seconds to close, and its peer, which reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
    sender.setblocking(False)
    try:
        while True:
            sender.send(bytes(1 << 16))
    except BlockingIOError:
        return sender.detach(), receiver


def test_what_cannot_wait_is_closed_at_once() -> None:
    read_end, write_end = os.pipe()
    for fd in (os.memfd_create("m"), os.eventfd(0), read_end, write_end):
        descriptors.close(fd)
        assert not is_open(fd)
    descriptors.close(1 << 20)  # a number that nobody has


def test_a_file_that_waits_holds_up_nobody() -> None:
    slow, peer = lingering()
    started = time.monotonic()
    descriptors.close(slow)
    ours, theirs = socket.socketpair()
    with ours:
        descriptors.close(theirs.detach())
        ours.settimeout(PATIENCE_S)
        assert ours.recv(1) == b"", "another thread closed it"
    assert time.monotonic() - started < 25, "not when nobody lingers any more"
    peer.close()  # resets the connection, so nobody waits any more


def test_threads_are_few_and_everything_is_closed_in_the_end() -> None:
    go_on = threading.Event()
    closed: list[int] = []

    def close(fd: int) -> None:
        go_on.wait(PATIENCE_S)
        closed.append(fd)

    before = threading.active_count()
    closer = descriptors._Closer(close)
    fds = list(range(1000, 1100))
    for fd in fds:
        closer.close(fd)
    assert threading.active_count() <= before + descriptors.MAX_THREADS
    assert closed == []
    go_on.set()
    wait_until(lambda: sorted(closed) == fds, "all of them")
