# SPDX-License-Identifier: BSD-2-Clause
"""What is on the user's side of a port: virtual machines, or an interface of the host."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from msgspec import structs

from ringpass.dataplane import DataPlane, PortId
from ringpass.history import History
from ringpass.netmap.nics import Taken
from ringpass.netmap.port import Registration
from ringpass.nic.interface import Interface
from ringpass.nic.nic import Nic
from ringpass.nic.polling import Polling
from ringpass.observe.status import GuestStatus, InterfaceStatus, PortStatus, UserStatus
from ringpass.passthrough.port import PassthroughPort
from ringpass.sockets import Access
from ringpass.vhostuser.frontend import FrontEnd


class Control(Protocol):
    """The control side of a port. All of it happens in the event loop's thread."""

    front_end: FrontEnd | None
    standby: FrontEnd | None
    history: History
    path: Path

    def open(self) -> None:
        """Take the port into service. Raises RingpassError; nothing has changed then."""

    def close(self) -> None:
        """Let go of all that is on the user's side."""

    def set_mtu(self, mtu: int) -> None:
        """Tell the user's side of another MTU."""

    def set_access(self, access: Access) -> None:
        """Change who may connect."""

    def note_broken(self) -> None:
        """Look whether the data plane stopped the port."""

    def repair(self) -> bool:
        """Take a broken port back into service; return whether it was broken."""


class HostControl:
    """The control side of a port that has an interface of the host: a NIC, or one of our own."""

    front_end: FrontEnd | None = None
    standby: FrontEnd | None = None
    path = Path()

    def __init__(
        self, plane: DataPlane, port: PortId, taken: Nic | Interface, polling: Polling
    ) -> None:
        self.history = History()
        self._plane = plane
        self._port = port
        self._taken = taken
        self._polling = polling

    def open(self) -> None:
        """Take the interface, or make it."""
        self._taken.open()

    def close(self) -> None:
        """Give the interface back, or remove it."""
        self._polling.stop()
        self._taken.close()

    def set_mtu(self, mtu: int) -> None:
        """Tell the interface."""
        self._taken.set_mtu(mtu)

    def set_access(self, access: Access) -> None:
        """Nobody connects to an interface."""

    def set_polling(self, cpus: Sequence[int]) -> None:
        """Let these CPUs move what comes in, and do nothing else."""
        self._polling.set(cpus)

    def look(self) -> None:
        """Follow what became of the interface."""
        self._taken.look()

    def note_broken(self) -> None:
        """Remember why the data plane stopped the port."""
        broken = self._plane.port_status(self._port).broken
        if broken is not None:
            self.history.record(broken)

    def repair(self) -> bool:
        """Take the interface anew."""
        broken = self._plane.port_status(self._port).broken is not None
        if broken:
            self._taken.close()
            self._plane.repair_port(self._port)
            self._taken.open()
        return broken

    def status(self) -> InterfaceStatus:
        """Return what is to be told of the interface."""
        taken = self._taken
        return InterfaceStatus(
            taken.interface, taken.mode, taken.fell_back, taken.problem, self._polling.cpus
        )


class GuestControl(PassthroughPort):
    """The control side of a port that a guest maps."""

    front_end: FrontEnd | None = None
    standby: FrontEnd | None = None

    def complete(self, found: PortStatus) -> PortStatus:
        """Return the status `found` with what there is to tell of a guest's port alone."""
        region = self.port.region
        return structs.replace(
            found,
            guest=self._guest(),
            vectors=self.vectors,
            netdev_path=str(self.netdev_path),
            region=0 if region is None else region.id,
            users=[user_status(registration) for registration in self.port.registrations],
        )

    def _guest(self) -> GuestStatus | None:
        seat = self.seat
        if seat is None:
            return None
        return GuestStatus(
            pid=seat.transport.pid,
            uid=seat.transport.uid,
            since=seat.transport.since,
            way=seat.transport.way,
            peer=seat.peer,
            driver=seat.guest.generation is not None,
            opens=seat.guest.opens,
            extra_rings=seat.wires.extra,
        )


def user_status(registration: Registration) -> UserStatus:
    """Return what is to be told of rings that are open."""
    where = registration.selection
    return UserStatus(
        registration.peer.pid,
        registration.peer.uid,
        registration.since,
        registration.mode.name,
        [flag.name for flag in registration.flags if flag.name],
        where.tx.number + where.host_tx.number,
        where.rx.number + where.host_rx.number,
    )


def interface_status(taken: Taken) -> InterfaceStatus:
    """Return what is to be told of an interface that a program took."""
    return InterfaceStatus(taken.interface, taken.mode, taken.fell_back, taken.problem, taken.cpus)
