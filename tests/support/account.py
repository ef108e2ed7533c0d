# SPDX-License-Identifier: BSD-2-Clause
"""What became of frames: sums over rings, to be compared before and after."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, Self

from ringpass.observe.counters import RingCounters


class Account(NamedTuple):
    """Bytes of payload that were copied, bytes that were delivered, frames dropped by reason."""

    copied: int
    delivered: int
    drops: Counter[str]

    @classmethod
    def of(cls, rings: Iterable[RingCounters]) -> Self:
        """Return the sums over `rings`."""
        copied = delivered = 0
        drops: Counter[str] = Counter()
        for ring in rings:
            drops.update(ring.drops)
            if ring.tx:
                copied += ring.copied
            else:
                delivered += ring.bytes
        return cls(copied, delivered, drops)

    def since(self, before: "Account") -> "Account":
        """Return what was added since `before`."""
        return Account(
            self.copied - before.copied,
            self.delivered - before.delivered,
            self.drops - before.drops,
        )
