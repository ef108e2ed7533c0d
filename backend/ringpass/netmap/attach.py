# SPDX-License-Identifier: BSD-2-Clause
"""What a front end needs to use the rings that it registered: csrc/abi/rp_attach.h in Python."""

import struct
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from ringpass.dataplane import NO_CSB, DataPlane, PortId, PortRings, RingInfo
from ringpass.netmap.port import Port, Registration
from ringpass.netmap.regions import Regions
from ringpass.netmap.rings import Range

ATTACHMENT = struct.Struct("<QQQIIII")
RING = struct.Struct("<QIIHHIhhhh")
HOST_RING, MONITOR_RING = 1, 2
_RX, _TX = 0, 1


class Attachment(NamedTuple):
    """The text of an attachment and the descriptors that go with it, which stay the backend's."""

    data: bytes
    fds: list[int]


class Place(NamedTuple):
    """A bound ring."""

    port: Port
    dir: int
    ring: int
    place: int
    """In the netmap_if's order of that direction."""
    flags: int


class Wakers(NamedTuple):
    """What wakes whom at a ring: descriptors, or what stands for them; -1: none."""

    kick: int
    """The backend."""
    call: int
    """The ring's user."""
    peer_call: int
    """The other end of a pipe."""


class Numbering(Protocol):
    """How a ring's wakers are named to whoever registered it."""

    fds: list[int]
    """What goes with the attachment."""

    def numbers(self, place: Place, wakers: Wakers) -> Wakers:
        """Return the names of `wakers`, which are descriptors. Raises RingpassError."""


class Descriptors:
    """The wakers of a process: descriptors, by their number in the message."""

    def __init__(self, region_fd: int) -> None:
        self.fds = [region_fd]

    def numbers(self, _: Place, wakers: Wakers) -> Wakers:
        """Return the number of each descriptor, which goes with the message once."""
        return Wakers(*(self._number(fd) for fd in wakers))

    def _number(self, fd: int) -> int:
        if fd < 0:
            return -1
        if fd not in self.fds:
            self.fds.append(fd)
        return self.fds.index(fd)


def describe(
    plane: DataPlane,
    regions: Regions,
    registration: Registration,
    numbering: Numbering | None = None,
) -> Attachment:
    """Return what the front end that made `registration` is to be told; a process by default.

    Raises RingpassError if the numbering does.
    """
    port = registration.port
    assert port.region is not None
    pools = regions.pools(port.region)
    numbering = numbering or Descriptors(pools.fd)
    known = _Known(plane)
    rings = [_ring(known, place, numbering) for place in _places(registration)]
    head = ATTACHMENT.pack(
        pools.size,
        registration.nifp_offset,
        registration.flags,
        registration.mode,
        port.region.id,
        len(rings),
        len(numbering.fds),
    )
    return Attachment(head + b"".join(rings), numbering.fds)


def _places(registration: Registration) -> Iterator[Place]:
    port, where = registration.port, registration.selection
    monitor = MONITOR_RING if port.is_monitor else 0
    nic = ((_TX, where.tx), (_RX, where.rx))
    for direction, part in nic:
        yield from (Place(port, direction, ring, ring, monitor) for ring in _each(part))
    if port.host is not None:
        geometry = port.geometry
        host = ((_TX, where.host_tx, geometry.tx_rings), (_RX, where.host_rx, geometry.rx_rings))
        for direction, part, before in host:
            yield from (
                Place(port.host, direction, ring, before + ring, HOST_RING) for ring in _each(part)
            )


def _each(part: Range) -> range:
    return range(part.first, part.first + part.number)


class _Known:
    """The rings of some ports, each of which is looked at once."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._ports: dict[PortId, PortRings] = {}

    def ring(self, port: Port, direction: int, ring: int) -> RingInfo:
        """Return what was so of a ring when its port was first asked for."""
        if port.id not in self._ports:
            self._ports[port.id] = self._plane.port_rings(port.id)
        rings = self._ports[port.id]
        return (rings.tx if direction == _TX else rings.rx)[ring]


def _ring(known: _Known, place: Place, numbering: Numbering) -> bytes:
    """Return the record of one ring."""
    ring = known.ring(place.port, place.dir, place.ring)
    peer_call = -1
    if ring.peer_csb != NO_CSB:
        assert place.port.peer is not None
        peer_call = known.ring(place.port.peer, 1 - place.dir, place.ring).call_fd
    wakers = numbering.numbers(place, Wakers(ring.kick_fd, ring.call_fd, peer_call))
    return RING.pack(
        ring.ring_offset,
        ring.csb,
        ring.peer_csb,
        place.dir,
        place.place,
        place.flags,
        *wakers,
        0,
    )
