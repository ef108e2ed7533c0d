# SPDX-License-Identifier: BSD-2-Clause
"""Descriptors that take as long to close as their maker likes."""

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ringpass.descriptors import MAX_WAITING, Closer

_LINGER_S = 600
_NOBODYS = 1 << 20


@contextmanager
def lingering(count: int) -> Iterator[list[int]]:
    """Yield TCP sockets with data that nobody reads, until afterwards: to close one waits for that.

    The yielded descriptors are closed here unless they were taken out of the list.
    """
    senders: list[int] = []
    receivers: list[socket.socket] = []
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # far less than is sent
            for _ in range(count):
                senders.append(_full(server))
                receivers.append(server.accept()[0])
        yield senders
    finally:
        for receiver in receivers:
            receiver.close()  # resets the connection, so nobody waits any more
        for fd in senders:
            os.close(fd)


def full_closer(go_on: threading.Event) -> Closer:
    """Return a closer that has too much to close until `go_on`, for 10 s at most."""

    def close(fd: int) -> None:
        go_on.wait(10)
        with suppress(OSError):
            os.close(fd)

    closer = Closer(close)
    for _ in range(MAX_WAITING + 1):
        closer.close_later(_NOBODYS)
    assert closer.full
    return closer


def _full(server: socket.socket) -> int:
    sender = socket.create_connection(server.getsockname())
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, _LINGER_S))
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    sender.setblocking(False)
    try:
        while True:
            sender.send(bytes(1 << 16))
    except BlockingIOError:
        return sender.detach()
