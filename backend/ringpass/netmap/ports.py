# SPDX-License-Identifier: BSD-2-Clause
"""Names to ports.

A port that a program names is made if it is not there, and goes with its last user. The ends of a
pipe are made and removed together, each open of a monitor is a port of its own, and what the
configuration made stays.
"""

import errno
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from ringpass.dataplane import FrontEndKind, PortId, SwitchId, WorkerId
from ringpass.errors import RingpassError
from ringpass.netmap import names
from ringpass.netmap.abi import Flag, Mode, Register
from ringpass.netmap.names import PortName
from ringpass.netmap.nics import Nics
from ringpass.netmap.peer import Peer
from ringpass.netmap.plane import NO_REGION, NO_SWITCH, Kind, Plane, PortSpec
from ringpass.netmap.port import Group, Port, Registration, Settings
from ringpass.netmap.regions import Region, Regions
from ringpass.netmap.rings import Geometry
from ringpass.netmap.switches import Switches

NO_WORKER = WorkerId(-1)
_MONITOR = Flag.MONITOR_TX | Flag.MONITOR_RX | Flag.ZCOPY_MON
_DEFAULT = Settings()
#: Buffers that a private region has for each one that stands in a ring of its first port: others,
#: such as pipes, and extra buffers are to find some, too.
_SPARE = 4


class Ports:
    """All ports: those of the configuration, and those that programs made."""

    def __init__(
        self,
        plane: Plane,
        switches: Switches,
        regions: Regions,
        place: Callable[[], WorkerId],
        nics: Nics | None = None,
    ) -> None:
        """`place` chooses the worker of a new port; NO_WORKER: programs sync it themselves."""
        self._plane = plane
        self._switches = switches
        self._regions = regions
        self._place = place
        self._nics = nics
        self._named: dict[str, Port] = {}
        self._unnamed: list[Port] = []
        self._numbers = itertools.count(1)

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
            port = self._make_null(name, request, peer, region)
        elif request.flags & _MONITOR:
            port = self._make_monitor(name, request, peer, region)
        else:
            port = self._named.get(name) or self._make(name, request, peer, region)
        self._check_usable(port, peer)
        port.holds += 1
        return port

    def release(self, port: Port) -> None:
        """Give back what `acquire` returned."""
        port.holds -= 1
        self._settle(port.group)

    def register(self, registration: Registration) -> None:
        """Note that a program has rings of a port; the first opens an interface."""
        port = registration.port
        if port.kind is Kind.LINK and port.peer is None and not port.registrations:
            assert self._nics is not None
            assert port.host is not None
            port.opened = self._nics.open(port.name, port.id, port.host.id)
        port.registrations.append(registration)

    def unregister(self, registration: Registration) -> None:
        """Note that it has them no more."""
        port = registration.port
        port.registrations.remove(registration)
        if port.opened is not None and not port.registrations:
            port.opened.close()
            port.opened = None

    def add_static(
        self, name: str, request: Register, region: Region | None, settings: Settings
    ) -> Port:
        """Make a port of the configuration that programs open. Raises RingpassError."""
        port = self._named.get(name)
        if port is None:
            port = self._make(name, request, None, region, settings)
        elif port.static or port.holds or port.region is None:
            raise _busy(name, "it is there already", "close it first")
        port.static, port.uid = True, None
        return port

    def add_virtual_machine(self, name: str, queues: int, settings: Settings) -> Port:
        """Make a port of the configuration whose front end is a virtual machine's.

        Of a switch, or one end of a pipe. Raises RingpassError.
        """
        parsed = names.parse(name)
        geometry = Geometry(queues, queues)
        if name in self._named and parsed.kind != "pipe":
            raise _busy(name, "a program has it", "close it first")
        if parsed.kind == "vale":
            port = self._make_vale(parsed, geometry, None, None, settings, FrontEndKind.VHOST)
        elif parsed.kind == "pipe":
            port = self._make_pipe_for_machine(parsed, geometry, settings)
        else:
            raise _invalid(name, "it is an interface of the host", "write SWITCH:PORT")
        port.static = True
        return port

    def adopt(self, name: str, port: PortId, kind: Kind, worker: WorkerId, queues: int) -> Port:
        """Enter a port that is none of a program's and of no switch, so that its name is taken."""
        if name in self._named:
            raise _busy(name, "a program has it", "close it first")
        geometry = Geometry(queues, queues)
        made = Port(name, port, kind, FrontEndKind.VHOST, geometry, worker, Group(), static=True)
        made.group.undo.callback(self._remove, made)
        return self._enter(made)

    def remove_static(self, name: str) -> None:
        """Remove a port of the configuration; one that programs have goes with the last of them.

        A virtual machine's port goes at once.
        """
        port = self._named[name]
        port.static = False
        if port.front_end is FrontEndKind.RINGS or not port.group.needed:
            self._settle(port.group)
            return
        # The other end of its pipe is in use: that one goes on alone.
        del self._named[name]
        port.group.ports.remove(port)
        self._remove(port)

    def attach(self, name: str, *, host: bool, peer: Peer | None = None) -> Port:
        """Make an interface a port of a switch: `vale0:eth0`. Raises RingpassError.

        `peer` is who asks; the configuration may do everything.
        """
        what = f"cannot attach {name}"
        if peer is not None:
            peer.check_privileged(what)
        parsed = names.parse(name)
        if parsed.kind != "vale":
            raise RingpassError(
                what, "it is no port of a switch", "write vale0:eth0", errno=errno.EINVAL
            )
        interface = name.partition(":")[2]
        users = [port for port in self if _interface(port) == interface]
        if name in self._named or users:
            raise _busy(name, "the interface is in use", "close or detach it first")
        nics = self._need_nics(interface)
        geometry = nics.geometry(interface)
        worker = self._place()
        with ExitStack() as undo:
            attached = nics.attach(
                interface, name, self._join(parsed.switch, undo), worker, host=host
            )
            undo.callback(attached.close)
            group = Group(undo.pop_all())
        port = Port(name, attached.port, Kind.VALE, FrontEndKind.VHOST, geometry, worker, group)
        port.switch, port.attached, port.static = parsed.switch, attached, True
        return self._enter(port)

    def detach(self, name: str, peer: Peer | None = None) -> Port:
        """Give an attached interface back to the host; return its port. Raises RingpassError."""
        if peer is not None:
            peer.check_privileged(f"cannot detach {name}")
        port = self.attached(name)
        assert port.attached is not None
        if port.attached.polling:
            raise _busy(name, "CPUs poll it", "stop that first: vale-ctl -P")
        port.static = False
        self._settle(port.group)
        return port

    def attached(self, name: str) -> Port:
        """Return the port `name`, which is an interface. Raises RingpassError (ENXIO, EINVAL)."""
        port = self._named.get(name)
        if port is None:
            raise RingpassError(
                f"there is no port {name}",
                "nothing of that name is attached",
                "ringpass port ls shows what there is",
                errno=errno.ENXIO,
            )
        if port.attached is None:
            raise _invalid(name, "it is no interface of the host", "name an attached interface")
        return port

    def create_interface(self, name: str, geometry: Geometry, peer: Peer) -> None:
        """Make an interface of the host that persists. Raises RingpassError."""
        peer.check_privileged(f"cannot make interface {name}")
        if names.parse(name).kind != "interface" or name.startswith("vale"):
            raise _invalid(name, "an interface's name does not begin with vale", "choose another")
        self._need_nics(name).create(name, geometry)

    def delete_interface(self, name: str, peer: Peer) -> None:
        """Remove an interface that `create_interface` made. Raises RingpassError."""
        peer.check_privileged(f"cannot remove interface {name}")
        if any(_interface(port) == name for port in self):
            raise _busy(name, "the interface is in use", "close or detach it first")
        self._need_nics(name).delete(name)

    def _make(
        self,
        name: str,
        request: Register,
        peer: Peer | None,
        region: Region | None,
        settings: Settings = _DEFAULT,
    ) -> Port:
        parsed = names.parse(name)
        uid = None if peer is None else peer.uid
        match parsed.kind:
            case "vale":
                geometry = Geometry().wanted(request)
                region = region or self._family_region(name, peer)
                return self._make_vale(parsed, geometry, region, uid, settings)
            case "pipe":
                self._check_pipe(name, request)
                geometry = self._pipe_geometry(parsed).wanted(request)
                region = self._family_region(parsed.parent, peer) or region
                return self._make_pipe(parsed, geometry, region, uid)
            case "interface":
                return self._make_nic(name, region, uid)

    def _make_vale(
        self,
        parsed: PortName,
        geometry: Geometry,
        region: Region | None,
        uid: int | None,
        settings: Settings,
        front_end: FrontEndKind = FrontEndKind.RINGS,
    ) -> Port:
        worker = self._place() if settings.worker is None else settings.worker
        with ExitStack() as undo:
            switch = self._join(parsed.switch, undo)
            if front_end is FrontEndKind.RINGS:
                region = self._hold(region, parsed.text, geometry, uid, undo)
            port = self._add(
                parsed.text,
                Kind.VALE,
                front_end,
                geometry,
                region,
                worker,
                undo,
                switch=switch,
                settings=settings,
            )
            port.group = Group(undo.pop_all())
        port.switch, port.uid = parsed.switch, uid
        return self._enter(port)

    def _make_pipe(
        self,
        parsed: PortName,
        geometry: Geometry,
        region: Region | None,
        uid: int | None,
        machines: frozenset[str] = frozenset(),
        settings: Settings = _DEFAULT,
    ) -> Port:
        """Make both ends of a pipe, those in `machines` for virtual machines; return the named one.

        `geometry` is that end's.
        """
        worker = NO_WORKER
        if machines:
            worker = self._place() if settings.worker is None else settings.worker
        ends = {parsed.text: geometry, parsed.peer: geometry.turned()}
        with ExitStack() as undo:
            if machines != ends.keys():
                region = self._hold(region, parsed.parent, geometry, uid, undo)
            one, other = (
                self._add(
                    name, Kind.LINK,
                    FrontEndKind.VHOST if name in machines else FrontEndKind.RINGS,
                    rings, region, worker, undo, settings=settings,
                )
                for name, rings in ends.items()
            )  # fmt: skip
            self._plane.link_ports(one.id, other.id)
            group = Group(undo.pop_all())
        one.peer, other.peer = other, one
        for port in (one, other):
            port.group, port.parent, port.uid = group, parsed.parent, uid
            self._enter(port)
        return one

    def _make_pipe_for_machine(
        self, parsed: PortName, geometry: Geometry, settings: Settings
    ) -> Port:
        """Make one end of a pipe a virtual machine's; the other one stays what it was."""
        machines = {parsed.text}
        other = self._named.get(parsed.peer)
        if other is not None:
            if other.front_end is FrontEndKind.VHOST:
                return self._join_machines(parsed, geometry, settings)
            if other.group.needed:
                raise _busy(parsed.text, "a program has its other end", f"close {parsed.peer}")
        region = self._family_region(parsed.parent, None)
        return self._make_pipe(parsed, geometry, region, None, frozenset(machines), settings)

    def _join_machines(self, parsed: PortName, geometry: Geometry, settings: Settings) -> Port:
        """Put a second virtual machine at the end of a pipe whose other end is one's."""
        other = self._named[parsed.peer]
        present = self._named.get(parsed.text)
        if present is not None and present.holds:
            raise _busy(parsed.text, "a program has it", "close it first")
        if present is not None:
            del self._named[parsed.text]
            present.group.ports.remove(present)
            self._remove(present)
        with ExitStack() as undo:
            port = self._add(
                parsed.text, Kind.LINK, FrontEndKind.VHOST, geometry, None, other.worker, undo,
                settings=settings,
            )  # fmt: skip
            self._plane.link_ports(port.id, other.id)
            other.group.undo.push(undo.pop_all())
        port.peer, other.peer = other, port
        port.group, port.parent = other.group, parsed.parent
        return self._enter(port)

    def _make_monitor(
        self, name: str, request: Register, peer: Peer, region: Region | None
    ) -> Port:
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
        peer.check_owner(what, _watchable_by(parent))
        flags = _monitor_flags(request.flags)
        if flags & Flag.ZCOPY_MON:
            if parent.region is None:
                raise RingpassError(
                    what,
                    "its frames are in the memory of a virtual machine, which cannot be shared",
                    "leave the flag z out: the frames are copied then",
                    errno=errno.EOPNOTSUPP,
                )
            region = parent.region
        rings = max(parent.geometry.tx_rings, parent.geometry.rx_rings)
        slots = max(parent.geometry.tx_slots, parent.geometry.rx_slots)
        geometry = (
            Geometry(1, rings, slots, slots).wanted(request)._replace(tx_rings=1, rx_rings=rings)
        )
        own_name = f"{name}/{_letters(flags)}#{next(self._numbers)}"
        with ExitStack() as undo:
            held = self._hold(region, own_name, geometry, peer.uid, undo)
            port = self._add(
                own_name, Kind.MONITOR, FrontEndKind.RINGS, geometry, held, parent.worker, undo
            )
            self._plane.attach_monitor(port.id, parent.id, flags >> 8)
            port.group = Group(undo.pop_all())
        port.parent, port.uid = name, peer.uid
        return self._enter_unnamed(port)

    def _make_null(self, name: str, request: Register, peer: Peer, region: Region | None) -> Port:
        if region is None:
            raise _invalid(name, "a null port needs a region that is there", "add @NUMBER to it")
        geometry = Geometry().wanted(request)
        with ExitStack() as undo:
            held = self._hold(region, name, geometry, peer.uid, undo)
            worker = self._place()
            port = self._add(name, Kind.NULL, FrontEndKind.RINGS, geometry, held, worker, undo)
            port.group = Group(undo.pop_all())
        port.uid = peer.uid
        return self._enter_unnamed(port)

    def _make_nic(self, name: str, region: Region | None, uid: int | None) -> Port:
        nics = self._need_nics(name)
        if any(port.attached and _interface(port) == name for port in self):
            raise _busy(name, "it is attached to a switch", "detach it first: vale-ctl -d")
        geometry = nics.geometry(name)
        nic = geometry._replace(host_tx_rings=0, host_rx_rings=0)
        stack = geometry._replace(tx_rings=geometry.host_tx_rings, rx_rings=geometry.host_rx_rings)
        worker = self._place()
        with ExitStack() as undo:
            held = self._hold(region, name, geometry, uid, undo)
            port = self._add(name, Kind.LINK, FrontEndKind.RINGS, nic, held, worker, undo)
            port.host = self._add(
                f"{name}^", Kind.LINK, FrontEndKind.RINGS, stack, held, worker, undo
            )
            port.group = Group(undo.pop_all())
        port.geometry, port.uid = geometry, uid
        return self._enter(port)

    def _add(
        self,
        name: str,
        kind: Kind,
        front_end: FrontEndKind,
        geometry: Geometry,
        region: Region | None,
        worker: WorkerId,
        undo: ExitStack,
        *,
        switch: SwitchId = NO_SWITCH,
        settings: Settings = _DEFAULT,
    ) -> Port:
        """Make a port in the data plane, and let `undo` remove it."""
        rings = front_end is FrontEndKind.RINGS
        own = region if rings else None
        spec = PortSpec(
            name=name,
            kind=kind,
            front_end=front_end,
            switch=switch,
            worker=worker,
            tx_rings=geometry.tx_rings,
            rx_rings=geometry.rx_rings,
            tx_slots=geometry.tx_slots,
            rx_slots=geometry.rx_slots,
            full=settings.full,
            hold_us=settings.hold_us,
            mtu=settings.mtu,
            region=NO_REGION if own is None else own.id,
            csb=rings and (worker != NO_WORKER or kind is Kind.LINK),
        )
        try:
            made = self._plane.add_port(spec)
        except RingpassError as error:
            raise explained(error, own) from error
        port = Port(name, made, kind, front_end, geometry, worker, Group(), own)
        undo.callback(self._remove, port)
        return port

    def _remove(self, port: Port) -> None:
        """Remove a port from the data plane. A second time does nothing."""
        if not port.removed:
            port.removed = True
            self._plane.remove_port(port.id)

    def _enter(self, port: Port) -> Port:
        port.group.ports.append(port)
        self._named[port.name] = port
        return port

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

    def _join(self, switch: str, undo: ExitStack) -> SwitchId:
        joined = self._switches.join(switch)
        undo.callback(self._switches.leave, switch)
        return joined

    def _hold(
        self,
        region: Region | None,
        name: str,
        geometry: Geometry,
        uid: int | None,
        undo: ExitStack,
    ) -> Region:
        """Return `region`, or a new private one, used until `undo`."""
        if region is None:
            region = self._regions.make(name, _SPARE * geometry.buffers, uid)
        self._regions.hold(region)
        undo.callback(self._regions.drop, region)
        return region

    def _family_region(self, name: str, peer: Peer | None) -> Region | None:
        """Return where the port `name`, or a pipe of it, lives already."""
        for port in self._named.values():
            if port.region is not None and port.kind is not Kind.MONITOR and port.family == name:
                if peer is not None:
                    peer.check_owner(f"cannot use the memory of {name}", port.uid)
                return port.region
        return None

    def _pipe_geometry(self, parsed: PortName) -> Geometry:
        """Return what a pipe has by default: one ring each way, with its parent's slots."""
        parent = self._named.get(parsed.parent)
        if parent is None or parent.region is None:
            return Geometry()
        slots = parent.geometry.tx_slots, parent.geometry.rx_slots
        return Geometry(1, 1, *(slots if parsed.master else reversed(slots)))

    def _check_pipe(self, name: str, request: Register) -> None:
        if request.mode not in (Mode.DEFAULT, Mode.ALL_NIC, Mode.ONE_NIC):
            raise _invalid(name, "a pipe has no host rings", "leave ^ and * out of the name")

    def _check_usable(self, port: Port, peer: Peer) -> None:
        what = f"cannot open port {port.name}"
        peer.check_owner(what, port.uid)
        if port.attached is not None:
            raise _busy(port.name, "it is an interface, attached to the switch", "name another")
        if port.front_end is not FrontEndKind.RINGS:
            raise _busy(port.name, "it is for a virtual machine", "name another")
        if any(_interface(other) == port.parent for other in self if other.attached):
            raise _busy(port.name, f"{port.parent} is attached to a switch", "detach it first")

    def _need_nics(self, interface: str) -> Nics:
        if self._nics is None:
            raise RingpassError(
                f"there is no port {interface}",
                "this backend serves no interfaces of the host",
                "write vale0:NAME for a port of a switch",
                errno=errno.ENXIO,
            )
        return self._nics


def explained(error: RingpassError, region: Region | None) -> RingpassError:
    """Return `error` with the setting to change, if it tells that `region` is full."""
    if error.errno == errno.ENOMEM and region is not None:
        error.fix = f"raise buffers, rings or ports in {region.setting} of the configuration"
    return error


def _interface(port: Port) -> str:
    """Return the interface of the host that a port stands for, or nothing."""
    if port.attached is not None:
        return port.name.partition(":")[2]
    return port.name if port.host is not None else ""


def _watchable_by(port: Port) -> int | None:
    """Return the user who may watch `port`, beside the daemon's: nobody else, if it has none."""
    return _NOBODY if port.uid is None else port.uid


#: No user: (uid_t)-1 is what the kernel itself never gives to one.
_NOBODY = 0xFFFF_FFFF


def _monitor_flags(flags: int) -> Flag:
    wanted = Flag(flags & _MONITOR)
    return _MONITOR if wanted & Flag.ZCOPY_MON else wanted


def _letters(flags: Flag) -> str:
    letters = {Flag.ZCOPY_MON: "z", Flag.MONITOR_TX: "t", Flag.MONITOR_RX: "r"}
    return "".join(letter for flag, letter in letters.items() if flags & flag)


def _busy(name: str, why: str, fix: str) -> RingpassError:
    return RingpassError(f"cannot use port {name}", why, fix, errno=errno.EBUSY)


def _invalid(name: str, why: str, fix: str) -> RingpassError:
    return RingpassError(f"{name} cannot be opened", why, fix, errno=errno.EINVAL)
