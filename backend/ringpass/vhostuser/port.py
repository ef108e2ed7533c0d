# SPDX-License-Identifier: BSD-2-Clause
"""A vhost-user port: its endpoint, its front end of the moment, and what became of earlier ones."""

import asyncio
import logging
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ringpass.errors import RingpassError
from ringpass.vhostuser.connection import Connection, Disconnected, Message
from ringpass.vhostuser.device import Device
from ringpass.vhostuser.endpoint import Access, Connector, Listener, peer_pid
from ringpass.vhostuser.messages import ProtocolError
from ringpass.vhostuser.session import Plane, Session
from ringpass.vhostuser.sharing import keeps_to_itself

log = logging.getLogger(__name__)

#: Messages of one front end that are served before the others have their turn.
MESSAGES_A_TURN = 32
#: Seconds that a port lets no front end come after one that left, or was turned away; and after
#: one that broke the rules. So that a hostile one costs, and logs, little.
PAUSE_S = 0.01
PENALTY_S = 0.1


@dataclass
class History:
    """What happened on a port since it was made."""

    sessions: int = 0
    """Front ends that connected, the present one included."""
    refused: int = 0
    """Front ends that were turned away because another one was there."""
    violations: int = 0
    """Sessions that we closed because of what the front end did."""
    last_error: str = ""
    last_error_at: float = 0.0
    """Seconds since the epoch."""

    def record(self, error: str) -> None:
        """Remember `error` as the last one."""
        self.last_error, self.last_error_at = error, time.time()


class FrontEnd:
    """A connected front end: feeds the messages of its socket to its session, in the event loop.

    `on_end` is called when that is over, with the reason if it is an error; it closes this.
    """

    def __init__(
        self, connected: socket.socket, session: Session, on_end: Callable[[str | None], None]
    ) -> None:
        self.session = session
        self.pid = peer_pid(connected)
        self.since = time.time()
        self.memory_private = False
        """Whether the front end shares none of the guest's memory, though it sent its files."""
        self._connection = Connection(connected)
        self._on_end = on_end
        asyncio.get_running_loop().add_reader(self._connection, self._serve)

    def close(self) -> None:
        """Disconnect."""
        asyncio.get_running_loop().remove_reader(self._connection)
        self._connection.close()
        self.session.close()

    def gone(self) -> bool:
        """Return whether the other end has hung up; what it said before may still be unread."""
        poll = select.poll()
        poll.register(self._connection, select.POLLRDHUP)
        return bool(poll.poll(0))

    def _serve(self) -> None:
        reason = None
        try:
            for _ in range(MESSAGES_A_TURN):
                message = self._connection.receive()
                if message is None:
                    return
                answer = self._handle(message)
                if answer is not None:
                    self._connection.send(answer)
            return
        except Disconnected:
            pass
        except RingpassError as error:
            reason = error.why if isinstance(error, ProtocolError) else f"{error.what}: {error.why}"
        except Exception:
            # A bug of ours, met by this front end: the other ports go on.
            log.exception("event=session-crashed pid=%d", self.pid)
            reason = "an internal error, see the daemon's log"
        self._on_end(reason)

    def _handle(self, message: Message) -> bytes | None:
        described = self.session.memory
        answer = self.session.handle(message)
        if self.session.memory != described:
            self.memory_private = keeps_to_itself(self.pid, self.session.memory_fds)
        return answer


class VhostUserPort:
    """The control side of a port whose rings are virtqueues. It lives in an event loop."""

    def __init__(
        self, name: str, device: Device, plane: Plane, mode: str, path: Path, access: Access
    ) -> None:
        self.name = name
        self.device = device
        self.path = path
        self.history = History()
        self.front_end: FrontEnd | None = None
        self._plane = plane
        self._endpoint: Listener | Connector = (
            Listener(path, access, self._connected)
            if mode == "server"
            else Connector(path, self._connected)
        )
        self._broken: str | None = None

    def open(self) -> None:
        """Let front ends come. Raises RingpassError if the socket's path cannot be had."""
        self._endpoint.open()

    def close(self) -> None:
        """Disconnect the front end and let no other one come."""
        self._endpoint.close()
        if self.front_end is not None:
            self.front_end.close()
            self.front_end = None

    def set_mtu(self, mtu: int) -> None:
        """Change what drivers are told that ask for the MTU from now on."""
        self.device = self.device._replace(mtu=mtu)
        if self.front_end is not None:
            self.front_end.session.device = self.device

    def set_access(self, access: Access) -> None:
        """Change who may connect."""
        if isinstance(self._endpoint, Listener):
            self._endpoint.set_access(access)

    def repair(self) -> bool:
        """Take the port back into service; return whether it was broken."""
        if self._plane.broken() is None:
            return False
        if self.front_end is None:
            self._plane.repair()
        else:
            self.front_end.session.repair()
        self.note_broken()
        return True

    def note_broken(self) -> None:
        """Remember why the data plane stopped the port, if it did so since the last call."""
        broken = self._plane.broken()
        if broken is not None and broken != self._broken:
            self.history.record(broken)
            log.warning("event=port-broken port=%s why=%r", self.name, broken)
        self._broken = broken

    def _connected(self, connected: socket.socket) -> None:
        if self.front_end is not None and self.front_end.gone():
            self._ended(None)
        if self.front_end is not None:
            self.history.refused += 1
            log.warning(
                "event=front-end-refused port=%s pid=%d why=%r",
                self.name,
                peer_pid(connected),
                f"process {self.front_end.pid} is connected",
            )
            connected.close()
            self._endpoint.resume(PAUSE_S)
            return
        session = Session(self.device, self._plane)
        self.front_end = FrontEnd(connected, session, self._ended)
        self.history.sessions += 1
        log.info("event=front-end-connected port=%s pid=%d", self.name, self.front_end.pid)

    def _ended(self, reason: str | None) -> None:
        assert self.front_end is not None
        pid = self.front_end.pid
        self.note_broken()
        self.front_end.close()
        self.front_end = None
        self.note_broken()
        if reason is None:
            log.info("event=front-end-gone port=%s pid=%d", self.name, pid)
            self._endpoint.resume(PAUSE_S)
            return
        self.history.violations += 1
        self.history.record(reason)
        log.warning("event=session-closed port=%s pid=%d why=%r", self.name, pid, reason)
        self._endpoint.resume(PENALTY_S)
