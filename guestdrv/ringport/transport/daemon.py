# SPDX-License-Identifier: BSD-2-Clause
"""A port of the ringpass daemon: what is said on its socket is `csrc/abi/rp_attach.h`."""

import array
import errno
import os
import select
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ringpass.errors import ConfigError
from ringpass.paths import runtime_dir
from ringport import abi, register
from ringport.errors import Error, Unreachable
from ringport.portspec import parse
from ringport.transport import Watch
from ringport.transport.client import Client

FILE_NAME = "netmap.sock"

_MAGIC = 0x706E7072
_VERSION = 1
_CTRL = 1
_CHECK = 6
_REQUEST = struct.Struct("<IHHII")
_ANSWER = struct.Struct("<IiII240s")
_LENGTHS = struct.Struct("<II")
_MAX_BYTES = 16384
_MAX_FDS = 250
#: Seconds that the daemon may take to answer.
_PATIENCE_S = 20


def socket_path() -> Path:
    """Return where the daemon listens. Raises Unreachable if no place is known."""
    try:
        return runtime_dir() / FILE_NAME
    except ConfigError as error:
        raise Unreachable(errno.ENOENT, error.what, error.why, error.fix) from None


class Daemon(Client):
    """A port of the daemon, registered on a connection of its own."""

    def __init__(self, name: str, extra_bufs: int = 0, path: Path | None = None) -> None:
        self._what = f"cannot open {name}"
        spec = parse(name)
        self._socket = _connect(self._what, path or socket_path())
        try:
            mem_id = register.memory(spec, lambda request: self._request(request).body)
            answer = self._request(register.register(spec, mem_id, extra_bufs))
            super().__init__(name, answer.attachment, answer.fds)
        except BaseException:
            self._socket.close()
            raise

    def check(self, what: str) -> None:
        """Raise Error if the port is broken, with the daemon's reason."""
        self._ask(what, _CHECK)

    def watch(self, *, rx: bool, tx: bool) -> Watch | None:
        """Arm the rings, then look once more; the end of the daemon is an event, too."""
        watch = super().watch(rx=rx, tx=tx)
        if watch is None:
            return None
        return Watch([*watch.fds, (self._socket.fileno(), select.POLLHUP)], watch.nap_s)

    def close(self) -> None:
        """Give the port back, and unmap its memory, as far as nobody holds arrays of it."""
        super().close()
        self._socket.close()

    def _request(self, request: register.Request) -> "_Answer":
        """Do NIOCCTRL. Raises Error with the daemon's reason."""
        return self._ask(self._what, _CTRL, _control(request))

    def _ask(self, what: str, operation: int, payload: bytes = b"") -> "_Answer":
        message = _REQUEST.pack(_MAGIC, _VERSION, operation, len(payload), 0) + payload
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            ours.settimeout(_PATIENCE_S)
            rights = array.array("i", [theirs.fileno()])
            controls = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            try:
                self._socket.sendmsg([message], controls)
                theirs.close()
                data, came, flags, _ = ours.recvmsg(
                    _MAX_BYTES, socket.CMSG_SPACE(4 * _MAX_FDS), socket.MSG_CMSG_CLOEXEC
                )
            except OSError as error:
                why = "it does not answer" if isinstance(error, TimeoutError) else str(error)
                raise Error(errno.EIO, what, f"the daemon: {why}", _LOOK) from None
        fds = list(_descriptors(came))
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                why = "the daemon's answer is cut off, or this process has no free descriptors"
                raise Error(errno.EMFILE, what, why, "look at ulimit -n")
            return _answered(what, data, fds)
        except Error:
            for fd in fds:
                os.close(fd)
            raise


class _Answer(NamedTuple):
    body: bytes
    attachment: bytes
    fds: list[int]


_LOOK = "look at the daemon's log"
_START = "start one: ringpass up FILE.toml"


def _connect(what: str, path: Path) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connected.connect(str(path))
    except OSError as error:
        connected.close()
        if isinstance(error, PermissionError):
            why = f"the daemon at {path} is not for this user: {error.strerror}"
            raise Error(error.errno or errno.EACCES, what, why, "ask who runs it") from None
        why = f"no daemon at {path}: {error.strerror}"
        raise Unreachable(error.errno or errno.EIO, what, why, _START) from None
    return connected


def _control(request: register.Request) -> bytes:
    header, options = register.encode(request)
    lengths = _LENGTHS.pack(len(request.body), len(options))
    return header + lengths + request.body + options


def _answered(what: str, data: bytes, fds: list[int]) -> _Answer:
    if len(data) < _ANSWER.size:
        raise Error(errno.EIO, what, "the daemon closed the connection", _LOOK)
    magic, code, size, attached, text = _ANSWER.unpack_from(data)
    payload = data[_ANSWER.size :]
    if magic != _MAGIC or len(payload) != size + attached:
        raise Error(errno.EPROTO, what, "the daemon's answer is not understood")
    if code:
        told = text.rstrip(b"\0").decode(errors="replace")
        why, _, fix = told.removeprefix(f"{what}: ").partition("; fix: ")
        raise Error(code, what, why, fix)
    if not size:
        return _Answer(b"", b"", fds)
    start = abi.HEADER.size + _LENGTHS.size
    body_bytes, _ = _LENGTHS.unpack_from(payload, abi.HEADER.size)
    return _Answer(payload[start : start + body_bytes], payload[size:], fds)


def _descriptors(controls: Iterable[tuple[int, int, bytes]]) -> Iterable[int]:
    for level, kind, data in controls:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(data)
            yield from numbers
