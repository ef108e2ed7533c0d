# SPDX-License-Identifier: BSD-2-Clause
"""Pairs of a doorbell, by which a guest wakes us, and a vector, by which we wake the guest.

They are eventfds, and QEMU has them, too: it may fill them or make them blocking. So they are read
without waiting, whatever their flags are, and written by the data plane alone.
"""

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self
from weakref import WeakSet


class Pairs:
    """Pairs, as one QEMU gets them. `close` them."""

    _open: ClassVar[WeakSet["Pairs"]] = WeakSet()

    def __init__(self, doorbells: list[int], vectors: list[int]) -> None:
        self.doorbells = doorbells
        self.vectors = vectors
        self._open.add(self)

    @classmethod
    def make(cls, count: int) -> Self:
        """Return `count` new pairs."""
        pairs = cls([], [])
        try:
            for _ in range(count):
                for side in (pairs.doorbells, pairs.vectors):
                    side.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        except OSError:
            pairs.close()
            raise
        return pairs

    def close(self) -> None:
        """Close our copies. A second close does nothing."""
        self._open.discard(self)
        for side in (self.doorbells, self.vectors):
            for fd in side:
                os.close(fd)
            side.clear()

    @classmethod
    def has_any(cls, ids: Iterable[int]) -> bool:
        """Return whether one of these eventfds is in some QEMU's pairs already."""
        wanted = set(ids)
        return any(not wanted.isdisjoint(pairs.ids) for pairs in cls._open)

    @cached_property
    def ids(self) -> frozenset[int]:
        """Which eventfds they are, as far as the kernel tells."""
        found = (described(fd).get("eventfd-id") for fd in (*self.doorbells, *self.vectors))
        return frozenset(int(each) for each in found if each is not None)


def described(fd: int) -> dict[str, str]:
    """Return what the kernel says of a descriptor, by name. Not all kernels say all of it."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def drain(fd: int) -> None:
    """Forget that the eventfd `fd` was signalled."""
    try:
        os.preadv(fd, [bytearray(8)], -1, os.RWF_NOWAIT)
    except BlockingIOError:
        return
