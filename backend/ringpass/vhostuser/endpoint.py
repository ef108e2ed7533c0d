# SPDX-License-Identifier: BSD-2-Clause
"""Where the front ends of a port come from: a socket that we listen on, or one that we connect to.

Both call `on_connection` with each connected socket, which then belongs to the callee, and both go
on until they are closed. They live in an asyncio event loop, in its thread.
"""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

from ringpass.sockets import Access, bind, check_path, set_access

log = logging.getLogger(__name__)

#: Seconds between two attempts to reach a front end that listens.
RETRY_S = 0.5

OnConnection = Callable[[socket.socket], None]


class Listener:
    """Front ends connect to us (QEMU's default, `mode = "server"`)."""

    def __init__(self, path: Path, access: Access, on_connection: OnConnection) -> None:
        self._path = path
        self._access = access
        self._on_connection = on_connection
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Create the socket file and listen. Raises RingpassError if the path cannot be had."""
        self._socket = bind(self._path, self._access)
        self._socket.setblocking(False)
        self._socket.listen(8)
        self._listen()

    def resume(self, delay: float) -> None:
        """Let no front end come for `delay` seconds.

        While one is here the socket listens all the same, so that a second one is refused.
        """
        if self._socket is not None and self._timer is None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            self._timer = loop.call_later(delay, self._listen)

    def set_access(self, access: Access) -> None:
        """Change who may connect."""
        set_access(self._path, access)
        self._access = access

    def close(self) -> None:
        """Stop listening and remove the socket file."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            self._path.unlink(missing_ok=True)

    def _listen(self) -> None:
        self._timer = None
        assert self._socket is not None
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        assert self._socket is not None
        try:
            connected, _ = self._socket.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            # Out of descriptors or memory: others may give some back.
            log.error("event=accept-failed path=%s why=%r", self._path, error.strerror)
            self.resume(RETRY_S)
            return
        self._on_connection(connected)


class Connector:
    """We connect to a front end that listens (`mode = "client"`), again and again until it does."""

    def __init__(self, path: Path, on_connection: OnConnection) -> None:
        self._path = path
        self._on_connection = on_connection
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Begin to try."""
        check_path(self._path)
        self._try()

    def resume(self, delay: float) -> None:
        """Connect again, after `delay` seconds or a pause: the front end may be restarting."""
        if self._timer is None:
            pause = max(delay, RETRY_S)
            self._timer = asyncio.get_running_loop().call_later(pause, self._try)

    def close(self) -> None:
        """Stop trying."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _try(self) -> None:
        self._timer = None
        connecting = socket.socket(socket.AF_UNIX)
        connecting.setblocking(False)
        try:
            connecting.connect(os.fspath(self._path))
        except OSError as error:
            connecting.close()
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN):
                log.warning("event=connect-failed path=%s why=%r", self._path, error.strerror)
            self.resume(RETRY_S)
            return
        self._on_connection(connecting)
