# SPDX-License-Identifier: BSD-2-Clause
"""How ports are made: what the data plane is told, in which order, and how all of it is undone."""

import errno
import itertools
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from ringpass import config
from ringpass.dataplane import (
    NO_WORKER,
    PRIVATE,
    DataPlane,
    FrontEndKind,
    Full,
    Kind,
    MonitorFlags,
    PortSpec,
    SwitchId,
    WorkerId,
)
from ringpass.errors import RingpassError
from ringpass.netmap.abi import Flag
from ringpass.netmap.names import PortName
from ringpass.netmap.nics import Nics
from ringpass.netmap.peer import Owner
from ringpass.netmap.port import Group, Port
from ringpass.netmap.regions import Region, Regions
from ringpass.netmap.rings import Geometry
from ringpass.netmap.switches import Switches

#: Buffers that a private region has for each one that stands in a ring of its first port: others,
#: such as pipes, and extra buffers are to find some, too.
_SPARE = 4
_NO_SWITCH = SwitchId(-1)
_MONITOR_WORDS = {
    Flag.MONITOR_TX: (MonitorFlags.TX, "t"),
    Flag.MONITOR_RX: (MonitorFlags.RX, "r"),
    Flag.ZCOPY_MON: (MonitorFlags.ZCOPY, "z"),
}


class Wanted(NamedTuple):
    """What a port is to be like."""

    geometry: Geometry
    region: Region | None
    """Where its rings are to be; None: in a private region of its own."""
    owner: Owner | None
    """Whose it is; None: the configuration's."""
    settings: config.Port | None = None
    """What the configuration says of it."""


class Maker:
    """Makes ports. Each one's `group.undo` removes it, with all that was made along with it.

    Every method raises RingpassError, and leaves nothing behind then.
    """

    def __init__(
        self,
        plane: DataPlane,
        switches: Switches,
        regions: Regions,
        place: Callable[[int | None], WorkerId],
    ) -> None:
        self._plane = plane
        self._switches = switches
        self._regions = regions
        self._place = place
        self._numbers = itertools.count(1)

    def vale(self, parsed: PortName, wanted: Wanted) -> Port:
        """Make a port of a switch, which is made, too, if it is not there."""
        with ExitStack() as undo:
            switch = self._switches.join(parsed.switch)
            undo.callback(self._switches.leave, parsed.switch)
            wanted = self._hold(parsed.text, wanted, undo)
            port = self._add(
                parsed.text, Kind.VALE, wanted, self._worker(wanted), undo, switch=switch
            )
            port.group = Group(undo.pop_all())
        port.switch = parsed.switch
        return port

    def pipe(
        self, parsed: PortName, wanted: Wanted, machines: frozenset[str] = frozenset()
    ) -> Port:
        """Make both ends of a pipe, those in `machines` for virtual machines.

        Returns the named end, whose geometry `wanted` has.
        """
        worker = self._worker(wanted) if machines else NO_WORKER
        ends = {parsed.text: wanted.geometry, parsed.peer: wanted.geometry.turned()}
        with ExitStack() as undo:
            wanted = self._hold(parsed.parent, wanted, undo)
            one, other = (
                self._add(
                    name,
                    Kind.LINK,
                    wanted._replace(geometry=geometry),
                    worker,
                    undo,
                    FrontEndKind.VHOST if name in machines else FrontEndKind.RINGS,
                )
                for name, geometry in ends.items()
            )
            self._plane.link_ports(one.id, other.id)
            group = Group(undo.pop_all())
        one.peer, other.peer = other, one
        for port in (one, other):
            port.group, port.parent = group, parsed.parent
        return one

    def missing_end(self, parsed: PortName, wanted: config.Port, other: Port) -> Port:
        """Make a virtual machine's end of a pipe whose other end is there alone."""
        geometry = Geometry(wanted.queues, wanted.queues)
        with ExitStack() as undo:
            port = self._add(
                parsed.text,
                Kind.LINK,
                Wanted(geometry, None, None, wanted),
                other.worker,
                undo,
                FrontEndKind.VHOST,
            )
            self._plane.link_ports(port.id, other.id)
            other.group.undo.push(undo.pop_all())
        port.peer, other.peer = other, port
        port.group, port.parent = other.group, parsed.parent
        return port

    def monitor(self, parent: Port, flags: Flag, wanted: Wanted) -> Port:
        """Make a port that watches `parent`."""
        shown = MonitorFlags(0)
        letters = ""
        for flag, (word, letter) in _MONITOR_WORDS.items():
            if flag & flags:
                shown |= word
                letters += letter
        name = f"{parent.name}/{letters}#{next(self._numbers)}"
        with ExitStack() as undo:
            wanted = self._hold(name, wanted, undo)
            # Those that give slots to a zero-copy monitor know of CSBs only, whoever syncs it.
            csb = MonitorFlags.ZCOPY in shown
            port = self._add(name, Kind.MONITOR, wanted, self._worker(wanted), undo, csb=csb)
            self._plane.attach_monitor(port.id, parent.id, shown)
            port.group = Group(undo.pop_all())
        port.parent = parent.name
        return port

    def null(self, wanted: Wanted) -> Port:
        """Make a port that throws frames away; its name is ours, so it stands for no other."""
        name = f"null#{next(self._numbers)}"
        with ExitStack() as undo:
            wanted = self._hold(name, wanted, undo)
            port = self._add(name, Kind.NULL, wanted, self._worker(wanted), undo)
            port.group = Group(undo.pop_all())
        return port

    def nic(self, name: str, wanted: Wanted) -> Port:
        """Make the rings of an interface of the host, and those of its host stack."""
        nic, stack = wanted.geometry.parts()
        worker = self._worker(wanted)
        with ExitStack() as undo:
            wanted = self._hold(name, wanted, undo)
            port = self._add(name, Kind.LINK, wanted._replace(geometry=nic), worker, undo)
            port.host = self._add(
                f"{name}^", Kind.LINK, wanted._replace(geometry=stack), worker, undo
            )
            port.group = Group(undo.pop_all())
        port.geometry, port.interface = wanted.geometry, name
        return port

    def attached(self, parsed: PortName, interface: str, nics: Nics, *, host: bool) -> Port:
        """Make an interface of the host a port of a switch."""
        geometry = nics.geometry(interface)
        worker = self._place(None)
        with ExitStack() as undo:
            switch = self._switches.join(parsed.switch)
            undo.callback(self._switches.leave, parsed.switch)
            attached = nics.attach(interface, parsed.text, switch, worker, host=host)
            undo.callback(attached.close)
            group = Group(undo.pop_all())
        return Port(
            parsed.text,
            attached.port,
            Kind.VALE,
            FrontEndKind.KERNEL,
            geometry,
            worker,
            group,
            switch=parsed.switch,
            attached=attached,
            interface=interface,
        )

    def remove(self, port: Port) -> None:
        """Remove a port from the data plane. A second time does nothing."""
        if not port.removed:
            port.removed = True
            self._plane.remove_port(port.id)

    def _add(
        self,
        name: str,
        kind: Kind,
        wanted: Wanted,
        worker: WorkerId,
        undo: ExitStack,
        front_end: FrontEndKind = FrontEndKind.RINGS,
        switch: SwitchId = _NO_SWITCH,
        csb: bool = False,
    ) -> Port:
        """Make a port in the data plane, and let `undo` remove it."""
        region = wanted.region if front_end is FrontEndKind.RINGS else None
        geometry, settings = wanted.geometry, wanted.settings or config.Port(mtu=0)
        spec = PortSpec(
            name=name,
            kind=kind,
            front_end=front_end,
            switch=switch,
            worker=worker,
            tx_rings=geometry.tx_rings,
            rx_rings=geometry.rx_rings,
            slots=geometry.tx_slots,
            rx_slots=geometry.rx_slots,
            region=PRIVATE if region is None else region.id,
            csb=region is not None and (csb or worker != NO_WORKER or kind is Kind.LINK),
            full=Full[settings.full.upper()],
            hold_us=settings.hold_us,
            mtu=settings.mtu,
        )
        try:
            made = self._plane.add_port(spec)
        except RingpassError as error:
            raise explained(error, region) from error
        port = Port(name, made, kind, front_end, geometry, worker, Group(), region, wanted.owner)
        undo.callback(self.remove, port)
        return port

    def _hold(self, name: str, wanted: Wanted, undo: ExitStack) -> Wanted:
        """Return `wanted` with its region, which is held until `undo`."""
        region = wanted.region
        if region is None:
            buffers = _SPARE * wanted.geometry.buffers
            region = self._regions.make(name, buffers, wanted.owner)
        self._regions.hold(region)
        undo.callback(self._regions.drop, region)
        return wanted._replace(region=region)

    def _worker(self, wanted: Wanted) -> WorkerId:
        return self._place(None if wanted.settings is None else wanted.settings.worker)


def explained(error: RingpassError, region: Region | None) -> RingpassError:
    """Return `error` with the setting to change, if it tells that `region` is full."""
    if error.errno == errno.ENOMEM and region is not None:
        error.fix = f"raise {region.setting} in the configuration: ringpass apply"
    return error
