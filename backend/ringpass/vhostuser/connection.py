# SPDX-License-Identifier: BSD-2-Clause
"""A unix socket that yields vhost-user messages, with their file descriptors, without blocking."""

import array
import socket
from types import TracebackType
from typing import Self

from ringpass import descriptors
from ringpass.descriptors import Closer
from ringpass.vhostuser.messages import (
    MAX_PAYLOAD,
    MAX_TABLE_ROWS,
    Header,
    HeaderFlag,
    ProtocolError,
)

HEADER_SIZE = Header.LAYOUT.size
_FD_SIZE = array.array("i").itemsize
#: Room for one descriptor more than any message may have, so that too many are noticed.
_ANCILLARY_SIZE = socket.CMSG_SPACE((MAX_TABLE_ROWS + 1) * _FD_SIZE)


class Disconnected(Exception):
    """The front end closed the connection between two messages."""


class Fd:
    """A file descriptor with one owner, who closes it."""

    __slots__ = ("_closer", "_number")

    def __init__(self, number: int, closer: Closer = descriptors.common) -> None:
        self._number = number
        self._closer = closer

    def fileno(self) -> int:
        """Return the descriptor's number. Raises ValueError after `close`."""
        if self._number < 0:
            raise ValueError("the descriptor is closed")
        return self._number

    def close(self) -> None:
        """Close the descriptor, later if that may wait. A second close does nothing."""
        if self._number >= 0:
            number, self._number = self._number, -1
            self._closer.close(number)


class Message:
    """A message as it came; it owns its descriptors until they are taken. A context manager."""

    def __init__(self, header: Header, body: bytes, fds: list[Fd]) -> None:
        self.header = header
        self.body = body
        self.fds = fds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptors that nobody took."""
        _close_all(self.fds)

    def take_fd(self) -> Fd:
        """Give the next descriptor to the caller."""
        return self.fds.pop(0)


class Connection:
    """A connected socket, read header first, then body: never more than one message ahead.

    `closer` closes what comes.
    """

    def __init__(self, sock: socket.socket, closer: Closer = descriptors.common) -> None:
        sock.setblocking(False)
        self._closer = closer
        self._sock = sock
        self._header: Header | None = None
        self._buffer = b""
        self._fds: list[Fd] = []

    def fileno(self) -> int:
        """Return the socket's number, for an event loop."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket, and the descriptors of a message that never became whole."""
        self._closer.hang_up(self._sock)
        _close_all(self._fds)

    def receive(self) -> Message | None:
        """Return the next message, or None if it has not arrived yet.

        Raises Disconnected at the end, ProtocolError for a message that cannot be right.
        """
        if self._header is None:
            if not self._fill(HEADER_SIZE):
                return None
            self._header = _checked_header(self._take_buffer())
        if not self._fill(self._header.size):
            return None
        message = Message(self._header, self._take_buffer(), self._fds)
        self._header, self._fds = None, []
        return message

    def send(self, data: bytes) -> None:
        """Send a whole message. Raises ProtocolError if the front end lets its replies pile up."""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise Disconnected from error
        if sent < len(data):
            raise ProtocolError("it does not read the replies to its own requests")

    def _take_buffer(self) -> bytes:
        data, self._buffer = self._buffer, b""
        return data

    def _fill(self, size: int) -> bool:
        """Read until the buffer has `size` bytes; return whether it has."""
        while len(self._buffer) < size:
            try:
                data, ancillary, flags, _ = self._sock.recvmsg(
                    size - len(self._buffer), _ANCILLARY_SIZE, socket.MSG_CMSG_CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                return False
            except ConnectionError:
                data, ancillary, flags = b"", [], 0
            arrived = [Fd(number, self._closer) for number in _descriptors(ancillary)]
            misplaced = arrived and (self._header is not None or self._buffer)
            self._fds += arrived
            if len(self._fds) > MAX_TABLE_ROWS:
                raise ProtocolError(f"more than {MAX_TABLE_ROWS} descriptors with one message")
            if flags & socket.MSG_CTRUNC:
                raise ProtocolError(
                    "its descriptors did not all arrive: the daemon has too many open",
                    "raise the limit of open files: LimitNOFILE= of its systemd unit, or ulimit -n",
                )
            if arrived and self._closer.full:
                raise ProtocolError("it sends descriptors faster than they can be closed")
            if misplaced:
                raise ProtocolError("descriptors in the middle of a message")
            if not data:
                if self._buffer or self._header is not None:
                    raise ProtocolError("the connection ended in the middle of a message")
                raise Disconnected
            self._buffer += data
        return True


def _checked_header(data: bytes) -> Header:
    header = Header.unpack(data)
    version = header.flags & HeaderFlag.VERSION_MASK
    if version != HeaderFlag.VERSION:
        raise ProtocolError(f"a message of protocol version {version}; only 1 exists")
    if header.flags & HeaderFlag.REPLY:
        raise ProtocolError(f"a reply (to {header.request}) to a question that was never asked")
    if header.size > MAX_PAYLOAD:
        raise ProtocolError(f"a payload of {header.size} bytes; at most {MAX_PAYLOAD} are read")
    return header


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % _FD_SIZE])
    return list(found)


def _close_all(fds: list[Fd]) -> None:
    for fd in fds:
        fd.close()
    fds.clear()
