# SPDX-License-Identifier: BSD-2-Clause
"""The ids of guests, by which each finds its record among those of the region that it maps."""

from collections import Counter
from collections.abc import Iterator

MAX_PEER = 0xFFFF
_BACKEND = 0


class PeerIds:
    """Ids for clients: each differs from all others that are there, and from recent ones."""

    def __init__(self) -> None:
        self._last = _BACKEND
        self._taken = Counter({_BACKEND: 1})

    def take_again(self, peer: int) -> int:
        """Return the id `peer`, which a client has already; `give` it back."""
        self._taken[peer] += 1
        self._last = max(self._last, peer)
        return peer

    def take(self) -> int:
        """Return an id, and `give` it back."""
        candidates = self._candidates()
        self._last = next(peer for peer in candidates if peer not in self._taken)
        self._taken[self._last] += 1
        return self._last

    def give(self, peer: int) -> None:
        """Note that nobody has the id `peer` any more."""
        self._taken[peer] -= 1
        if not self._taken[peer]:
            del self._taken[peer]

    def _candidates(self) -> Iterator[int]:
        yield from range(self._last + 1, MAX_PEER + 1)
        yield from range(1, self._last + 1)
