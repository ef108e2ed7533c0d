# SPDX-License-Identifier: BSD-2-Clause
"""The mapped memory of a port: netmap_if, rings and buffers."""

import errno
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from ringport import abi
from ringport.errors import Error

_U32 = 4


class RingPlace(NamedTuple):
    """Where a ring of a port is. `offset` counts bytes from the region's start."""

    tx: bool
    host: bool
    number: int
    """Among the rings of its direction, host rings counted apart."""
    offset: int


class Region:
    """Mapped memory that holds what a port is made of.

    `memory` is all of it, writable bytes. `key` names the region: rings whose regions have equal
    keys may swap buffers.
    """

    def __init__(self, memory: memoryview, key: Hashable) -> None:
        self.memory = memory.cast("B")
        self.key = key

    def at(self, offset: int, size: int, what: str) -> memoryview:
        """Return `size` bytes at `offset`. Raises Error(EFAULT) if they are not in the region."""
        if offset < 0 or size < 0 or offset + size > len(self.memory):
            raise Error(
                errno.EFAULT,
                f"cannot use {what}",
                f"its {size} bytes at offset {offset} are not within the region of "
                f"{len(self.memory)} bytes",
                "the region was damaged: open the port again",
            )
        return self.memory[offset : offset + size]

    def rings(self, nifp_offset: int) -> list[RingPlace]:
        """Return the rings that the netmap_if at `nifp_offset` has, those that are bound.

        Their order is netmap's: tx, host tx, rx, host rx. Raises Error(EFAULT).
        """
        head = self.at(nifp_offset, abi.INTERFACE.size, "netmap_if")
        _, _, _, tx, rx, _, host_tx, host_rx = abi.INTERFACE.unpack(head)
        groups = ((True, False, tx), (True, True, host_tx), (False, False, rx))
        count = tx + host_tx + rx + host_rx
        table = self.at(nifp_offset + abi.RING_OFS_AT, 8 * count, "ring_ofs").cast("q")
        places = []
        at = 0
        for is_tx, host, number in (*groups, (False, True, host_rx)):
            for place in range(number):
                if table[at]:
                    places.append(RingPlace(is_tx, host, place, nifp_offset + table[at]))
                at += 1
        return places

    def extra_bufs(self, nifp_offset: int, buffers: memoryview, buf_size: int) -> list[int]:
        """Return the indexes of the extra buffers, which lie in `buffers`. Raises Error(EFAULT)."""
        head = self.at(nifp_offset + abi.BUFS_HEAD_AT, _U32, "ni_bufs_head").cast("I")[0]
        return list(_chain(head, buffers, buf_size))

    def set_extra_bufs(
        self, nifp_offset: int, bufs: list[int], buffers: memoryview, buf_size: int
    ) -> None:
        """Make `bufs` the list of extra buffers, which whoever serves the port takes back."""
        for here, following in zip(bufs, [*bufs[1:], 0], strict=True):
            buffers[here * buf_size : here * buf_size + _U32].cast("I")[0] = following
        head = self.at(nifp_offset + abi.BUFS_HEAD_AT, _U32, "ni_bufs_head").cast("I")
        head[0] = bufs[0] if bufs else 0


def _chain(head: int, buffers: memoryview, buf_size: int) -> Iterator[int]:
    most = len(buffers) // buf_size
    for _ in range(most):
        if head == 0:
            return
        if not abi.BUFS_RESERVED <= head < most:
            why = f"index {head} is not within 2 to {most - 1}"
            raise Error(errno.EFAULT, "cannot list the extra buffers", why, "open the port again")
        yield head
        head = buffers[head * buf_size : head * buf_size + _U32].cast("I")[0]
    raise Error(errno.EFAULT, "cannot list the extra buffers", "they are linked in a circle")
