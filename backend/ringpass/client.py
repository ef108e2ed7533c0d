# SPDX-License-Identifier: BSD-2-Clause
"""A blocking client of the daemon's control socket.

with Client() as client:
    client.call("port.show", name="vale0:vm1")
"""

import os
import socket
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from ringpass import paths, rpc
from ringpass.errors import DaemonUnreachable, Denied, RingpassError

T = TypeVar("T")

#: Seconds that a daemon may take to answer.
TIMEOUT_S = 30.0
#: The same for what only shows something, where a person waits for it.
SHOW_S = 10.0


class Client:
    """A connection to the daemon, opened by the first call. Use it as a context manager."""

    def __init__(self, path: Path | None = None, *, timeout: float = TIMEOUT_S) -> None:
        """`path` is the control socket (default: that of `paths.runtime_dir()`)."""
        self._path = paths.control_socket() if path is None else path
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._unread = b""
        self._last_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect. The next call connects again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._unread = b""

    def call(self, method: str, **params: Any) -> Any:
        """Return the result of `method`.

        Raises DaemonUnreachable if nobody answers, or the RingpassError that the daemon answered.
        """
        self._last_id += 1
        request = rpc.Request(method, params, self._last_id)
        try:
            self._connect().sendall(rpc.encode(request))
            line = self._read_line()
        except OSError as error:
            self.close()
            raise self._unreachable(error) from error
        try:
            response = msgspec.json.decode(line, type=rpc.Response)
        except msgspec.DecodeError as error:
            self.close()
            raise RingpassError(f"{self._path} does not speak our language", str(error)) from error
        if isinstance(response.error, rpc.Failure):
            rpc.raise_failure(response.error)
        return response.result

    def ask(self, kind: type[T], method: str, **params: Any) -> T:
        """Return the result of `method` as `kind`."""
        result = self.call(method, **params)
        try:
            return msgspec.convert(result, kind)
        except msgspec.ValidationError as error:
            raise RingpassError(
                f"the answer to {method} is not understood",
                str(error),
                "use the ringpass that the daemon was started with",
            ) from error

    def _connect(self) -> socket.socket:
        if self._socket is None:
            connecting = socket.socket(socket.AF_UNIX)
            try:
                connecting.settimeout(self._timeout)
                connecting.connect(os.fspath(self._path))
            except OSError:
                connecting.close()
                raise
            self._socket = connecting
        return self._socket

    def _read_line(self) -> bytes:
        connected = self._connect()
        while b"\n" not in self._unread:
            data = connected.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the daemon closed the connection")
            self._unread += data
        line, self._unread = self._unread.split(b"\n", 1)
        return line

    def _unreachable(self, error: OSError) -> RingpassError:
        if isinstance(error, PermissionError):
            return Denied(
                f"cannot use the daemon at {self._path}",
                "its control socket belongs to another user",
                "use the account that started it, or root",
            )
        if isinstance(error, TimeoutError):
            return DaemonUnreachable(
                f"no answer from the daemon at {self._path}",
                f"it did not answer within {self._timeout:g} s",
                "ringpass top shows what it does, without asking it",
            )
        if isinstance(error, FileNotFoundError):
            why = "there is no such socket"
        elif isinstance(error, ConnectionRefusedError):
            why = "the daemon that made the socket is gone"
        else:
            why = str(error)
        return DaemonUnreachable(f"no daemon at {self._path}", why, "ringpass up FILE.toml")
