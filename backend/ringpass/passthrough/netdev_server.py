# SPDX-License-Identifier: BSD-2-Clause
"""The socket of a port that QEMU's `-netdev ringpass` connects to, and what it asks for there."""

import asyncio
import errno
import logging
import socket
from pathlib import Path
from typing import Protocol

from ringpass.errors import RingpassError
from ringpass.listener import Listener
from ringpass.passthrough.account import Account
from ringpass.passthrough.guest import Guest
from ringpass.passthrough.handback import Held
from ringpass.passthrough.netdev import Connection
from ringpass.passthrough.netdev_messages import (
    OPENED,
    Close,
    Done,
    Hello,
    Nonsense,
    Open,
    PortFlag,
    PortInfo,
    Request,
)
from ringpass.passthrough.transport import Place, Taken, Transport
from ringpass.sockets import Access

log = logging.getLogger(__name__)

#: Connections that have not said hello: how many there may be, and for how many seconds.
MAX_STRANGERS = 8
STRANGER_S = 5.0


class Seated(Taken, Protocol):
    """A QEMU that has the port."""

    transport: Transport
    guest: Guest
    not_kept: str | None
    """Why what it handed back was not taken; None: it was; empty: it had nothing."""


class NetdevPlace(Place, Protocol):
    """A port, for this server."""

    account: Account
    """Of who has the port."""

    @property
    def seat(self) -> Seated | None:
        """Who has the port."""

    def seat_new(self, transport: Transport, held: Held | None = None) -> Seated:
        """Let a QEMU have the port, and with what it hands back, if that may be."""

    def info(self, flags: int) -> PortInfo:
        """Return what the port is like."""

    def note_opens(self) -> None:
        """Note what QEMU itself opened or closed just now."""


class Server:
    """The socket. A QEMU has the port from its hello on.

    `strangers` is the account of all who have not said it.
    """

    def __init__(self, path: Path, access: Access, port: NetdevPlace, strangers: Account) -> None:
        self._port = port
        self._account = strangers
        self._listener = Listener(path, access, self._connected, socket.SOCK_SEQPACKET)
        self._strangers: dict[Connection, asyncio.TimerHandle] = {}

    def open(self) -> None:
        """Let a QEMU come. Raises RingpassError if the socket's path cannot be had."""
        self._listener.open()

    def close(self) -> None:
        """Let none come any more."""
        self._listener.close()
        for stranger in list(self._strangers):
            self._ended(stranger, None)

    def set_access(self, access: Access) -> None:
        """Change who may connect."""
        self._listener.set_access(access)

    def resume(self, connected: socket.socket) -> Connection:
        """Return the connection of a QEMU that an earlier daemon left."""
        return self._connection(connected, self._port.account)

    def _connection(self, connected: socket.socket, account: Account) -> Connection:
        return Connection(
            connected, account, self._listener.closer, self._do, self._describe, self._ended
        )

    def _connected(self, connected: socket.socket) -> None:
        if len(self._strangers) >= MAX_STRANGERS:
            self._ended(next(iter(self._strangers)), None)  # QEMU says hello at once
        connection = self._connection(connected, self._account)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(STRANGER_S, self._ended, connection, None)
        self._strangers[connection] = timer

    def _ended(self, connection: Connection, violation: RingpassError | None) -> None:
        self._greeted(connection)
        self._port.ended(connection, violation)
        connection.close()
        self._listener.resume(self._port.pause)

    def _greeted(self, connection: Connection) -> None:
        if timer := self._strangers.pop(connection, None):
            timer.cancel()

    def _do(self, connection: Connection, request: Request) -> Done:
        """Do a request. Raises RingpassError; Nonsense, if it comes at the wrong time."""
        if isinstance(request.body, Hello):
            if connection not in self._strangers:
                raise _wrong_time("it says HELLO once more")
            return self._hello(connection, request.body, request.fds)
        seat = self._port.seat
        if seat is None or seat.transport is not connection:
            raise _wrong_time("it has not said HELLO")
        try:
            match request.body:
                case Open():
                    return self._open(seat.guest, request.body, request.fds)
                case Close():
                    seat.guest.close_rings()
                    return Done()
        finally:
            self._port.note_opens()

    def _hello(self, connection: Connection, hello: Hello, fds: list[int]) -> Done:
        held = Held(hello.peer, hello.region_bytes, fds) if fds else None
        try:
            self._check(hello)
            seat = self._port.seat_new(connection, held)
        except RingpassError as error:
            self._port.note_refused(connection, error)
            raise
        except OSError as error:
            self._port.note_refused(connection, error)
            raise _failed(error) from error
        self._greeted(connection)
        connection.account = self._port.account
        if seat.not_kept is None:
            return Done(self._port.info(PortFlag.KEPT).pack())
        new = [self._port.memory, *seat.pairs.doorbells, *seat.pairs.vectors]
        return Done(self._port.info(0).pack(), new, seat.not_kept)

    def _check(self, hello: Hello) -> None:
        """Raise RingpassError for what the port has not."""
        info = self._port.info(0)
        if hello.queues > min(info.tx_rings, info.rx_rings):
            raise RingpassError(
                f"QEMU's netdev cannot have port {info.name}",
                f"queues={hello.queues}, and the port has {info.tx_rings}",
                "ask for fewer, or raise queues of the port: ringpass apply",
                errno=errno.EINVAL,
            )

    def _open(self, guest: Guest, wanted: Open, fds: list[int]) -> Done:
        try:
            opened = guest.open_rings(wanted, fds)
        except OSError as error:
            raise _failed(error) from error
        head = OPENED.pack(opened.nifp_offset, opened.number, 0)
        return Done(head + opened.rings)

    def _describe(self) -> bytes:
        """Return the body of CHANGED."""
        return self._port.info(0).pack()


def _failed(error: OSError) -> RingpassError:
    return RingpassError(
        "the port cannot be had", str(error), "try again later", errno=error.errno or 0
    )


def _wrong_time(why: str) -> Nonsense:
    return Nonsense("a request is refused", why, "say HELLO first, and once", errno=errno.EPROTO)
