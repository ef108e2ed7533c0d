# SPDX-License-Identifier: BSD-2-Clause
"""Pairs of a doorbell, by which a guest wakes us, and a vector, by which we wake the guest.

They are eventfds, and QEMU has them, too: it may fill them or make them blocking. So they are read
without waiting, whatever their flags are, and written by the data plane alone.
"""

import os


class Pairs:
    """`count` pairs, as one QEMU gets them. `close` them."""

    def __init__(self, count: int) -> None:
        self.doorbells: list[int] = []
        self.vectors: list[int] = []
        try:
            for _ in range(count):
                for side in (self.doorbells, self.vectors):
                    side.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        except OSError:
            self.close()
            raise

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
