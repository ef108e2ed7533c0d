# SPDX-License-Identifier: BSD-2-Clause
"""The user's side of a port with netmap rings that is synced by its user's own thread."""

import mmap
from collections.abc import Sequence
from typing import Any

from ringpass._dp import ffi, lib
from ringpass.dataplane import Caller, DataPlane, PortId


class RingUser:
    """Puts frames into the first tx ring of a port, and takes them from its first rx ring."""

    def __init__(self, dataplane: DataPlane, caller: Caller, port: PortId) -> None:
        info = dataplane.port_region(port)
        self.port = port
        self.buf_bytes = info.buf_bytes
        self._caller = caller
        self._map = mmap.mmap(info.fd, info.bytes)
        self._base = ffi.cast("uint8_t *", ffi.from_buffer(self._map))
        self._bufs_offset = info.bufs_offset
        nifp: Any = ffi.cast("struct netmap_if *", self._base + info.nifp_offset)
        first_rx = nifp.ni_tx_rings + nifp.ni_host_tx_rings
        self.tx: Any = ffi.cast("struct netmap_ring *", self._at(nifp, 0))
        self.rx: Any = ffi.cast("struct netmap_ring *", self._at(nifp, first_rx))

    def put(self, pieces: Sequence[bytes]) -> None:
        """Put a frame into the next slots, one for each piece; `sync` sends it."""
        for i, piece in enumerate(pieces):
            slot = self.tx.slot[self.tx.head]
            at = self._bufs_offset + slot.buf_idx * self.buf_bytes
            self._map[at : at + len(piece)] = piece
            slot.len = len(piece)
            slot.flags = lib.NS_MOREFRAG if i + 1 < len(pieces) else 0
            self.tx.head = self.tx.cur = self._next(self.tx, self.tx.head)

    def send(self) -> int:
        """Send what was put; return how many slots were taken."""
        return self._caller.txsync(self.port)

    def receive(self, frames: int) -> list[bytes]:
        """Take up to `frames` frames and give their slots back."""
        self._caller.rxsync(self.port)
        got: list[bytes] = []
        while len(got) < frames and self.rx.head != self.rx.tail:
            got.append(self._take())
        self._caller.rxsync(self.port)
        return got

    def _take(self) -> bytes:
        frame = b""
        while True:
            slot = self.rx.slot[self.rx.head]
            at = self._bufs_offset + slot.buf_idx * self.buf_bytes
            frame += self._map[at : at + slot.len]
            self.rx.head = self.rx.cur = self._next(self.rx, self.rx.head)
            if not slot.flags & lib.NS_MOREFRAG:
                return frame

    def _at(self, nifp: Any, ring: int) -> Any:
        return ffi.cast("uint8_t *", nifp) + nifp.ring_ofs[ring]

    @staticmethod
    def _next(ring: Any, slot: int) -> int:
        return int(slot + 1) % int(ring.num_slots)
