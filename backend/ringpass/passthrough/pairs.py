# SPDX-License-Identifier: BSD-2-Clause
"""Pairs of a doorbell, by which a guest wakes us, and a vector, by which we wake the guest.

They are eventfds, and QEMU has them, too: it may fill them or make them blocking. So they are read
without waiting, whatever their flags are, and written by the data plane alone.
"""

import os
from typing import Self


class Pairs:
    """Pairs, as one QEMU gets them. `close` them."""

    def __init__(self, doorbells: list[int], vectors: list[int]) -> None:
        self.doorbells = doorbells
        self.vectors = vectors

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
        for side in (self.doorbells, self.vectors):
            for fd in side:
                os.close(fd)
            side.clear()


def drain(fd: int) -> None:
    """Forget that the eventfd `fd` was signalled."""
    try:
        os.preadv(fd, [bytearray(8)], -1, os.RWF_NOWAIT)
    except BlockingIOError:
        return
