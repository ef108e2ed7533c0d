# SPDX-License-Identifier: BSD-2-Clause
"""A bridge in C, and what surrounds a bridge that is measured: csrc/bench/relay.c."""

import os
from typing import Any, NamedTuple

from ringpass._dp import ffi, lib
from ringpass.errors import RingpassError


class Place(NamedTuple):
    """A ring of this process, as csrc/client knows it: the address of its client, its number."""

    client: int
    ring: int


class Relay:
    """From the tx ring of a feeder to the rx ring of a taker, both ours, in frames of `size` bytes.

    What lies between, from the rx ring `source` to the tx ring `sink`, is the bridge.
    """

    def __init__(self, feeder: Place, source: Place, sink: Place, taker: Place, size: int) -> None:
        self._feeder = _place(feeder)
        self._source = _place(source)
        self._sink = _place(sink)
        self._taker = _place(taker)
        self._size = size
        self._fed = 0
        self._taken = 0

    def feed(self, frames: int) -> None:
        """Give the bridge so many frames. Raises RingpassError if there is no room for them."""
        done = lib.rp_bench_feed(self._feeder, frames, self._size, self._fed)
        self._check("the bridge cannot be fed", done)
        self._fed += frames

    def take(self, frames: int) -> None:
        """Take what the bridge sent. Raises RingpassError if it is not what it was fed with."""
        done = lib.rp_bench_take(self._taker, frames, self._size, self._taken)
        self._check("the bridge did not deliver what it was given", done)
        self._taken += frames

    def step(self, frames: int) -> int:
        """Hand on at most so many slots, in C; return how many."""
        done = int(lib.rp_bench_relay(self._source, self._sink, frames))
        self._check("the bridge cannot sync", done)
        return done

    def swap(self, slots: int) -> None:
        """Swap so many slots of the bridge's two rings, in C, and do nothing else."""
        lib.rp_bench_swap(self._source, self._sink, slots)

    @staticmethod
    def _check(what: str, done: int) -> None:
        if done < 0:
            raise RingpassError(what, os.strerror(-done), errno=-done)


def _place(place: Place) -> Any:
    client = ffi.cast("void *", place.client)
    return ffi.new("struct rp_bench_place *", {"client": client, "ring": place.ring})
