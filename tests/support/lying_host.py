# SPDX-License-Identifier: BSD-2-Clause
"""A host that lies: a server of QEMU's ivshmem-doorbell device with a region of its own making.

`Host` is honest: a driver that believes it has a port with one ring each way. What it shows and
says goes through methods, each of which a lie replaces.
"""

import mmap
import os
import selectors
import socket
import struct
import threading
from pathlib import Path
from typing import Any, ClassVar, Self

from ringpass._dp import ffi
from ringpass.netmap.attach import ATTACHMENT, RING
from ringpass.netmap.session import done
from ringpass.passthrough import ivshmem
from ringpass.passthrough.guest import Op
from ringpass.passthrough.pairs import drain

BYTES = 1 << 20
VECTORS = 3
TX_VECTOR, RX_VECTOR = 1, 2
PEER = 5
SLOTS = 32
NO_PEER = 0xFFFFFFFF
GUESTS_AT, CSBS_AT, IFS_AT, RINGS_AT, BUFS_AT = 4096, 16384, 20480, 32768, 65536
TX, RX = 1, 0
ANSWER_BYTES = 3840


class Host:
    """One device's server, on a socket of its own."""

    says: ClassVar[str] = ""
    """What the driver should have to say of it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / f"{type(self).__name__}.sock"
        self.doorbells = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(VECTORS)]
        self.vectors = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(VECTORS)]
        self.fd = os.memfd_create(type(self).__name__)
        os.ftruncate(self.fd, BYTES)
        self.memory = mmap.mmap(self.fd, BYTES)
        self.window = ffi.from_buffer(self.memory)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.fspath(self.path))
        self.listener.listen()
        self.requests: list[int] = []
        self.describe()

    def at(self, kind: str, offset: int) -> Any:
        """Return what lies at an offset of the region, as a C structure that can be written."""
        return ffi.cast(f"struct {kind} *", ffi.cast("char *", self.window) + offset)

    def describe(self) -> None:
        """Fill in the region."""
        directory = self.at("rp_directory", 0)
        directory.magic = int.from_bytes(b"ringpass", "little")
        directory.version = 3
        directory.region_bytes = BYTES
        for pool, offset, count, size in (
            ("csb_pool", CSBS_AT, 2, 256),
            ("if_pool", IFS_AT, 2, 1024),
            ("ring_pool", RINGS_AT, 2, 1024),
            ("buf_pool", BUFS_AT, 128, 2048),
            ("guest_pool", GUESTS_AT, 1, 8192),
        ):
            place = getattr(directory, pool)
            place.offset, place.objtotal, place.objsize = offset, count, size
        record = self.at("rp_guest", GUESTS_AT)
        record.peer, record.version, record.epoch, record.link = PEER, 1, 1, 1
        record.mac = [2, 0, 0, 0, 0, 1]
        record.mtu, record.vectors, record.opens = 1500, VECTORS, 4
        record.tx_rings = record.rx_rings = 1
        record.tx_slots = record.rx_slots = SLOTS
        record.port = b"vale9:lie"
        for number in (0, 1):
            ring = self.ring(number)
            ring.num_slots, ring.nr_buf_size, ring.dir = SLOTS, 2048, TX if number == 0 else RX
            for slot in range(SLOTS):
                ring.slot[slot].buf_idx = 2 + number * SLOTS + slot
            self.csb(number).ring_offset = RINGS_AT + number * 1024
            self.csb(number).peer = self.csb(number).monitor = NO_PEER
        self.csb(0).ktoa.hwtail = SLOTS - 1

    def ring(self, number: int) -> Any:
        """Return the ring 0 (tx) or 1 (rx)."""
        return self.at("netmap_ring", RINGS_AT + number * 1024)

    def csb(self, number: int) -> Any:
        """Return a ring's CSB."""
        return self.at("rp_csb", CSBS_AT + number * 256)

    def rings(self) -> list[bytes]:
        """Return what is said of the rings that were registered."""
        return [
            RING.pack(RINGS_AT, 0, NO_PEER, TX, 0, 0, TX_VECTOR, TX_VECTOR, -1, 0),
            RING.pack(RINGS_AT + 1024, 1, NO_PEER, RX, 0, 0, -1, RX_VECTOR, -1, 0),
        ]

    def attachment(self) -> bytes:
        """Return what is said of a registration."""
        rings = self.rings()
        return ATTACHMENT.pack(BYTES, IFS_AT, 0, 1, 1, len(rings), 0) + b"".join(rings)

    def answer(self, op: int, data: bytes) -> bytes:
        """Return the answer to a request."""
        if op != Op.CALL:
            return done(b"").data
        payload, attached = data[16:], self.attachment()
        head = struct.pack("<IiII", 0x706E7072, 0, len(payload), len(attached)) + bytes(240)
        return head + payload + attached

    def post(self, sent: int, data: bytes) -> None:
        """Let the guest have an answer."""
        record = self.at("rp_guest", GUESTS_AT)
        ffi.memmove(record.answer, data, len(data))
        record.answer_bytes = len(data)
        record.answered = sent
        self.call(0)

    def call(self, vector: int) -> None:
        """Interrupt the guest."""
        os.eventfd_write(self.vectors[vector], 1)

    def serve(self) -> None:
        """Answer the request that is in the mailbox."""
        drain(self.doorbells[0])
        request = self.at("rp_guest_request", GUESTS_AT + 4096)
        if request.sent == self.at("rp_guest", GUESTS_AT).answered:
            return
        op, data = request.op, bytes(ffi.buffer(request.data)[: request.bytes])
        self.requests.append(op)
        self.post(request.sent, self.answer(op, data))
        if op == Op.CALL:
            self.registered()

    def registered(self) -> None:
        """The guest has its rings: for what a host may do to them then."""

    def introduce(self) -> None:
        """Accept QEMU and tell it all that it needs."""
        connected, _ = self.listener.accept()
        for word in ivshmem.introduction(PEER, self.fd, self.doorbells, self.vectors):
            fds = [word.fd] if word.fd >= 0 else []
            socket.send_fds(connected, [struct.pack("<q", word.value)], fds)
        self.connected = connected


class Hosts:
    """Hosts that are served by a thread, as long as the context lasts."""

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = hosts
        self.stop = os.eventfd(0)
        self.thread = threading.Thread(target=self.run)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.eventfd_write(self.stop, 1)
        self.thread.join()
        os.close(self.stop)
        for host in self.hosts:
            host.listener.close()
            for fd in (*host.doorbells, *host.vectors, host.fd):
                os.close(fd)

    def run(self) -> None:
        """Serve until told to stop."""
        with selectors.DefaultSelector() as selector:
            for host in self.hosts:
                selector.register(host.listener, selectors.EVENT_READ, host.introduce)
                selector.register(host.doorbells[0], selectors.EVENT_READ, host.serve)
            selector.register(self.stop, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fd == self.stop:
                        return
                    key.data()
