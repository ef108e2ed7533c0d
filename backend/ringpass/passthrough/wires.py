# SPDX-License-Identifier: BSD-2-Clause
"""Which ring that a guest has open has which pair of eventfds.

Pair 0 is the mailbox's. Those behind it belong to the rings of the guest's own port, tx then rx,
the others are given to rings as they are opened: as many as there are is how many rings a guest
may have. A ring that is open twice has one pair.

A ring that the backend syncs uses the eventfds of its pair itself. The two ends of a pipe wake each
other, and each had its eventfds before anybody knew who opens the other: relays pass them on.

    guest --> doorbell -- relay --> call of the other end
    guest <-- vector   <- relay --- call of this end
"""

import errno
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ringpass.dataplane import DataPlane, PortId, RelayId
from ringpass.errors import RingpassError
from ringpass.netmap.attach import Place, Wakers
from ringpass.netmap.port import Port
from ringpass.passthrough.pairs import Pairs

log = logging.getLogger(__name__)


class RingKey(NamedTuple):
    """A ring."""

    port: PortId
    dir: int
    ring: int


@dataclass
class _Wire:
    pair: int
    relays: list[RelayId] = field(default_factory=list)
    users: int = 0


class Wires:
    """The pairs that one guest's rings have."""

    def __init__(self, plane: DataPlane, pairs: Pairs, own: Port) -> None:
        self._plane = plane
        self._pairs = pairs
        tx, rx = own.geometry.tx_rings, own.geometry.rx_rings
        self._own = {RingKey(own.id, 1, ring): 1 + ring for ring in range(tx)}
        self._own |= {RingKey(own.id, 0, ring): 1 + tx + ring for ring in range(rx)}
        self._free = deque(range(1 + tx + rx, len(pairs.doorbells)))
        self._wires: dict[RingKey, _Wire] = {}

    @property
    def extra(self) -> int:
        """How many rings have a pair that are not the port's own."""
        return len(self._wires.keys() - self._own.keys())

    def take(self, key: RingKey, wakers: Wakers, wanted: int | None = None) -> int:
        """Return the pair of a ring; `give` it back. Raises RingpassError (EDQUOT).

        `wanted` is the pair that a ring had before a restart, which no other one has now.
        """
        wire = self._wires.get(key)
        if wire is None:
            wire = self._wires[key] = self._connect(key, wakers, wanted)
        wire.users += 1
        return wire.pair

    def give(self, key: RingKey) -> None:
        """Note that one of those who have a ring open closed it."""
        wire = self._wires[key]
        wire.users -= 1
        if wire.users == 0:
            del self._wires[key]
            self._disconnect(key, wire)

    def _connect(self, key: RingKey, wakers: Wakers, wanted: int | None) -> _Wire:
        pair = self._own.get(key)
        if pair is None:
            if not self._free:
                raise RingpassError(
                    "cannot open more rings",
                    "this guest has as many open as it may",
                    "close some, or raise extra_rings of its port: ringpass apply",
                    errno=errno.EDQUOT,
                )
            pair = self._free[0] if wanted is None else wanted
            if pair not in self._free:
                raise RingpassError(
                    "cannot open rings as before",
                    f"pair {pair} is no longer theirs",
                    "open them anew",
                    errno=errno.EBUSY,
                )
            self._free.remove(pair)
        wire = _Wire(pair)
        try:
            self._join(key, wire, wakers)
        except BaseException:
            self._disconnect(key, wire)
            raise
        return wire

    def _join(self, key: RingKey, wire: _Wire, wakers: Wakers) -> None:
        doorbell, vector = self._pairs.doorbells[wire.pair], self._pairs.vectors[wire.pair]
        if wakers.peer_call < 0:
            self._plane.wire(*key, doorbell if wakers.kick >= 0 else -1, vector)
        else:
            wire.relays.append(self._plane.add_relay(doorbell, wakers.peer_call))
            wire.relays.append(self._plane.add_relay(wakers.call, vector))

    def _disconnect(self, key: RingKey, wire: _Wire) -> None:
        """Let the ring have eventfds of its own again, and its pair be another one's."""
        if key not in self._own:
            self._free.append(wire.pair)
        if wire.relays:
            for relay in wire.relays:
                self._plane.remove_relay(relay)
            return
        try:
            self._plane.wire(*key, -1, -1)
        except RingpassError as error:
            # No descriptor is left. It keeps those of the pair: wake-ups too many, of this guest.
            log.warning("event=unwire-failed why=%r", error.why)


class OpenWires:
    """The pairs of the rings of one open: `ringpass.netmap.attach.Numbering`."""

    def __init__(self, wires: Wires, before: Iterable[int] = ()) -> None:
        """`before` are the pairs that the open's rings had before a restart, in their order."""
        self.fds: list[int] = []
        """None: a guest gets no descriptors."""
        self._wires = wires
        self._before = deque(before)
        self._taken: dict[RingKey, int] = {}

    @property
    def pairs(self) -> list[int]:
        """The pairs of its rings, in their order."""
        return list(self._taken.values())

    def numbers(self, place: Place, wakers: Wakers) -> Wakers:
        """Return the pair of a ring wherever there is something to wake.

        Its doorbell wakes the backend, or the other end of a pipe, which needs no backend.
        """
        key = RingKey(place.port.id, place.dir, place.ring)
        pair = self._taken.get(key)
        if pair is None:
            before = self._before.popleft() if self._before else None
            pair = self._taken[key] = self._wires.take(key, wakers, before)
        if wakers.peer_call >= 0:
            return Wakers(kick=-1, call=pair, peer_call=pair)
        return Wakers(kick=pair if wakers.kick >= 0 else -1, call=pair, peer_call=-1)

    def close(self) -> None:
        """Give all of them back."""
        for key in self._taken:
            self._wires.give(key)
        self._taken.clear()
