# SPDX-License-Identifier: BSD-2-Clause
"""Front ends that listen: we connect to them, as others connect to `ringpass.listener`.

It calls `on_connection` with each connected socket, which then belongs to the callee, and goes on
until it is closed. It lives in an asyncio event loop, in its thread.
"""

import asyncio
import errno
import logging
import os
import socket
from pathlib import Path

from ringpass.descriptors import Closer
from ringpass.listener import OnConnection
from ringpass.sockets import check_path

log = logging.getLogger(__name__)

#: Seconds between two attempts to reach a front end that listens.
RETRY_S = 0.5


class Connector:
    """We connect to a front end that listens (`mode = "client"`), again and again until it does."""

    def __init__(self, path: Path, on_connection: OnConnection) -> None:
        self._path = path
        self._on_connection = on_connection
        self._timer: asyncio.TimerHandle | None = None
        self.closer = Closer()
        """Of what the front end sends; while it is full, we do not connect."""

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
        if self.closer.full:
            self.resume(RETRY_S)
            return
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
