# SPDX-License-Identifier: BSD-2-Clause
"""A port as the device knows it, and what programs registered on it."""

import errno
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

from ringpass.dataplane import BindingId, FrontEndKind, Kind, PortId, WorkerId
from ringpass.errors import RingpassError
from ringpass.netmap.abi import Flag, Mode
from ringpass.netmap.nics import Attached, Opened
from ringpass.netmap.peer import Owner, Peer
from ringpass.netmap.regions import Region
from ringpass.netmap.rings import Geometry, Selection


class OffsetsOf(NamedTuple):
    """Where frames begin in the buffers of a port."""

    bits: int
    """Of a slot's `ptr` that say so."""
    largest: int
    initial: int

    def __str__(self) -> str:
        return f"offsets up to {self.largest}, {self.initial} at first, in {self.bits} bits"


@dataclass(eq=False)
class Registration:
    """Rings of a port that one open of the device has."""

    peer: Peer
    port: "Port"
    selection: Selection
    mode: Mode
    flags: Flag
    binding: BindingId
    nifp_offset: int
    extra_bufs: int
    since: float = field(default_factory=time.time)
    """Seconds since the epoch."""

    def check_compatible(self, selection: Selection, flags: int) -> None:
        """Raise RingpassError (EBUSY) if another open may not have the rings `selection`, too."""
        if (flags | self.flags) & Flag.EXCLUSIVE and self.selection.overlaps(selection):
            why = f"process {self.peer.pid} has some of its rings, and "
            why += "has them alone" if self.flags & Flag.EXCLUSIVE else "you want them alone"
            raise RingpassError(
                f"cannot open port {self.port.name}",
                why,
                "close it there, or leave the flag x out of both names",
                errno=errno.EBUSY,
            )


@dataclass(eq=False)
class Port:
    """A port that is there."""

    name: str
    id: PortId
    kind: Kind
    front_end: FrontEndKind
    geometry: Geometry
    worker: WorkerId
    group: "Group"
    region: Region | None = None
    """Where its rings are; None: they are not netmap's."""
    owner: Owner | None = None
    """Whose it is; None: the configuration's."""
    switch: str = ""
    """Of a VALE port."""
    parent: str = ""
    """The port that a pipe belongs to or a monitor watches."""
    peer: "Port | None" = None
    """The other end of a pipe."""
    host: "Port | None" = None
    """The port of an interface's host rings."""
    interface: str = ""
    """The interface of the host that it is."""
    attached: Attached | None = None
    """How that is attached to a switch."""
    opened: Opened | None = None
    """The interface that it is linked to, while a program has it."""
    guest: bool = False
    """Whether its rings are for the guest that owns it, and for nobody else."""
    static: bool = False
    """Whether it stays without users."""
    removed: bool = False
    """Whether it is gone from the data plane."""
    offsets: OffsetsOf | None = None
    holds: int = 0
    registrations: list[Registration] = field(default_factory=list)

    @property
    def family(self) -> str:
        """The name of the port whose region this one's rings are in."""
        return self.parent or self.name

    @property
    def in_guests_memory(self) -> bool:
        """Whether its rings are where guests may map them."""
        return self.region is not None and self.region.guests > 0

    @property
    def is_monitor(self) -> bool:
        """Whether it only watches another one."""
        return self.kind is Kind.MONITOR


@dataclass(eq=False)
class Group:
    """Ports that are made and removed together: the ends of a pipe, or just one port."""

    undo: ExitStack = field(default_factory=ExitStack)
    ports: list[Port] = field(default_factory=list)

    @property
    def needed(self) -> bool:
        """Whether somebody uses one of the ports, or the configuration has one."""
        return any(port.holds or port.static for port in self.ports)
