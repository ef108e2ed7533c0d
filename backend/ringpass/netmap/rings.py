# SPDX-License-Identifier: BSD-2-Clause
"""How many rings a port has, and which of them a registration means."""

import errno
from typing import NamedTuple

from ringpass.config import MAX_SLOTS
from ringpass.dataplane import MAX_RING_PAIRS
from ringpass.errors import RingpassError
from ringpass.netmap.abi import Flag, Mode, PortInfo, Register, ValeNewif

MIN_SLOTS = 2
DEFAULT_SLOTS = 1024


class Geometry(NamedTuple):
    """Rings of a port in each direction and the slots of each."""

    tx_rings: int = 1
    rx_rings: int = 1
    tx_slots: int = DEFAULT_SLOTS
    rx_slots: int = DEFAULT_SLOTS
    host_tx_rings: int = 0
    host_rx_rings: int = 0

    @property
    def buffers(self) -> int:
        """Buffers that stand in the slots of all rings."""
        tx = (self.tx_rings + self.host_tx_rings) * self.tx_slots
        return tx + (self.rx_rings + self.host_rx_rings) * self.rx_slots

    def wanted(self, request: Register | ValeNewif) -> "Geometry":
        """Return this geometry with what `request` asks for instead, as far as it can be had.

        As in netmap, 0 asks for nothing and too much is as much as possible; host rings stay.
        """
        return Geometry(
            _bound(request.tx_rings, self.tx_rings, 1, MAX_RING_PAIRS),
            _bound(request.rx_rings, self.rx_rings, 1, MAX_RING_PAIRS),
            _bound(request.tx_slots, self.tx_slots, MIN_SLOTS, MAX_SLOTS),
            _bound(request.rx_slots, self.rx_slots, MIN_SLOTS, MAX_SLOTS),
            self.host_tx_rings,
            self.host_rx_rings,
        )

    def turned(self) -> "Geometry":
        """Return what the other end of a link has: its tx rings are our rx rings."""
        return Geometry(self.rx_rings, self.tx_rings, self.rx_slots, self.tx_slots)

    def parts(self) -> tuple["Geometry", "Geometry"]:
        """Return what an interface has without its host rings, and these as rings of their own."""
        stack = Geometry(self.host_tx_rings, self.host_rx_rings, self.tx_slots, self.rx_slots)
        return self._replace(host_tx_rings=0, host_rx_rings=0), stack

    def tell(self, answer: Register | PortInfo) -> None:
        """Write the geometry into `answer`."""
        for word, value in self._asdict().items():
            setattr(answer, word, value)


class Range(NamedTuple):
    """Rings `first` to `first + count - 1`."""

    first: int = 0
    number: int = 0

    def __contains__(self, ring: object) -> bool:
        return isinstance(ring, int) and self.first <= ring < self.first + self.number

    def overlaps(self, other: "Range") -> bool:
        """Return whether some ring is in both."""
        first = max(self.first, other.first)
        return first < min(self.first + self.number, other.first + other.number)


class Selection(NamedTuple):
    """The rings that a registration means."""

    tx: Range = Range()
    rx: Range = Range()
    host_tx: Range = Range()
    host_rx: Range = Range()

    def overlaps(self, other: "Selection") -> bool:
        """Return whether some ring is in both."""
        return any(ours.overlaps(theirs) for ours, theirs in zip(self, other, strict=True))

    @property
    def rings(self) -> int:
        """How many rings these are."""
        return sum(part.number for part in self)


def select(name: str, geometry: Geometry, mode: int, ringid: int, flags: int) -> Selection:
    """Return the rings that `nr_mode`, `nr_ringid` and `nr_flags` mean.

    Raises RingpassError (EINVAL) if there are no such rings.
    """
    what = f"cannot open the rings of {name}"
    nic = Range(0, geometry.tx_rings), Range(0, geometry.rx_rings)
    host = Range(0, geometry.host_tx_rings), Range(0, geometry.host_rx_rings)
    none = Range(), Range()
    if mode in (Mode.SW, Mode.NIC_SW, Mode.ONE_SW) and not any(part.number for part in host):
        raise RingpassError(
            what, "it has no host rings", "leave ^ and * out of the name", errno=errno.EINVAL
        )
    match mode:
        case Mode.ALL_NIC | Mode.NULL:
            chosen = nic, none
        case Mode.SW:
            chosen = none, host
        case Mode.NIC_SW:
            chosen = nic, host
        case Mode.ONE_NIC:
            chosen = _one(what, nic, ringid), none
        case Mode.ONE_SW:
            chosen = none, _one(what, host, ringid)
        case Mode.PIPE_MASTER | Mode.PIPE_SLAVE:
            raise RingpassError(
                what,
                f"mode {mode} is of older requests",
                "name the pipe: PORT{ID or PORT}ID",
                errno=errno.EINVAL,
            )
        case _:
            raise RingpassError(
                what, f"there is no mode {mode}", "use one of netmap(4)", errno=errno.EINVAL
            )
    (tx, rx), (host_tx, host_rx) = chosen
    if flags & Flag.RX_RINGS_ONLY:
        tx = host_tx = Range()
    if flags & Flag.TX_RINGS_ONLY:
        rx = host_rx = Range()
    return Selection(tx, rx, host_tx, host_rx)


def _one(what: str, rings: tuple[Range, Range], ringid: int) -> tuple[Range, Range]:
    tx, rx = rings
    if ringid not in tx and ringid not in rx:
        last = max(tx.number, rx.number) - 1
        raise RingpassError(
            what,
            f"there is no ring {ringid}; they are numbered 0 to {last}",
            "choose one of these",
            errno=errno.EINVAL,
        )
    # A direction that has fewer rings gives its first one.
    return Range(ringid if ringid in tx else 0, 1), Range(ringid if ringid in rx else 0, 1)


def _bound(value: int, default: int, low: int, high: int) -> int:
    return min(max(value or default, low), high)
