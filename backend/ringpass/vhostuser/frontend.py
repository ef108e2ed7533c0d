# SPDX-License-Identifier: BSD-2-Clause
"""A connected front end: the messages of its socket, fed to its session."""

import asyncio
import logging
import select
import socket
import time
from collections.abc import Callable

from ringpass.descriptors import Closer
from ringpass.errors import RingpassError
from ringpass.sockets import peer_pid
from ringpass.vhostuser.connection import Connection, Disconnected, Message
from ringpass.vhostuser.messages import ProtocolError
from ringpass.vhostuser.session import Session
from ringpass.vhostuser.sharing import keeps_to_itself

log = logging.getLogger(__name__)

#: Messages of one front end that are served before the others have their turn.
MESSAGES_A_TURN = 32


class FrontEnd:
    """A connected front end, in the event loop.

    `closer` closes what it sends. `on_message` is called after each message; `on_end` when that is
    over, with the reason if it is an error. Whoever is called may close this.
    """

    def __init__(
        self,
        connected: socket.socket,
        closer: Closer,
        session: Session,
        on_message: Callable[[], None],
        on_end: Callable[["FrontEnd", str | None], None],
    ) -> None:
        self.session = session
        self.pid = peer_pid(connected)
        self.since = time.time()
        self.memory_private = False
        """Whether the front end shares none of the guest's memory, though it sent its files."""
        self._connection: Connection | None = Connection(connected, closer)
        self._on_message = on_message
        self._on_end = on_end
        asyncio.get_running_loop().add_reader(self._connection, self._serve)

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            asyncio.get_running_loop().remove_reader(self._connection)
            self._connection.close()
            self._connection = None
            self.session.close()

    def gone(self) -> bool:
        """Return whether the other end has hung up; what it said before may still be unread."""
        poll = select.poll()
        assert self._connection is not None
        poll.register(self._connection, select.POLLRDHUP)
        return bool(poll.poll(0))

    def _serve(self) -> None:
        reason = None
        try:
            for _ in range(MESSAGES_A_TURN):
                if self._connection is None:
                    return
                message = self._connection.receive()
                if message is None:
                    return
                answer = self._handle(message)
                if answer is not None:
                    self._connection.send(answer)
                self._on_message()
            return
        except Disconnected:
            pass
        except RingpassError as error:
            reason = told(error)
        except Exception:
            # A bug of ours, met by this front end: the other ports go on.
            log.exception("event=session-crashed pid=%d", self.pid)
            reason = "an internal error, see the daemon's log"
        self._on_end(self, reason)

    def _handle(self, message: Message) -> bytes | None:
        described = self.session.memory
        answer = self.session.handle(message)
        if self.session.memory != described:
            self.memory_private = keeps_to_itself(self.pid, self.session.memory_fds)
        return answer


def told(error: RingpassError) -> str:
    """Return why a session ends, in a line."""
    return error.why if isinstance(error, ProtocolError) else f"{error.what}: {error.why}"
