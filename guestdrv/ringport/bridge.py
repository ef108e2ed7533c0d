# SPDX-License-Identifier: BSD-2-Clause
"""Two ports joined: what one receives the other sends."""

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ringport.errors import Error
from ringport.port import Port, wait
from ringport.ring import Ring

if TYPE_CHECKING:
    from ringport.batch import Batch


@dataclass
class Direction:
    """From the rx rings of one port to the tx rings of another.

    Buffers are swapped if both ports are in one region and `copy` is not asked for.
    """

    source: Port
    sink: Port
    batch: int = 512
    """Slots that are handed on at a time."""
    copy: bool = False
    slots: int = 0
    """Handed on so far; most frames are in one slot."""
    bytes: int = 0
    dropped: int = 0
    """Frames that are longer than the whole tx ring."""
    blocked: bool = False
    """Whether frames wait, since the last step, for more room in the sink."""

    def __post_init__(self) -> None:
        self.copy = self.copy or self.source.region_key != self.sink.region_key
        sinks = [*self.sink.tx, *self.sink.host_tx]
        sources = [*self.source.rx, *self.source.host_rx]
        self._pairs: list[tuple[Ring, Ring]] = [
            (rx, sinks[number % len(sinks)]) for number, rx in enumerate(sources) if sinks
        ]

    def step(self) -> int:
        """Sync, hand on at most a batch of each ring, sync; return how many slots."""
        self.source.rxsync()
        moved = 0
        self.blocked = False
        for rx, tx in self._pairs:
            batch = rx.batch(self.batch)
            if not len(batch):
                continue
            lengths = batch.lengths
            done = self._hand_on(batch, tx)
            self.bytes += int(lengths[:done].sum())
            moved += done
        if moved:
            self.slots += moved
        if self.blocked:
            # A wait for the sink ends with more room than there is now.
            for ring in (*self.sink.tx, *self.sink.host_tx):
                ring.cur = ring.tail
        # Even if nothing was handed on: a full sink has room again only behind a sync.
        self.sink.txsync()
        return moved

    def _hand_on(self, batch: "Batch", tx: Ring) -> int:
        """Hand on what there is room for; drop the first frame if it needs more than a ring."""
        try:
            done = batch.copy(tx) if self.copy else batch.move(tx)
            fits = done > 0 or _first_frame(batch) < tx.num_slots
        except Error as error:
            if error.errno != errno.EMSGSIZE:
                raise
            done, fits = 0, False
        if not fits:
            batch.advance(_first_frame(batch))
            self.dropped += 1
        elif not done:
            self.blocked = True
        return done


def _first_frame(batch: "Batch") -> int:
    """Return how many slots of a batch are its first frame's."""
    begins = batch.first
    begins[0] = False
    return int(begins.argmax()) or len(batch)


class Bridge:
    """Both directions between two ports."""

    def __init__(self, one: Port, other: Port, batch: int = 512, *, copy: bool = False) -> None:
        self.directions = (
            Direction(one, other, batch, copy=copy),
            Direction(other, one, batch, copy=copy),
        )

    def step(self) -> int:
        """Hand on what there is, at most a batch a ring each way; return how many slots."""
        return sum(direction.step() for direction in self.directions)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until there is something to hand on, and room for it."""
        return wait(
            readable=[way.source for way in self.directions if not way.blocked],
            writable=[way.sink for way in self.directions if way.blocked],
            timeout=timeout,
        )
