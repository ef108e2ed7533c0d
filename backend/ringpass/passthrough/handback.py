# SPDX-License-Identifier: BSD-2-Clause
"""What a QEMU holds of a backend that is gone, and hands back so that its guest need not know.

Memory is looked at by the data plane, which made such: see `DataPlane.hand_back_region`. Eventfds
are of no use to who has them but to wake somebody. So all that matters is that they are some, and
that each is another one: where a vector is a doorbell, too, of this guest or of a friend's, relays
would pass a wake-up on for ever.
"""

import errno
from pathlib import Path
from typing import NamedTuple

from ringpass.errors import RingpassError
from ringpass.passthrough.pairs import Pairs, described
from ringpass.passthrough.peers import MAX_PEER


class Held(NamedTuple):
    """What comes with a HELLO; the descriptors are the request's, until `take`."""

    peer: int
    region_bytes: int
    fds: list[int]
    """Of the region, of all doorbells, and of all vectors."""

    def check(self, pairs: int, region_bytes: int) -> None:
        """Raise RingpassError if these cannot be a port's that has so many pairs."""
        found = (len(self.fds) - 1) // 2
        if (found, self.region_bytes) != (pairs, region_bytes):
            raise _refused(
                f"it has {found} pairs and {self.region_bytes} bytes of memory, the port {pairs} "
                f"and {region_bytes}"
            )
        if not 0 < self.peer <= MAX_PEER:
            raise _refused(f"{self.peer} is no peer id")
        ids = [number for fd in self.fds[1:] if (number := _checked_eventfd(fd)) is not None]
        if len(set(ids)) < len(ids):
            raise _refused("an eventfd is there twice")
        if Pairs.has_any(ids):
            raise _refused("an eventfd is another port's")

    def take(self) -> Pairs:
        """Take the pairs out of the request."""
        count = (len(self.fds) - 1) // 2
        pairs = Pairs(self.fds[1 : 1 + count], self.fds[1 + count :])
        del self.fds[1:]
        return pairs


def _checked_eventfd(fd: int) -> int | None:
    """Return which eventfd `fd` is, if the kernel tells. Raises RingpassError if it does not count,
    or is none.
    """
    # A file's path begins with a slash, so it cannot pass for one.
    if str(Path(f"/proc/self/fd/{fd}").readlink()) != "anon_inode:[eventfd]":
        raise _refused("a descriptor is no eventfd")
    told = described(fd)
    # Not all kernels tell. One that is read as 1 each time costs its own worker wake-ups.
    if told.get("eventfd-semaphore") == "1":
        raise _refused("an eventfd is a semaphore")
    return int(told["eventfd-id"]) if "eventfd-id" in told else None


def _refused(why: str) -> RingpassError:
    return RingpassError(
        "what was handed back is not taken",
        why,
        "reset the device, or plug it in again",
        errno=errno.EINVAL,
    )
