# SPDX-License-Identifier: BSD-2-Clause
"""Names to ports.

A port that a program names is made if it is not there, and goes with its last user. The ends of a
pipe are made and removed together, and each open of a monitor is a port of its own. Ports of the
configuration that programs open are no exception: the configuration only says what they are like.
"""

import errno
from collections.abc import Callable, Iterator

from msgspec import structs

from ringpass import config
from ringpass.dataplane import DataPlane, FrontEndKind, Full, WorkerId
from ringpass.errors import RingpassError
from ringpass.netmap import names, quotas
from ringpass.netmap.abi import Flag, Mode, Register
from ringpass.netmap.make import Maker, Wanted
from ringpass.netmap.names import PortName
from ringpass.netmap.nics import Nics
from ringpass.netmap.peer import Owner, Peer
from ringpass.netmap.port import Group, Port, Registration
from ringpass.netmap.regions import SEATS, Region, Regions
from ringpass.netmap.rings import Geometry
from ringpass.netmap.switches import Switches

#: Pipes of one name that there are memory for: guests that are joined in a row share a region.
_PIPES = 4
_MONITOR = Flag.MONITOR_TX | Flag.MONITOR_RX | Flag.ZCOPY_MON


class Ports:
    """All ports: those of the configuration, and those that programs made."""

    def __init__(
        self,
        plane: DataPlane,
        switches: Switches,
        regions: Regions,
        place: Callable[[int | None], WorkerId],
        nics: Nics | None = None,
    ) -> None:
        """`place` returns a worker by its number; None: the one with the fewest ports."""
        self._plane = plane
        self._switches = switches
        self._regions = regions
        self._nics = nics
        self._make = Maker(plane, switches, regions, place)
        self._named: dict[str, Port] = {}
        self._unnamed: list[Port] = []
        self._reserved: dict[str, config.Port] = {}

    def __iter__(self) -> Iterator[Port]:
        """Yield all ports, monitors and null ports included."""
        return iter([*self._named.values(), *self._unnamed])

    def get(self, name: str) -> Port | None:
        """Return the port `name`, if it is there."""
        return self._named.get(name)

    def acquire(self, name: str, request: Register, peer: Peer, region: Region | None) -> Port:
        """Return the port that a registration names, made if need be; `release` it.

        `region` is where it is to be, None: where such a port is by default. Raises RingpassError.
        """
        if request.mode == Mode.NULL:
            port = self._null(request, peer, region)
        elif request.flags & _MONITOR:
            port = self._monitor(name, request, peer, region)
        else:
            port = self._named.get(name) or self._open(name, request, peer, region)
        port.holds += 1
        try:
            self._check_usable(port, peer)
        except RingpassError:
            self.release(port)
            raise
        return port

    def release(self, port: Port) -> None:
        """Give back what `acquire` returned."""
        port.holds -= 1
        self._settle(port.group)

    def register(self, registration: Registration) -> None:
        """Note that a program has rings of a port; the first opens an interface."""
        port = registration.port
        if port.host is not None and not port.registrations:
            port.opened = self._need_nics(port.name).open(port.name, port.id, port.host.id)
        port.registrations.append(registration)

    def unregister(self, registration: Registration) -> None:
        """Note that it has them no more."""
        port = registration.port
        port.registrations.remove(registration)
        if port.opened is not None and not port.registrations:
            port.opened.close()
            port.opened = None

    def reserve(self, name: str, wanted: config.Port) -> None:
        """Let the port `name` be as the configuration says when a program opens it.

        One that is open keeps its rings, its memory and its owner. Raises RingpassError.
        """
        names.parse(name)
        port = self._named.get(name)
        if port is not None and port.front_end is not FrontEndKind.RINGS:
            raise busy(name, "it is there already, and not for programs", "choose another name")
        self._reserved[name] = wanted
        if port is not None:
            self._plane.set_port_full(port.id, Full[wanted.full.upper()], wanted.hold_us)
            self._plane.set_port_mtu(port.id, wanted.mtu)

    def unreserve(self, name: str) -> None:
        """Let the port `name` be like any other one; programs that have it keep it."""
        del self._reserved[name]

    def adopt(self, port: Port) -> None:
        """Enter a port that others made and will `disown`. Raises RingpassError."""
        self._check_free(port.name)
        port.static = True
        self._enter(port)

    def disown(self, name: str) -> None:
        """Forget a port that others made, before they remove it."""
        del self._named[name]

    def make_free(self, name: str) -> None:
        """Raise RingpassError if there is a port `name`; a pipe's end that nobody has open goes."""
        port = self._named.get(name)
        if port is None:
            return
        idle = not port.holds and not port.static
        if idle and port.peer is not None and port.peer.front_end is FrontEndKind.VHOST:
            self._remove_end(port)
        else:
            self._check_free(name)

    def _check_free(self, name: str) -> None:
        if name in self._named:
            raise busy(
                name, "a program has it open", "close it first; ringpass port show tells who"
            )

    def add_machine(self, name: str, wanted: config.Port) -> Port:
        """Make the end `name` of a pipe that of a virtual machine. Raises RingpassError."""
        parsed = names.parse(name)
        other = self._named.get(parsed.peer)
        self.make_free(name)
        machines = frozenset({name})
        if other is not None:
            port = self._enter(self._make.missing_end(parsed, wanted, other))
        else:
            what = Wanted(
                Geometry(wanted.queues, wanted.queues),
                self._family_region(parsed.parent, None),
                None,
                wanted,
            )
            port = self._enter_pipe(self._make.pipe(parsed, what, machines))
        port.static = True
        return port

    def remove_machine(self, name: str) -> None:
        """Remove what `add_machine` made; the other end goes on alone, if somebody has it."""
        port = self._named[name]
        port.static = False
        if port.group.needed:
            self._remove_end(port)
        else:
            self._settle(port.group)

    def _remove_end(self, port: Port) -> None:
        """Remove one end of a pipe, whose other one stays."""
        del self._named[port.name]
        port.group.ports.remove(port)
        self._make.remove(port)

    def add_guest(self, name: str, wanted: config.Port) -> Port:
        """Make a port whose rings a guest maps, of a switch or the end of a pipe.

        The other end of a pipe is made, too: a second guest gets it by this method, or programs
        open it. Raises RingpassError.
        """
        parsed = names.parse(name)
        geometry = Geometry(wanted.queues, wanted.queues, wanted.slots, wanted.slots)
        port = self._named.get(name)
        if port is None or port.holds or port.peer is None or not port.peer.in_guests_memory:
            self.make_free(name)
            port = self._make_guest(parsed, geometry, wanted)
        elif port.geometry != geometry:
            raise busy(name, f"{parsed.peer} has other rings or slots", "let both be alike")
        port.static = port.guest = True
        port.owner = name
        return port

    def remove_guest(self, name: str) -> None:
        """Remove what `add_guest` made; the other end of a pipe stays while it is needed."""
        port = self._named[name]
        port.static = port.guest = False
        port.owner = None
        self._settle(port.group)

    def _make_guest(self, parsed: PortName, geometry: Geometry, wanted: config.Port) -> Port:
        if parsed.kind == "pipe" and parsed.peer in self._named:
            why = f"{parsed.peer} is there, and not in memory that guests may map"
            raise busy(parsed.text, why, "close or remove that first")
        region = self._guest_region(parsed, wanted)
        self._regions.hold(region)
        try:
            what = Wanted(geometry, region, None, wanted)
            if parsed.kind == "pipe":
                return self._enter_pipe(self._make.pipe(parsed, what))
            return self._enter(self._make.vale(parsed, what))
        finally:
            self._regions.drop(region)

    def _guest_region(self, parsed: PortName, wanted: config.Port) -> Region:
        """Return the memory of a guest's port: what it names, or its family's, or its own."""
        if wanted.region is not None:
            return self._regions.named(wanted.region)
        family = parsed.parent or parsed.text
        for port in self._named.values():
            if port.family == family and port.region is not None and port.region.owner == family:
                return port.region
        return self._regions.make_for_guests(
            family, self._quota(parsed, wanted), SEATS if parsed.kind == "pipe" else 1
        )

    def _quota(self, parsed: PortName, wanted: config.Port) -> config.Region:
        """Return pools that hold a guest's port and all that the guest may have beside it.

        A ring that it opens comes with another one, as a rule: of the other end of its pipe.
        """
        rings = 2 * (wanted.queues + wanted.extra_rings)
        if parsed.kind == "pipe":
            rings = _PIPES * (rings + 2 * wanted.queues)
        private = self._regions.private
        return structs.replace(
            private,
            slots=max(private.slots, wanted.slots),
            rings=rings,
            buffers=rings * wanted.slots + wanted.extra_buffers,
        )

    def attach(self, name: str, *, host: bool, peer: Peer) -> Port:
        """Make an interface a port of a switch: `vale0:eth0`. Raises RingpassError."""
        what = f"cannot attach {name}"
        peer.check_privileged(what)
        parsed = names.parse(name)
        if parsed.kind != "vale":
            raise RingpassError(
                what, "it is no port of a switch", "write vale0:eth0", errno=errno.EINVAL
            )
        interface = name.partition(":")[2]
        if name in self._named or self._users_of(interface):
            raise busy(name, "the interface is in use", "close or detach it first")
        port = self._make.attached(parsed, interface, self._need_nics(interface), host=host)
        port.static = True
        return self._enter(port)

    def detach(self, name: str, peer: Peer) -> Port:
        """Give an attached interface back to the host; return its port. Raises RingpassError."""
        peer.check_privileged(f"cannot detach {name}")
        port = self.attached(name)
        assert port.attached is not None
        if port.attached.polling:
            raise busy(name, "CPUs poll it", "stop that first: vale-ctl -P")
        port.static = False
        self._settle(port.group)
        return port

    def attached(self, name: str) -> Port:
        """Return the port `name`, which `attach` made. Raises RingpassError (ENXIO, EINVAL)."""
        port = self._named.get(name)
        if port is None:
            raise RingpassError(
                f"there is no port {name}",
                "nothing of that name is attached",
                "ringpass port ls shows what there is",
                errno=errno.ENXIO,
            )
        if port.attached is None:
            raise invalid(name, "it was not attached so", "name an attached interface")
        return port

    def create_interface(self, name: str, geometry: Geometry, peer: Peer) -> None:
        """Make an interface of the host that persists. Raises RingpassError."""
        peer.check_privileged(f"cannot make interface {name}")
        if names.parse(name).kind != "interface" or name.startswith("vale"):
            raise invalid(name, "an interface's name does not begin with vale", "choose another")
        self._need_nics(name).create(name, geometry)

    def delete_interface(self, name: str, peer: Peer) -> None:
        """Remove an interface that `create_interface` made. Raises RingpassError."""
        peer.check_privileged(f"cannot remove interface {name}")
        if self._users_of(name):
            raise busy(name, "the interface is in use", "close or detach it first")
        self._need_nics(name).delete(name)

    def _open(self, name: str, request: Register, peer: Peer, region: Region | None) -> Port:
        """Make the port `name` for a program."""
        parsed = names.parse(name)
        reserved = self._reserved.get(name)
        owner = self._owner(parsed, peer, reserved)
        if region is None and reserved is not None and reserved.region is not None:
            region = self._regions.named(reserved.region)
        match parsed.kind:
            case "vale":
                quotas.check_switch(parsed.switch, self._switches, self, peer)
                region = region or self._family_region(name, owner)
                geometry = _geometry(Geometry(), request, reserved)
                return self._enter(
                    self._make.vale(parsed, Wanted(geometry, region, owner, reserved))
                )
            case "pipe":
                if request.mode not in (Mode.ALL_NIC, Mode.ONE_NIC):
                    raise invalid(name, "a pipe has no host rings", "leave ^ and * out of the name")
                if parsed.peer in self._named:
                    why = f"it was a virtual machine's, and {parsed.peer} is still there"
                    raise busy(name, why, "close that first, or name another pipe")
                region = self._family_region(parsed.parent, owner) or region
                geometry = _geometry(self._pipe_geometry(parsed), request, reserved)
                wanted = Wanted(geometry, region, owner, reserved)
                return self._enter_pipe(self._make.pipe(parsed, wanted))
            case "interface":
                peer.check_privileged(f"cannot take interface {name} away from its host")
                if any(user.attached for user in self._users_of(name)):
                    raise busy(name, "it is attached to a switch", "detach it first: vale-ctl -d")
                nics = self._need_nics(name)
                wanted = Wanted(nics.geometry(name), region, owner, reserved)
                return self._enter(self._make.nic(name, wanted))

    def _owner(self, parsed: PortName, peer: Peer, reserved: config.Port | None) -> Owner | None:
        """Return whose a new port is; a pipe of a guest's port is the guest's, whoever makes it."""
        parent = self._named.get(parsed.parent)
        if parent is not None and parent.guest:
            peer.check_owner(f"cannot make {parsed.text}", parent.owner)
            return parent.owner
        return peer.owner if reserved is None else None

    def _monitor(self, name: str, request: Register, peer: Peer, region: Region | None) -> Port:
        """Make a port that watches `name`, which must be open."""
        what = f"cannot watch {name}"
        parent = self._named.get(name)
        if parent is None or not (parent.registrations or parent.static):
            raise RingpassError(
                what,
                "no program has it open",
                "open it first; a monitor watches what another program does",
                errno=errno.EINVAL,
            )
        if parent.owner is None:
            peer.check_privileged(what)
        peer.check_owner(what, parent.owner)
        flags = Flag(request.flags) & _MONITOR
        if flags & Flag.ZCOPY_MON:
            if parent.region is None:
                raise RingpassError(
                    what,
                    "its frames are not in memory that can be shared",
                    "leave the flag z out: the frames are copied then",
                    errno=errno.EOPNOTSUPP,
                )
            region, flags = parent.region, _MONITOR
        geometry = _monitor_geometry(parent.geometry, request)
        made = self._make.monitor(parent, flags, Wanted(geometry, region, peer.owner))
        return self._enter_unnamed(made)

    def _null(self, request: Register, peer: Peer, region: Region | None) -> Port:
        """Make a port that throws frames away, whatever its program calls it."""
        if region is None:
            why = "a null port needs a region that is there"
            raise invalid("a null port", why, "add @NUMBER to its name")
        wanted = Wanted(Geometry().wanted(request), region, peer.owner)
        return self._enter_unnamed(self._make.null(wanted))

    def _enter(self, port: Port) -> Port:
        port.group.ports.append(port)
        self._named[port.name] = port
        return port

    def _enter_pipe(self, port: Port) -> Port:
        assert port.peer is not None
        self._enter(port.peer)
        return self._enter(port)

    def _enter_unnamed(self, port: Port) -> Port:
        port.group.ports.append(port)
        self._unnamed.append(port)
        return port

    def _settle(self, group: Group) -> None:
        """Remove the ports of `group` if nobody needs them any more."""
        if group.needed:
            return
        for port in group.ports:
            if self._named.get(port.name) is port:
                del self._named[port.name]
            elif port in self._unnamed:
                self._unnamed.remove(port)
        group.undo.close()

    def _family_region(self, name: str, owner: Owner | None) -> Region | None:
        """Return where the port `name`, or a pipe of it, of the same owner lives already.

        Names are anybody's to choose: who opens one must not get into another user's memory by it.
        """
        for port in self._named.values():
            if port.region is not None and port.family == name and port.owner == owner:
                return port.region
        return None

    def _pipe_geometry(self, parsed: PortName) -> Geometry:
        """Return what a pipe has by default: one ring each way, with its parent's slots."""
        parent = self._named.get(parsed.parent)
        if parent is None or parent.region is None:
            return Geometry()
        slots = parent.geometry.tx_slots, parent.geometry.rx_slots
        return Geometry(1, 1, *(slots if parsed.master else slots[::-1]))

    def _users_of(self, interface: str) -> list[Port]:
        return [port for port in self if interface and port.interface == interface]

    def _check_usable(self, port: Port, peer: Peer) -> None:
        peer.check_owner(f"cannot open port {port.name}", port.owner)
        if port.region is not None:
            peer.check_memory(f"cannot open port {port.name}", port.region.id)
        if port.guest and peer.owner != port.owner:
            raise busy(port.name, "a virtual machine maps it", "name another one")
        if port.front_end is FrontEndKind.VHOST:
            raise busy(port.name, "it is for a virtual machine", "name another one")
        if port.front_end is FrontEndKind.KERNEL:
            raise busy(port.name, "it is an interface, attached to the switch", "name another one")
        if any(user.attached for user in self._users_of(port.parent)):
            raise busy(port.name, f"{port.parent} is attached to a switch", "detach it first")

    def _need_nics(self, interface: str) -> Nics:
        if self._nics is None:
            raise RingpassError(
                f"there is no port {interface}",
                "this backend opens no interfaces of the host",
                "write vale0:NAME for a port of a switch",
                errno=errno.ENXIO,
            )
        return self._nics


def _geometry(default: Geometry, request: Register, reserved: config.Port | None) -> Geometry:
    """Return what a new port gets: what the configuration says, or what the program asks for."""
    if reserved is None:
        return default.wanted(request)
    return Geometry(reserved.queues, reserved.queues, reserved.slots, reserved.slots)


def _monitor_geometry(parent: Geometry, request: Register) -> Geometry:
    """Return the rings of a monitor: one to receive from for each pair of the watched port's."""
    rings = max(parent.tx_rings, parent.rx_rings)
    slots = max(parent.tx_slots, parent.rx_slots)
    return Geometry(1, rings, slots, slots).wanted(request)._replace(tx_rings=1, rx_rings=rings)


def busy(name: str, why: str, fix: str) -> RingpassError:
    """Return the error that the port `name` is in use."""
    return RingpassError(f"cannot use port {name}", why, fix, errno=errno.EBUSY)


def invalid(name: str, why: str, fix: str) -> RingpassError:
    """Return the error that `name` stands for nothing that can be opened so."""
    return RingpassError(f"{name} cannot be opened", why, fix, errno=errno.EINVAL)
