# SPDX-License-Identifier: BSD-2-Clause
"""Where the front ends of a port come from: a socket that we listen on, or one that we connect to.

Both call `on_connection` with each connected socket, which then belongs to the callee, and both go
on until they are closed. They live in an asyncio event loop, in its thread.
"""

import asyncio
import contextlib
import errno
import grp
import logging
import os
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ringpass.errors import ConfigError, Denied, RingpassError
from ringpass.paths import MAX_SOCKET_PATH

log = logging.getLogger(__name__)

#: Seconds between two attempts to reach a front end that listens.
RETRY_S = 0.5

OnConnection = Callable[[socket.socket], None]


class Access(NamedTuple):
    """Who may connect to a socket that we listen on."""

    mode: int = 0o660
    group: str | None = None


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


def check_path(path: Path) -> None:
    """Raise ConfigError if `path` does not fit into a unix socket's address."""
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH:
        raise ConfigError(
            f"the socket path {path} is too long",
            f"it has {length} bytes; a unix socket's path has at most {MAX_SOCKET_PATH}",
            "choose a shorter runtime directory, or set the port's path",
        )


def bind(path: Path, access: Access) -> socket.socket:
    """Return a socket bound to `path`, which only `access` lets others open.

    Removes the socket of a process that died. Raises ConfigError for a path that is too long or is
    something else, RingpassError if a live process has it, Denied if the system says so.
    """
    check_path(path)
    _remove_stale(path)
    bound = socket.socket(socket.AF_UNIX)
    try:
        old_mask = os.umask(0o177)
        try:
            bound.bind(os.fspath(path))
        finally:
            os.umask(old_mask)
        set_access(path, access)
    except OSError as error:
        bound.close()
        raise _bind_failure(path, error) from error
    except RingpassError:
        bound.close()
        path.unlink(missing_ok=True)
        raise
    return bound


def set_access(path: Path, access: Access) -> None:
    """Give the socket file at `path` its group and mode."""
    what = f"cannot give {path} to the group {access.group}"
    if access.group is not None:
        try:
            os.chown(path, -1, grp.getgrnam(access.group).gr_gid)
        except KeyError as error:
            raise ConfigError(
                what, "there is no such group", "create it, or change daemon.socket_group"
            ) from error
        except PermissionError as error:
            raise Denied(
                what,
                "only root, or a member of the group, may do that",
                f"add the user that runs the daemon to the group: usermod -aG {access.group} USER",
            ) from error
    path.chmod(access.mode)


def peer_pid(connected: socket.socket) -> int:
    """Return the process at the other end of a connected unix socket."""
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, _uid, _gid = struct.unpack("=iII", credentials)
    return int(pid)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _bind_failure(path, error) from error
    what = f"cannot listen on {path}"
    if not stat.S_ISSOCK(mode):
        raise ConfigError(
            what, "there is a file that is not a socket", "move it away, or choose another path"
        )
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return
        except FileNotFoundError:
            return
        except BlockingIOError:
            pid = "a process that does not answer"
        except OSError as error:
            raise _bind_failure(path, error) from error
        else:
            pid = f"process {peer_pid(probe)}"
    raise RingpassError(what, f"{pid} listens there", "stop it, or choose another path")


def _bind_failure(path: Path, error: OSError) -> RingpassError:
    what, why = f"cannot listen on {path}", error.strerror or str(error)
    if isinstance(error, FileNotFoundError):
        return ConfigError(what, "its directory does not exist", f"create {path.parent}")
    if isinstance(error, PermissionError):
        return Denied(what, why, f"make {path.parent} writable for the user that runs the daemon")
    return RingpassError(what, why)
