# SPDX-License-Identifier: BSD-2-Clause
"""A virtio-net driver in a few lines: a front end with rings in a memfd, without a guest.

Its memory is one region:

    guest address 0                    PAIR_BYTES a queue pair                       MEMORY_BYTES
    | rx: desc avail used buffers | tx: desc avail used buffers | next pair ...
"""

import mmap
import os
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ringpass.dataplane import MemorySlot
from ringpass.vhostuser import messages as m
from ringpass.vhostuser.messages import Feature, ProtocolFeature, Request
from tests.support.vhost import RawFrontEnd, memfd
from tests.support.wait import PATIENCE_S

ENTRIES = 64
BUFFER_BYTES = 2048
RING_BYTES = ENTRIES * BUFFER_BYTES + 8192
HEADER = bytes(12)
USER_ADDRESS = 0x7F0000000000
FEATURES = Feature.VERSION_1 | Feature.PROTOCOL_FEATURES | Feature.MRG_RXBUF

DESC = struct.Struct("<QIHH")
WRITE = 2


class Ring:
    """A split virtqueue whose descriptor i always points to buffer i.

    Indexes are stored and loaded in one piece, which `struct` does not promise (it clears before
    it writes): the back end looks at any time.
    """

    def __init__(self, memory: mmap.mmap, index: int) -> None:
        self.index = index
        self.memory = memory
        self.words = memoryview(memory).cast("H")
        self.desc = index * RING_BYTES
        self.avail = self.desc + 2048
        self.used = self.desc + 4096
        self.buffers = self.desc + 8192
        self.made_available = 0
        self.seen = 0
        self.kick = os.eventfd(0)
        self.call = os.eventfd(0)

    def close(self) -> None:
        self.words.release()
        os.close(self.kick)
        os.close(self.call)

    def describe(self, number: int, length: int, flags: int) -> None:
        """Fill in descriptor `number`."""
        where = self.buffers + number * BUFFER_BYTES
        DESC.pack_into(self.memory, self.desc + number * DESC.size, where, length, flags, 0)

    def offer(self, number: int) -> None:
        """Make descriptor `number` available."""
        self.words[self.avail // 2 + 2 + self.made_available % ENTRIES] = number
        self.made_available = (self.made_available + 1) & 0xFFFF
        self.set_avail_index(self.made_available)

    def set_avail_index(self, index: int) -> None:
        """Say how many descriptors were ever made available; right or wrong."""
        self.words[self.avail // 2 + 1] = index

    def used_index(self) -> int:
        return self.words[self.used // 2 + 1]

    def take_used(self) -> tuple[int, int] | None:
        """Return the number and length of the next used descriptor, or None."""
        if self.used_index() == self.seen:
            return None
        at = self.used + 4 + 8 * (self.seen % ENTRIES)
        number, length = struct.unpack_from("<II", self.memory, at)
        self.seen = (self.seen + 1) & 0xFFFF
        return number, length


class MiniGuest:
    """A driver that is up on all queue pairs. Use it as a context manager.

    With `mac` it ignores frames that a switch floods to everybody, as a network card does. With
    `private` it keeps what it writes to itself, as QEMU does without share=on. Its rings are split
    ones; a test that takes RING_PACKED writes descriptors by itself.
    """

    def __init__(
        self,
        path: Path,
        pairs: int = 1,
        mac: str = "",
        *,
        features: int = FEATURES,
        private: bool = False,
        connect: Callable[[Path], RawFrontEnd] = RawFrontEnd.connect,
    ) -> None:
        self.mac = bytes.fromhex(mac.replace(":", ""))
        self.features = features
        self.memory_fd = memfd(2 * pairs * RING_BYTES)
        mapped = mmap.MAP_PRIVATE if private else mmap.MAP_SHARED
        self.memory = mmap.mmap(self.memory_fd, 2 * pairs * RING_BYTES, mapped)
        self.rings = [Ring(self.memory, index) for index in range(2 * pairs)]
        self.front_end = connect(path)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Go without a word."""
        self.front_end.socket.close()
        for ring in self.rings:
            ring.close()
        self.memory.close()
        os.close(self.memory_fd)

    def start(self) -> None:
        """Bring the device up, as a driver that was just loaded."""
        say = self.front_end
        say.send(Request.SET_OWNER)
        say.send(Request.SET_PROTOCOL_FEATURES, m.Number(ProtocolFeature.REPLY_ACK))
        say.send(Request.SET_FEATURES, m.Number(self.features))
        slot = MemorySlot(0, len(self.memory), USER_ADDRESS, 0)
        say.send(Request.SET_MEM_TABLE, m.MemoryTable((slot,)), [self.memory_fd])
        for ring in self.rings:
            self.reset_ring(ring)
            if ring.index % 2 == 0:
                for number in range(ENTRIES):
                    ring.describe(number, BUFFER_BYTES, WRITE)
                    ring.offer(number)
            self.start_ring(ring)

    @property
    def new_ring(self) -> int:
        """The base of a ring that was never used: a packed one begins with wrap counters of 1."""
        return 0x80008000 if self.features & Feature.RING_PACKED else 0

    def reset_ring(self, ring: Ring) -> None:
        """Empty a ring."""
        self.memory[ring.desc : ring.buffers] = bytes(ring.buffers - ring.desc)
        ring.made_available = ring.seen = 0

    def start_ring(self, ring: Ring) -> None:
        """Tell the back end of a ring; return when it runs."""
        say, index = self.front_end, ring.index
        say.send(Request.SET_VRING_NUM, m.VringState(index, ENTRIES))
        say.send(Request.SET_VRING_BASE, m.VringState(index, self.new_ring))
        desc, used, avail = (USER_ADDRESS + at for at in (ring.desc, ring.used, ring.avail))
        say.send(Request.SET_VRING_ADDR, m.VringAddress(index, 0, desc, used, avail, 0))
        say.send(Request.SET_VRING_KICK, m.VringFile(index), [ring.kick])
        say.send(Request.SET_VRING_CALL, m.VringFile(index), [ring.call])
        assert say.ask(Request.SET_VRING_ENABLE, m.VringState(index, 1)) == bytes(8)

    def send(self, frame: bytes, pair: int = 0) -> None:
        """Send one frame; return when the back end has taken it."""
        self.send_all([frame], pair)

    def send_all(self, frames: Sequence[bytes], pair: int = 0) -> None:
        """Send up to ENTRIES frames at once; return when the back end has taken them."""
        ring = self.rings[2 * pair + 1]
        for frame in frames:
            number = ring.made_available % ENTRIES
            at = ring.buffers + number * BUFFER_BYTES
            self.memory[at : at + 12 + len(frame)] = HEADER + frame
            ring.describe(number, 12 + len(frame), 0)
            ring.offer(number)
        os.eventfd_write(ring.kick, 1)
        for _ in frames:
            wait_for(lambda: ring.take_used() is not None, "the frame to be taken")

    def receive(self, timeout: float = PATIENCE_S) -> bytes:
        """Return the next frame, of any queue pair."""
        frames: list[bytes] = []
        wait_for(lambda: bool(self._collect(frames)), "a frame", timeout)
        return frames[0]

    def pending(self) -> bytes | None:
        """Return the next frame if there is one."""
        frames: list[bytes] = []
        return frames[0] if self._collect(frames) else None

    def _collect(self, frames: list[bytes]) -> bool:
        for ring in self.rings[::2]:
            if (used := ring.take_used()) is not None:
                number, length = used
                at = ring.buffers + number * BUFFER_BYTES
                received = self.memory[at + 12 : at + length]
                ring.offer(number)
                os.eventfd_write(ring.kick, 1)
                if received.startswith(self.mac):
                    frames.append(received)
                    return True
        return False


def wait_for(condition: Callable[[], object], what: str, timeout: float = PATIENCE_S) -> None:
    """Wait until `condition()` holds. Raises AssertionError when `timeout` seconds passed."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout:g} s for {what}"
        time.sleep(0.001)


def frame(destination: str, source: str, payload: bytes) -> bytes:
    """Return an Ethernet frame of a local experimental type, padded to the minimum."""
    addresses = bytes.fromhex((destination + source).replace(":", ""))
    return (addresses + b"\x88\xb5" + payload).ljust(60, b"\0")
