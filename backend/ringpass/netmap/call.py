# SPDX-License-Identifier: BSD-2-Clause
"""A request on its way, and what it needs to be done."""

import errno
from dataclasses import dataclass, field
from typing import NoReturn

from ringpass.dataplane import DataPlane
from ringpass.errors import RingpassError
from ringpass.netmap.abi import Header, Request
from ringpass.netmap.options import Options
from ringpass.netmap.peer import Peer
from ringpass.netmap.port import Registration
from ringpass.netmap.ports import Ports
from ringpass.netmap.regions import Region, Regions
from ringpass.netmap.switches import Switches


@dataclass
class Device:
    """What all opens of the device share."""

    plane: DataPlane
    switches: Switches
    regions: Regions
    ports: Ports


@dataclass
class Call:
    """A request, who asks, and what is registered on the open that it came on."""

    device: Device
    peer: Peer
    registration: Registration | None
    header: Header
    name: str
    options: Options = field(default_factory=Options)

    @property
    def what(self) -> str:
        """How messages call it."""
        return f"cannot do {Request(self.header.reqtype).name} for {self.name or 'no port'}"

    def fail(self, number: int, why: str, fix: str = "") -> NoReturn:
        """Raise RingpassError."""
        raise RingpassError(self.what, why, fix, errno=number)

    def region(self, mem_id: int) -> Region | None:
        """Return the region that the request names; 0: none. Raises RingpassError."""
        number = mem_id or self.peer.home
        return self.device.regions.numbered(number, self.peer) if number else None

    def registered(self) -> Registration:
        """Return what is registered. Raises RingpassError (ENXIO)."""
        if self.registration is None:
            self.fail(errno.ENXIO, "no rings are registered here", "register some first")
        return self.registration
