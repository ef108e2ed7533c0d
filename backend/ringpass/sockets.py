# SPDX-License-Identifier: BSD-2-Clause
"""Unix sockets that the backend listens on: who may connect, and who did."""

import array
import contextlib
import grp
import os
import select
import socket
import stat
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ringpass.errors import ConfigError, Denied, RingpassError
from ringpass.paths import MAX_SOCKET_PATH

#: Descriptors of one packet that the kernel lets through: it would close those beyond on our time.
MAX_FDS = 253


class Access(NamedTuple):
    """Who may connect to a socket that we listen on."""

    mode: int = 0o660
    group: str | None = None


def check_path(path: Path) -> None:
    """Raise ConfigError if `path` does not fit into a unix socket's address."""
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH:
        raise ConfigError(
            f"the socket path {path} is too long",
            f"it has {length} bytes; a unix socket's path has at most {MAX_SOCKET_PATH}",
            "choose a shorter runtime directory, or set the port's path",
        )


def bind(path: Path, access: Access, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Return a socket of the type `kind` bound to `path`, which only `access` lets others open.

    Removes the socket of a process that died. Raises ConfigError for a path that is too long or is
    something else, RingpassError if a live process has it, Denied if the system says so.
    """
    check_path(path)
    _remove_stale(path, kind)
    bound = socket.socket(socket.AF_UNIX, kind)
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


class Credentials(NamedTuple):
    """Who is at the other end of a unix socket, as the kernel says."""

    pid: int
    uid: int
    gid: int


def credentials(connected: socket.socket) -> Credentials:
    """Return who connected a unix socket."""
    return Credentials(
        *struct.unpack("=iII", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    )


def peer_pid(connected: socket.socket) -> int:
    """Return the process at the other end of a connected unix socket."""
    return credentials(connected).pid


class Packet(NamedTuple):
    """A packet with the descriptors that came along, which are the receiver's."""

    data: bytes
    fds: list[int]
    whole: bool
    """Whether nothing of it was cut off."""


def hung_up(connected: socket.socket) -> bool:
    """Return whether the other end of a connection has hung up; nothing is read."""
    poll = select.poll()
    poll.register(connected, select.POLLRDHUP)
    return bool(poll.poll(0))


def receive_packet(connected: socket.socket, max_bytes: int) -> Packet | None:
    """Return the next packet of a SOCK_SEQPACKET socket, None at the end. Raises OSError."""
    room = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
    data, controls, flags, _ = connected.recvmsg(max_bytes, room, socket.MSG_CMSG_CLOEXEC)
    fds = list(_descriptors(controls))
    if not data and not fds:
        return None
    return Packet(data, fds, whole=not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC))


def _descriptors(controls: Iterable[tuple[int, int, bytes]]) -> Iterator[int]:
    for level, kind, data in controls:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
            yield from numbers


def _remove_stale(path: Path, kind: int) -> None:
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
    with socket.socket(socket.AF_UNIX, kind) as probe:
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
