# SPDX-License-Identifier: BSD-2-Clause
"""Rings that this process shares with a ringpass backend: syncs by this process.

What a sync is, with the backend's workers or with the other end of a pipe, is `csrc/client`, in the
extension `ringport._client`.
"""

import errno
import mmap
import os
import select
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ringport._client import ffi, lib
from ringport.errors import Error
from ringport.region import Region
from ringport.transport import Watch

if TYPE_CHECKING:
    from ringport.ring import Ring

#: Seconds between looks at a ring whose other side cannot notify.
NAP_S = 0.001


class Client(ABC):
    """The rings of one registration, as `csrc/abi/rp_attach.h` describes them to a process."""

    def __init__(self, name: str, attachment: bytes, fds: Sequence[int]) -> None:
        """Take over `fds`, whatever becomes of it. Raises Error."""
        self._name = name
        client = lib.rp_client_open(attachment, len(attachment), list(fds), len(fds))
        if client == ffi.NULL:
            code = ffi.errno
            why = f"the backend's answer cannot be used: {os.strerror(code)}"
            raise Error(code, f"cannot open {name}", why, "is the backend of the same version?")
        self._client: Any = client
        self._epoll: select.epoll | None = None
        region = lib.rp_client_region_fd(client)
        # A mapping of our own: arrays may outlive the client's.
        self._map = mmap.mmap(region, lib.rp_client_bytes(client))
        status = os.fstat(region)
        self.region = Region(memoryview(self._map), (status.st_dev, status.st_ino))
        self.nifp_offset = int(lib.rp_client_nifp_offset(client))
        self.mem_id = int(lib.rp_client_mem_id(client))
        self._tx: list[tuple[Ring, int]] = []
        self._rx: list[tuple[Ring, int]] = []
        self._numbers: dict[int, int] = {}
        self._armed: list[int] = []

    @abstractmethod
    def check(self, what: str) -> None:
        """Raise Error if the port is broken: that `what` failed, and the reason in words."""

    def attach(self, rings: "Sequence[Ring]") -> None:
        """Find the client's number of each ring."""
        count = lib.rp_client_rings(self._client)
        numbers = {int(lib.rp_client_ring_offset(self._client, i)): i for i in range(count)}
        for ring in rings:
            number = self._numbers[id(ring)] = numbers[ring.place.offset]
            (self._tx if ring.is_tx else self._rx).append((ring, number))

    def txsync(self) -> None:
        """Do a txsync of all tx rings."""
        client, sync = self._client, lib.rp_client_sync
        for ring, number in self._tx:
            if code := sync(client, number):
                raise self._failed(ring, code)

    def rxsync(self) -> None:
        """Do an rxsync of all rx rings. Frames that came before their port broke are had first."""
        client, sync = self._client, lib.rp_client_sync
        broken: Ring | None = None
        for ring, number in self._rx:
            if self._epoll is not None:
                lib.rp_client_arm(client, number)
            if code := sync(client, number):
                if code != -errno.EIO:
                    raise self._failed(ring, code)
                broken = ring
        if broken is not None and all(ring.cur == ring.tail for ring, _ in self._rx):
            raise self._failed(broken, -errno.EIO)

    def sync(self, ring: "Ring") -> None:
        """Sync one ring."""
        if code := lib.rp_client_sync(self._client, self._numbers[id(ring)]):
            raise self._failed(ring, code)

    def watch(self, *, rx: bool, tx: bool) -> Watch | None:
        """Arm the rings, then look once more."""
        watched = [*(self._rx if rx else []), *(self._tx if tx else [])]
        for _, number in watched:
            lib.rp_client_arm(self._client, number)
            self._armed.append(number)
        if rx:
            self.rxsync()
        if tx:
            self.txsync()
        if any(ring.cur != ring.tail for ring, _ in watched):
            return None
        fds = [int(lib.rp_client_call_fd(self._client, number)) for _, number in watched]
        return Watch([(fd, select.POLLIN) for fd in fds if fd >= 0], NAP_S if -1 in fds else None)

    def unwatch(self) -> None:
        """Disarm the rings."""
        while self._armed:
            lib.rp_client_disarm(self._client, self._armed.pop())

    def fileno(self) -> int:
        """Return a descriptor that is readable when frames came after the last rxsync.

        From the first call on each rxsync asks to be notified of the next frames.
        """
        if self._epoll is None:
            self._epoll = select.epoll()
            for _, number in self._rx:
                fd = int(lib.rp_client_call_fd(self._client, number))
                if fd >= 0:
                    self._epoll.register(fd, select.EPOLLIN)
        return self._epoll.fileno()

    def handle(self, ring: "Ring") -> tuple[int, int]:
        """Return the address of the `struct rp_client` and the ring's number, for C code."""
        return int(ffi.cast("uintptr_t", self._client)), self._numbers[id(ring)]

    def close(self) -> None:
        """Give the port back, and unmap its memory, as far as nobody holds arrays of it."""
        if self._client is None:
            return
        lib.rp_client_close(self._client)
        self._client = None
        self.region.memory.release()
        with suppress(BufferError):
            self._map.close()
        if self._epoll is not None:
            self._epoll.close()

    def _failed(self, ring: "Ring", code: int) -> Error:
        direction = "tx" if ring.is_tx else "rx"
        what = f"cannot sync {direction} ring {ring.number} of {self._name}"
        if code == -errno.EIO:
            self.check(what)
            if ring.is_tx:
                return Error(errno.EIO, what, "a monitor sends nothing", "send on another port")
            return Error(errno.EIO, what, "the port was broken until now", "try again")
        why = "its head, or that of the other side, is not where it may be"
        return Error(-code, what, why, "close the port and open it again")
