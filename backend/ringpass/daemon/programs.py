# SPDX-License-Identifier: BSD-2-Clause
"""What programs have open: the device of netmap in the daemon."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from ringpass import config
from ringpass.daemon.ports import interface_status, user_status
from ringpass.dataplane import DataPlane, FrontEndKind, WorkerId
from ringpass.keeper.entries import Entries
from ringpass.netmap.call import Device
from ringpass.netmap.nics import Nics
from ringpass.netmap.port import Port
from ringpass.netmap.ports import Ports
from ringpass.netmap.regions import Regions
from ringpass.netmap.server import FILE_NAME, Server
from ringpass.netmap.switches import Switches
from ringpass.observe.counters import RingCounters
from ringpass.observe.status import PortState, PortStatus, RegionStatus, traffic
from ringpass.sockets import Access

log = logging.getLogger(__name__)

#: Returns the counters of the rings with these records.
RingsOf = Callable[[Iterable[int]], Iterable[RingCounters]]


class Programs:
    """The ports that programs open, their memory, and the socket that they come to."""

    def __init__(
        self,
        dataplane: DataPlane,
        switches: Switches,
        runtime_dir: Path,
        place: Callable[[int | None], WorkerId],
        nics: Nics | None = None,
        entries: Entries | None = None,
    ) -> None:
        self.regions = Regions(dataplane, entries)
        self.ports = Ports(dataplane, switches, self.regions, place, nics)
        self.path = runtime_dir / FILE_NAME
        self.reserved: dict[str, config.Port] = {}
        """What the configuration says of ports, by name."""
        self._dataplane = dataplane
        self.device = Device(dataplane, switches, self.regions, self.ports)
        self._server: Server | None = None
        self._broken: set[str] = set()

    def open(self, access: Access) -> None:
        """Let programs come. Raises RingpassError if the socket's path cannot be had."""
        server = Server(self.path, access, self.device)
        server.open()
        self._server = server

    def set_access(self, access: Access) -> None:
        """Change who may connect."""
        if self._server is not None:
            self._server.set_access(access)

    def close(self) -> None:
        """End all opens and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def reserve(self, name: str, wanted: config.Port) -> None:
        """Let the port `name` be as the configuration says. Raises RingpassError."""
        self.ports.reserve(name, wanted)
        self.reserved[name] = wanted

    def unreserve(self, name: str) -> None:
        """Forget what the configuration said of the port `name`."""
        self.ports.unreserve(name)
        del self.reserved[name]

    def live(self) -> list[Port]:
        """Return the ports that programs have open, and the interfaces that they attached."""
        return [
            port
            for port in self.ports
            if (port.front_end is FrontEndKind.RINGS and not port.guest)
            or port.attached is not None
        ]

    def find(self, name: str) -> Port | None:
        """Return the port `name` that a program has open, monitors included."""
        return next((port for port in self.live() if port.name == name), None)

    def repair(self, port: Port) -> bool:
        """Take a port back into service; return whether it was broken."""
        broken = self._dataplane.port_status(port.id).broken is not None
        self._dataplane.repair_port(port.id)
        return broken

    def note_broken(self) -> None:
        """Look which ports the data plane stopped."""
        broken = {}
        for port in self.live():
            if (why := self._dataplane.port_status(port.id).broken) is not None:
                broken[port.name] = why
        for name in broken.keys() - self._broken:
            log.warning("event=port-broken port=%s why=%r", name, broken[name])
        self._broken = set(broken)

    def status(self, counters: RingsOf) -> list[PortStatus]:
        """Return the ports that are open, and those that the configuration tells of."""
        found = [self._status(port, counters) for port in self.live()]
        present = {status.name for status in found}
        found += [self._idle(name) for name in self.reserved if name not in present]
        return found

    def region_status(self) -> list[RegionStatus]:
        """Return the regions."""
        found = []
        for region in self.regions:
            pools = self.regions.pools(region)
            found.append(
                RegionStatus(
                    region.id,
                    region.name,
                    region.configured,
                    pools.size,
                    pools.buffers.size,
                    pools.buffers.used,
                    pools.buffers.total,
                    pools.rings.used,
                    pools.rings.total,
                    [port.name for port in self.live() if port.region is region],
                )
            )
        return found

    def _status(self, port: Port, counters: RingsOf) -> PortStatus:
        status = self._dataplane.port_status(port.id)
        state: PortState = "up" if port.registrations or port.attached else "waiting"
        settings = self.reserved.get(port.name)
        kind = "monitor" if port.is_monitor else "nic" if port.attached else "netmap"
        taken = port.opened or port.attached
        return PortStatus(
            name=port.name,
            kind=kind,
            state="broken" if status.broken is not None else state,
            reason=status.broken or "",
            path=str(self.path),
            queues=len(status.tx_records),
            mtu=0 if settings is None else settings.mtu,
            tx=traffic(counters(status.tx_records)),
            rx=traffic(counters(status.rx_records)),
            ephemeral=settings is None,
            region=0 if port.region is None else port.region.id,
            users=[user_status(registration) for registration in port.registrations],
            interface=None if taken is None else interface_status(taken),
        )

    def _idle(self, name: str) -> PortStatus:
        settings = self.reserved[name]
        return PortStatus(
            name=name,
            kind="netmap",
            state="waiting",
            path=str(self.path),
            queues=settings.queues,
            mtu=settings.mtu,
            tx=traffic([]),
            rx=traffic([]),
        )
