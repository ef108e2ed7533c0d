# SPDX-License-Identifier: BSD-2-Clause
"""A switch behind a driver's transmit queue, all in this process: what comes out of it?

The sending driver's memory, one chain of descriptors at a time; the receiving one's is alike:

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
from tests.support.packets import VNET_HEADER
from tests.support.rings import RingUser
from tests.support.vhost import memfd

AVAIL, USED, BUFFER, MEMORY_BYTES = 4096, 8192, 12288, 1 << 20
DESC, NEXT, WRITE, ENTRIES = struct.Struct("<QIHH"), 1, 2, 128
RING_SLOTS = 4096
RECEIVER, BUFFER_BYTES = 1 << 18, 2048
WITHOUT = Feature.RING_PACKED | Feature.IN_ORDER
SEGMENTS = Feature.GUEST_TSO4 | Feature.GUEST_TSO6


class Sender:
    """A switch with the port of a driver that sends. A context manager."""

    def __init__(self) -> None:
        self._counters_fd = os.memfd_create("counters", os.MFD_CLOEXEC)
        self._memory_fd = memfd(MEMORY_BYTES)
        self._memory = mmap.mmap(self._memory_fd, MEMORY_BYTES)
        self._sent = 0
        self.dataplane = DataPlane(self._counters_fd)
        self._caller = self.dataplane.caller()
        self.switch = self.dataplane.add_switch("vale0")
        self.sender = self._add_guest("in", 1, 0, vhost_features())

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

    def send(self, vnet: bytes, frame: bytes, *, descriptors: int = 1) -> None:
        """Send a frame with this virtio-net header, in a chain of `descriptors`.

        All but the last of them have the same size; there are 128 at most.
        """
        data = vnet + bytes(2) + frame  # num_buffers means nothing here
        self._memory[BUFFER : BUFFER + len(data)] = data
        assert BUFFER + len(data) <= RECEIVER
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

    def drops(self) -> Counter[str]:
        """Return how many frames were dropped so far, by reason."""
        with Counters(Path(f"/proc/self/fd/{self._counters_fd}")) as counters:
            return sum((Counter(ring.drops) for ring in counters.rings()), Counter[str]())

    def _add_guest(self, name: str, vring: int, at: int, features: int) -> PortId:
        port = self.dataplane.add_port(PortSpec(name, switch=self.switch))
        vhost = self.dataplane.vhost(port)
        vhost.set_features(features & ~int(WITHOUT))
        vhost.set_memory([MemorySlot(0, MEMORY_BYTES, 0, 0)], [self._memory_fd])
        vhost.start_ring(vring, VringConfig(ENTRIES, 0, at, at + AVAIL, at + USED, -1, -1))
        return port


class VnetPath(Sender):
    """`forward` passes frames to a port with netmap rings and the MTU `mtu`."""

    def __init__(self, mtu: int = 0) -> None:
        super().__init__()
        rings = FrontEndKind.RINGS
        spec = PortSpec("out", front_end=rings, switch=self.switch, slots=RING_SLOTS, mtu=mtu)
        self._user = RingUser(self.dataplane, self._caller, self.dataplane.add_port(spec))

    def forward(self, vnet: bytes, frame: bytes, *, descriptors: int = 1) -> list[bytes]:
        """Return what becomes of a frame with this virtio-net header."""
        self.send(vnet, frame, descriptors=descriptors)
        return self._user.receive(RING_SLOTS)


class GuestPath(Sender):
    """`forward` passes frames to a guest that completes checksums, but takes no segments."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = 0
        for number in range(ENTRIES):
            at = RECEIVER + BUFFER + number * BUFFER_BYTES
            DESC.pack_into(self._memory, RECEIVER + DESC.size * number, at, BUFFER_BYTES, WRITE, 0)
            self._offer(number)
        self._add_guest("out", 0, RECEIVER, vhost_features() & ~int(SEGMENTS))

    def forward(self, vnet: bytes, frame: bytes) -> list[tuple[bytes, bytes]]:
        """Return what becomes of a frame, each with its virtio-net header.

        All of it together fits ENTRIES buffers of BUFFER_BYTES.
        """
        self.send(vnet, frame)
        found: list[tuple[bytes, bytes]] = []
        buffers = 0
        while self._taken != self._word(RECEIVER + USED + 2):
            number, length = struct.unpack_from(
                "<II", self._memory, RECEIVER + USED + 4 + 8 * (self._taken % ENTRIES)
            )
            at = RECEIVER + BUFFER + number * BUFFER_BYTES
            data = self._memory[at : at + length]
            if buffers == 0:
                buffers = struct.unpack_from("<H", data, 10)[0]
                found.append((data[: VNET_HEADER.size], data[12:]))
            else:
                found[-1] = found[-1][0], found[-1][1] + data
            buffers -= 1
            self._taken = (self._taken + 1) & 0xFFFF
            self._offer(number)
        return found

    def _offer(self, number: int) -> None:
        index = self._word(RECEIVER + AVAIL + 2)
        slot = RECEIVER + AVAIL + 4 + 2 * (index % ENTRIES)
        struct.pack_into("<H", self._memory, slot, number)
        struct.pack_into("<H", self._memory, RECEIVER + AVAIL + 2, (index + 1) & 0xFFFF)

    def _word(self, at: int) -> int:
        word: int = struct.unpack_from("<H", self._memory, at)[0]
        return word
