# SPDX-License-Identifier: BSD-2-Clause
"""A connection of QEMU's `-netdev ringpass`: a request, its answer, and what is told unasked.

QEMU sends one request at a time. One that sends more is answered in its own time: nothing is read
while a request waits for its turn or an answer to be sent, and requests cost what those of a
guest's mailbox do.
"""

import array
import asyncio
import logging
import socket
import time
from collections.abc import Callable

from ringpass.descriptors import Closer
from ringpass.errors import RingpassError
from ringpass.passthrough.account import Account, Claim
from ringpass.passthrough.netdev_messages import (
    MAX_BYTES,
    Close,
    Done,
    Hello,
    Message,
    Nonsense,
    Op,
    Open,
    Request,
    answer,
    parse,
    refusal,
)
from ringpass.passthrough.transport import Way
from ringpass.sockets import Packet, credentials, hung_up, receive_packet

log = logging.getLogger(__name__)

_OPS: dict[type, Op] = {Hello: Op.HELLO, Open: Op.OPEN, Close: Op.CLOSE}


class Connection:
    """A QEMU that is connected, in the event loop. The socket is the connection's.

    `account` is who pays for its requests, `closer` closes what comes with them.
    `do` does a request; descriptors that it leaves there are closed. `describe` returns the body of
    CHANGED. `on_end` is called when the other end is gone, or is to be: then with what it did.
    """

    way: Way = "netdev"

    def __init__(
        self,
        connected: socket.socket,
        account: Account,
        closer: Closer,
        do: Callable[["Connection", Request], Done],
        describe: Callable[[], bytes],
        on_end: Callable[["Connection", RingpassError | None], None],
    ) -> None:
        found = credentials(connected)
        self.pid, self.uid = found.pid, found.uid
        self.since = time.time()
        self._socket = connected
        self._do = do
        self._describe = describe
        self._on_end = on_end
        self._claim = Claim(account, self._serve)
        self._closer = closer
        self._waiting: Packet | None = None
        """A request that is to be done."""
        self._unsent: Message | None = None
        self._changed = False
        """Whether CHANGED is to be sent."""
        self._closed = False
        connected.setblocking(False)
        asyncio.get_running_loop().add_reader(connected, self._hear)

    @property
    def account(self) -> Account:
        """Who pays for its requests."""
        return self._claim.account

    @account.setter
    def account(self, account: Account) -> None:
        self._claim.account = account

    def fileno(self) -> int:
        """Return the descriptor of its socket."""
        return self._socket.fileno()

    def changed(self) -> None:
        """Tell the QEMU what the port is like now, as soon as it listens."""
        self._changed = True
        self._flush()

    def gone(self) -> bool:
        """Return whether the other end has hung up."""
        return hung_up(self._socket)

    def close(self) -> None:
        """Disconnect. A second close does nothing."""
        if self._closed:
            return
        self._closed = True
        self._claim.withdraw()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.remove_writer(self._socket)
        if self._waiting is not None:
            self._close_all(self._waiting.fds)
        self._closer.hang_up(self._socket)

    def _hear(self) -> None:
        try:
            packet = receive_packet(self._socket, MAX_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            log.info("event=netdev-failed pid=%d why=%r", self.pid, error.strerror)
            packet = None
        if packet is None:
            self._on_end(self, None)
        elif packet.fds and self._closer.full:
            self._close_all(packet.fds)
            self._on_end(self, _too_many())
        else:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._waiting = packet
            self._claim.wait()

    def _serve(self) -> bool:
        """Answer the request that waits, all of it."""
        packet, self._waiting = self._waiting, None
        assert packet is not None
        nonsense: Nonsense | None = None
        try:
            self._unsent = self._answer(packet)
        except Nonsense as error:
            nonsense = error
            self._send(refusal(error.op, error.number, error))
        finally:
            self._close_all(packet.fds)
            self._flush()
        if nonsense is not None:
            self._on_end(self, nonsense)
        return False

    def _answer(self, packet: Packet) -> Message:
        """Return the answer to a request. Raises Nonsense."""
        request = parse(packet)
        op = _OPS[type(request.body)]
        try:
            return answer(op, request.number, self._do(self, request))
        except Nonsense as error:
            error.op, error.number = op, request.number
            raise
        except RingpassError as error:
            log.info("event=netdev-refused pid=%d op=%s why=%r", self.pid, op.name, error.why)
            return refusal(op, request.number, error)

    def _flush(self) -> None:
        """Send what is to be sent, as far as there is room; listen when that is all."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        while self._unsent is not None or self._changed:
            message = self._unsent or answer(Op.CHANGED, 0, Done(self._describe()))
            if not self._send(message):
                loop.remove_reader(self._socket)
                loop.add_writer(self._socket, self._flush)
                return
            if self._unsent is None:
                self._changed = False
            self._unsent = None
        loop.remove_writer(self._socket)
        if self._waiting is None:
            loop.add_reader(self._socket, self._hear)

    def _send(self, message: Message) -> bool:
        """Send a message; return whether there was room. Who is gone is noticed elsewhere."""
        rights = array.array("i", message.fds)
        controls = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if message.fds else []
        try:
            self._socket.sendmsg([message.data], controls, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError as error:
            log.info("event=netdev-failed pid=%d why=%r", self.pid, error.strerror)
        return True

    def _close_all(self, fds: list[int]) -> None:
        """Close those descriptors of a request that nobody took out of it."""
        while fds:
            self._closer.close(fds.pop())


def _too_many() -> RingpassError:
    return RingpassError(
        "a QEMU is put out",
        "it sends descriptors faster than they can be closed",
        "connect nothing but QEMU's -netdev ringpass",
    )
