# SPDX-License-Identifier: BSD-2-Clause
"""A unix socket that front ends connect to, in an asyncio event loop and in its thread."""

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path

from ringpass.descriptors import Closer
from ringpass.sockets import Access, bind, set_access

log = logging.getLogger(__name__)

#: Seconds without a new connection when there are no descriptors left, or too many to close.
RETRY_S = 0.5

#: Is called with each connected socket, which then belongs to the callee.
OnConnection = Callable[[socket.socket], None]


class Listener:
    """Lets front ends come until it is closed."""

    def __init__(
        self,
        path: Path,
        access: Access,
        on_connection: OnConnection,
        kind: int = socket.SOCK_STREAM,
    ) -> None:
        self._kind = kind
        self._path = path
        self._access = access
        self._on_connection = on_connection
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.closer = Closer()
        """Of what front ends send; while it is full, none may come."""

    def open(self) -> None:
        """Create the socket file and listen. Raises RingpassError if the path cannot be had."""
        self._socket = bind(self._path, self._access, self._kind)
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
        if self.closer.full:
            self.resume(RETRY_S)
            return
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
