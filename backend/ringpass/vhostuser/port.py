# SPDX-License-Identifier: BSD-2-Clause
"""A vhost-user port: its endpoint, its front ends of the moment, and what became of others."""

import logging
import socket
import time
from pathlib import Path

from ringpass.errors import RingpassError
from ringpass.history import History
from ringpass.listener import Listener
from ringpass.sockets import Access, peer_pid
from ringpass.vhostuser.attachment import Plane
from ringpass.vhostuser.device import Device
from ringpass.vhostuser.endpoint import Connector
from ringpass.vhostuser.frontend import FrontEnd, told
from ringpass.vhostuser.session import Session

log = logging.getLogger(__name__)

#: Seconds that a port lets no front end come after one that left, or was turned away; and after
#: one that broke the rules. So that a hostile one costs, and logs, little.
PAUSE_S = 0.01
PENALTY_S = 0.1


class VhostUserPort:
    """The control side of a port whose rings are virtqueues. It lives in an event loop.

    One front end holds the port: what it says of memory and rings is done at once. A second one may
    be connected, as it is while a guest migrates; what it says is remembered.

                  one comes                    another comes
        nobody -------------> one: it holds ------------------> a holder and a standby <--+
           ^                    |      ^                          |         |             |
           +--------------------+      +--------------------------+         +-------------+
                it goes                 either goes, the other one            handover: no ring
                                        holds                                 of the holder's should
                                                                              run, one of the
                                                                              standby's should

    A handover makes the holder the standby. So it may take the port back if the guest returns, and
    keeps it if its own guest only rebooted, or its migration failed, before the standby started.
    """

    def __init__(
        self, name: str, device: Device, plane: Plane, mode: str, path: Path, access: Access
    ) -> None:
        self.name = name
        self.device = device
        self.path = path
        self.history = History()
        self.front_end: FrontEnd | None = None
        """The one that holds the port."""
        self.standby: FrontEnd | None = None
        self._stopped_at: float | None = None
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
        """Disconnect the front ends and let no other one come."""
        self._endpoint.close()
        for front_end in self._front_ends():
            front_end.close()
        self.front_end = self.standby = None

    def set_mtu(self, mtu: int) -> None:
        """Change what drivers are told that ask for the MTU from now on."""
        self.device = self.device._replace(mtu=mtu)
        for front_end in self._front_ends():
            front_end.session.device = self.device

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
            self.front_end.session.attachment.repair()
        self.note_broken()
        return True

    def note_broken(self) -> None:
        """Look whether the data plane stopped the port; remember why, and show it to the guest."""
        broken = self._plane.broken()
        if broken is not None and broken != self._broken:
            self.history.record(broken)
            log.warning("event=port-broken port=%s why=%r", self.name, broken)
        if (broken is None) != (self._broken is None) and self.front_end is not None:
            self.front_end.session.tell_link()
        self._broken = broken

    def _front_ends(self) -> list[FrontEnd]:
        return [each for each in (self.front_end, self.standby) if each is not None]

    def _connected(self, connected: socket.socket) -> None:
        for present in self._front_ends():
            if present in self._front_ends() and present.gone():
                self._ended(present, None)
        if self.standby is not None:
            self._refuse(connected)
            return
        standby = self.front_end is not None
        session = Session(self.device, self._plane, standby=standby)
        front_end = FrontEnd(
            connected, self._endpoint.closer, session, self._consider_handover, self._ended
        )
        if standby:
            self.standby, self._stopped_at = front_end, None
        else:
            self.front_end = front_end
        self.history.sessions += 1
        what = "standby" if standby else "front-end"
        log.info("event=%s-connected port=%s pid=%d", what, self.name, front_end.pid)

    def _refuse(self, connected: socket.socket) -> None:
        self.history.refused += 1
        present = " and ".join(str(each.pid) for each in self._front_ends())
        log.warning(
            "event=front-end-refused port=%s pid=%d why=%r",
            self.name,
            peer_pid(connected),
            f"processes {present} are connected",
        )
        connected.close()
        self._endpoint.resume(PAUSE_S)

    def _consider_handover(self) -> None:
        """Hand the port over if the holder's guest stopped, and the standby's is to run."""
        holder, standby = self.front_end, self.standby
        if holder is None or standby is None:
            return
        if holder.session.attachment.wants_port:
            self._stopped_at = None
            return
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()
        if not standby.session.attachment.wants_port:
            return
        holder.session.attachment.leave_port()
        self.front_end, self.standby = standby, holder
        if self._give_port():
            self.history.handovers += 1
            self.history.pause_s = time.monotonic() - self._stopped_at
            log.info(
                "event=handed-over port=%s from=%d to=%d pause_ms=%.1f",
                self.name,
                holder.pid,
                standby.pid,
                self.history.pause_s * 1000,
            )
        self._stopped_at = None

    def _give_port(self) -> bool:
        """Let the front end hold the port. One that cannot, for what it described, is ended."""
        assert self.front_end is not None
        try:
            self.front_end.session.attachment.take_port()
        except RingpassError as error:
            self._ended(self.front_end, told(error))
            return False
        return True

    def _ended(self, front_end: FrontEnd, reason: str | None) -> None:
        self.note_broken()
        front_end.close()
        self.note_broken()
        self._log_end(front_end, reason)
        if front_end is self.standby:
            self.standby = None
        else:
            self.front_end, self.standby = self.standby, None
            if self.front_end is not None:
                log.info("event=standby-holds port=%s pid=%d", self.name, self.front_end.pid)
                self._give_port()
        if self.front_end is None or isinstance(self._endpoint, Listener):
            self._endpoint.resume(PAUSE_S if reason is None else PENALTY_S)

    def _log_end(self, front_end: FrontEnd, reason: str | None) -> None:
        if reason is None:
            log.info("event=front-end-gone port=%s pid=%d", self.name, front_end.pid)
            return
        self.history.violations += 1
        self.history.record(reason)
        log.warning("event=session-closed port=%s pid=%d why=%r", self.name, front_end.pid, reason)
