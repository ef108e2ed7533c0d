# SPDX-License-Identifier: BSD-2-Clause
"""What a process needs to use the rings that it registered: csrc/abi/rp_attach.h in Python."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ringpass.dataplane import NO_CSB, DataPlane, RingInfo
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


class _Place(NamedTuple):
    """A bound ring."""

    port: Port
    dir: int
    ring: int
    place: int
    """In the netmap_if's order of that direction."""
    flags: int


def describe(plane: DataPlane, regions: Regions, registration: Registration) -> Attachment:
    """Return what the process that made `registration` is to be told."""
    port = registration.port
    assert port.region is not None
    info = regions.pools(port.region)
    fds = [info.fd]
    rings = [_ring(plane, place, fds) for place in _places(registration)]
    head = ATTACHMENT.pack(
        info.size,
        registration.nifp_offset,
        registration.flags,
        registration.mode,
        port.region.id,
        len(rings),
        len(fds),
    )
    return Attachment(head + b"".join(rings), fds)


def _places(registration: Registration) -> Iterator[_Place]:
    port, where = registration.port, registration.selection
    monitor = MONITOR_RING if port.is_monitor else 0
    nic = ((_TX, where.tx), (_RX, where.rx))
    for direction, part in nic:
        yield from (_Place(port, direction, ring, ring, monitor) for ring in _each(part))
    if port.host is not None:
        geometry = port.geometry
        host = ((_TX, where.host_tx, geometry.tx_rings), (_RX, where.host_rx, geometry.rx_rings))
        for direction, part, before in host:
            yield from (
                _Place(port.host, direction, ring, before + ring, HOST_RING) for ring in _each(part)
            )


def _each(part: Range) -> range:
    return range(part.first, part.first + part.number)


def _ring(plane: DataPlane, place: _Place, fds: list[int]) -> bytes:
    """Return the record of one ring; its descriptors are added to `fds`."""
    ring = _info(plane, place.port, place.dir, place.ring)
    peer_call = -1
    if ring.peer_csb != NO_CSB:
        assert place.port.peer is not None
        peer_call = _info(plane, place.port.peer, 1 - place.dir, place.ring).call_fd
    return RING.pack(
        ring.ring_offset,
        ring.csb,
        ring.peer_csb,
        place.dir,
        place.place,
        place.flags,
        _number(ring.kick_fd, fds),
        _number(ring.call_fd, fds),
        _number(peer_call, fds),
        0,
    )


def _info(plane: DataPlane, port: Port, direction: int, ring: int) -> RingInfo:
    rings = plane.port_rings(port.id)
    return (rings.tx if direction == _TX else rings.rx)[ring]


def _number(fd: int, fds: list[int]) -> int:
    if fd < 0:
        return -1
    if fd not in fds:
        fds.append(fd)
    return fds.index(fd)
