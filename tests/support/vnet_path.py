# SPDX-License-Identifier: BSD-2-Clause
"""A switch between a driver's transmit queue and a netmap ring, all in this process.

The driver's memory, one chain of descriptors at a time:

    0        4096      8192      12288
    | desc   | avail   | used    | virtio-net header, frame ...
"""

import mmap
import os
import struct
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from ringpass.dataplane import (
    DataPlane,
    FrontEndKind,
    MemorySlot,
    PortId,
    PortSpec,
    VringConfig,
    vhost_features,
)
from ringpass.observe.counters import Counters
from ringpass.vhostuser.messages import Feature
from tests.support.rings import RingUser
from tests.support.vhost import memfd

AVAIL, USED, BUFFER, MEMORY_BYTES = 4096, 8192, 12288, 1 << 18
DESC, NEXT, ENTRIES = struct.Struct("<QIHH"), 1, 128
RING_SLOTS = 4096
WITHOUT = Feature.RING_PACKED | Feature.IN_ORDER


class VnetPath:
    """`forward` passes frames from a vhost port to one with netmap rings. A context manager."""

    def __init__(self, mtu: int = 0) -> None:
        self._counters_fd = os.memfd_create("counters", os.MFD_CLOEXEC)
        self._memory_fd = memfd(MEMORY_BYTES)
        self._memory = mmap.mmap(self._memory_fd, MEMORY_BYTES)
        self._sent = 0
        self.dataplane = DataPlane(self._counters_fd)
        self._caller = self.dataplane.caller()
        switch = self.dataplane.add_switch("vale0")
        rings = PortSpec(
            "out", front_end=FrontEndKind.RINGS, switch=switch, slots=RING_SLOTS, mtu=mtu
        )
        self.receiver = self.dataplane.add_port(rings)
        self._user = RingUser(self.dataplane, self._caller, self.receiver)
        self.sender = self.dataplane.add_port(PortSpec("in", switch=switch))
        self._start(self.sender)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._caller.close()
        self.dataplane.close()
        self._memory.close()
        os.close(self._memory_fd)
        os.close(self._counters_fd)

    def forward(self, vnet: bytes, frame: bytes, *, descriptors: int = 1) -> list[bytes]:
        """Return what becomes of a frame with this virtio-net header, in a chain of `descriptors`.

        All but the last of them have the same size; there are 128 at most.
        """
        data = vnet + bytes(2) + frame  # num_buffers means nothing here
        self._memory[BUFFER : BUFFER + len(data)] = data
        size = -(-len(data) // descriptors)
        for number, at in enumerate(range(0, len(data), size)):
            length = min(size, len(data) - at)
            following = (NEXT, number + 1) if at + size < len(data) else (0, 0)
            DESC.pack_into(self._memory, DESC.size * number, BUFFER + at, length, *following)
        slot = AVAIL + 4 + 2 * (self._sent % ENTRIES)
        struct.pack_into("<H", self._memory, slot, 0)
        self._sent = (self._sent + 1) & 0xFFFF
        struct.pack_into("<H", self._memory, AVAIL + 2, self._sent)
        self._caller.txsync(self.sender)
        assert struct.unpack_from("<H", self._memory, USED + 2) == (self._sent,)
        return self._user.receive(RING_SLOTS)

    def drops(self) -> Counter[str]:
        """Return how many frames were dropped so far, by reason."""
        with Counters(Path(f"/proc/self/fd/{self._counters_fd}")) as counters:
            return sum((Counter(ring.drops) for ring in counters.rings()), Counter[str]())

    def _start(self, port: PortId) -> None:
        vhost = self.dataplane.vhost(port)
        vhost.set_features(vhost_features() & ~int(WITHOUT))
        vhost.set_memory([MemorySlot(0, MEMORY_BYTES, 0, 0)], [self._memory_fd])
        vhost.start_ring(1, VringConfig(ENTRIES, 0, 0, AVAIL, USED, -1, -1))
