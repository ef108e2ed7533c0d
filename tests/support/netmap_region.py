# SPDX-License-Identifier: BSD-2-Clause
"""A region as a netmap makes it, in plain memory, and the other side of its rings.

It is laid out by the compiler's structs, so that ringport's own numbers are tried against them.
"""

import mmap
from collections import deque
from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any

from ringpass._dp import ffi, lib
from ringport import Port
from ringport.region import Region
from ringport.ring import Ring
from ringport.transport import Watch

RING_BYTES = int(ffi.sizeof("struct netmap_ring"))
SLOT_BYTES = int(ffi.sizeof("struct netmap_slot"))
NIFP = 4096


class FakeRegion:
    """Memory with a netmap_if and rings: for each, whether it is tx and how many slots it has."""

    def __init__(
        self,
        rings: Sequence[tuple[bool, int]],
        *,
        buf_bytes: int = 2048,
        extra_bufs: int = 0,
        offset_bits: int = 0,
        key: Hashable = None,
    ) -> None:
        rings = sorted(rings, key=lambda ring: not ring[0])
        tx = sum(is_tx for is_tx, _ in rings)
        sizes = [(RING_BYTES + SLOT_BYTES * slots + 127) // 128 * 128 for _, slots in rings]
        first_ring = NIFP + 4096
        bufs_offset = (first_ring + sum(sizes) + 4095) // 4096 * 4096
        buf_count = 2 + sum(slots for _, slots in rings) + extra_bufs
        self.map = mmap.mmap(-1, bufs_offset + buf_count * buf_bytes)
        self.base = ffi.cast("uint8_t *", ffi.from_buffer(self.map))
        self.key = id(self) if key is None else key
        nifp: Any = ffi.cast("struct netmap_if *", self.base + NIFP)
        self.nifp = nifp
        nifp.ni_tx_rings, nifp.ni_rx_rings = tx, len(rings) - tx
        nifp.ni_host_tx_rings = nifp.ni_host_rx_rings = 1
        self.rings: list[Any] = []
        next_buf, at = 2, first_ring
        for number, ((is_tx, slots), size) in enumerate(zip(rings, sizes, strict=True)):
            # A host ring that is not bound stands behind those of each direction.
            nifp.ring_ofs[number if is_tx else number + 1] = at - NIFP
            ring: Any = ffi.cast("struct netmap_ring *", self.base + at)
            ring.buf_ofs, ring.num_slots, ring.nr_buf_size = bufs_offset - at, slots, buf_bytes
            ring.dir = lib.NETMAP_DIR_TX if is_tx else lib.NETMAP_DIR_RX
            ring.tail = slots - 1 if is_tx else 0
            ring.offset_mask = (1 << offset_bits) - 1
            for i in range(slots):
                ring.slot[i].buf_idx = next_buf
                next_buf += 1
            self.rings.append(ring)
            at += size
        extra = [*range(next_buf, next_buf + extra_bufs), 0]
        nifp.ni_bufs_head = extra[0]
        for here, following in pairwise(extra):
            link: Any = ffi.cast("uint32_t *", self.base + bufs_offset + here * buf_bytes)
            link[0] = following

    def buf_indexes(self) -> list[int]:
        """Return the buffers that are in slots, in no order to rely on."""
        return [ring.slot[i].buf_idx for ring in self.rings for i in range(ring.num_slots)]

    def port(self) -> Port:
        """Return a port of all rings, whose syncs `FakeBinding` runs."""
        self.binding = FakeBinding(self)
        return Port("fake", self.binding)


class FakeBinding:
    """The kernel's side: what is sent is kept in `sent`, what is in `waiting` is received."""

    def __init__(self, fake: FakeRegion) -> None:
        self.region = Region(memoryview(fake.map), fake.key)
        self.nifp_offset = NIFP
        self.mem_id = 1
        self.sent: list[bytes] = []
        self.waiting: deque[bytes] = deque()
        self.closed = 0
        self._fake = fake
        self._released = 0

    def attach(self, rings: Sequence[Ring]) -> None:
        """Nothing."""

    def txsync(self) -> None:
        """Take all frames of all tx rings."""
        for ring in self._fake.rings:
            if ring.dir == lib.NETMAP_DIR_TX:
                at = (ring.tail + 1) % ring.num_slots
                while at != ring.head:
                    self.sent.append(self._data(ring, at))
                    at = (at + 1) % ring.num_slots
                ring.tail = (ring.head - 1) % ring.num_slots

    def rxsync(self) -> None:
        """Put waiting pieces of frames into the rx rings while they have room."""
        for ring in self._fake.rings:
            while (
                ring.dir == lib.NETMAP_DIR_RX
                and self.waiting
                and (ring.tail + 1) % ring.num_slots != ring.head
            ):
                slot, data = ring.slot[ring.tail], self.waiting.popleft()
                at = self._buffer(ring, ring.tail)
                ffi.memmove(at, data, len(data))
                slot.len, slot.flags = len(data), 0
                ring.tail = (ring.tail + 1) % ring.num_slots

    def sync(self, ring: Ring) -> None:
        """Sync all rings of the direction."""
        if ring.is_tx:
            self.txsync()
        else:
            self.rxsync()

    def watch(self, *, rx: bool, tx: bool) -> Watch:  # noqa: ARG002
        """There is nothing to wait for."""
        return Watch([], 0.001)

    def unwatch(self) -> None:
        """Nothing."""

    def fileno(self) -> int:
        """There is none."""
        raise NotImplementedError

    def close(self) -> None:
        """Count the calls."""
        self.closed += 1

    def _data(self, ring: Any, index: int) -> bytes:
        data: bytes = ffi.buffer(self._buffer(ring, index), ring.slot[index].len)[:]
        return data

    @staticmethod
    def _buffer(ring: Any, index: int) -> Any:
        slot = ring.slot[index]
        start = ffi.cast("uint8_t *", ring) + ring.buf_ofs + slot.buf_idx * ring.nr_buf_size
        return start + (slot.ptr & ring.offset_mask)
