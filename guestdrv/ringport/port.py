# SPDX-License-Identifier: BSD-2-Clause
"""An open port: its rings, and how to sync them and to wait for them."""

import asyncio
import errno
import select
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ringport.errors import Error
from ringport.ring import Ring
from ringport.transport import Binding, Watch


class Port:
    """An open port. Use it as a context manager.

    `tx` and `rx` are its rings; those of the host's network stack, where the name asks for them,
    are `host_tx` and `host_rx`. Frames move when the port is synced and only then. A port belongs
    to one thread at a time.
    """

    def __init__(self, name: str, binding: Binding) -> None:
        self.name = name
        self.mem_id = binding.mem_id
        """netmap's number of its region; ports of equal `region_key` can swap buffers."""
        self.region_key = binding.region.key
        self._binding: Binding | None = binding
        try:
            self._find_rings(binding)
            binding.attach(self.rings)
        except BaseException:
            binding.close()
            raise

    def _find_rings(self, binding: Binding) -> None:
        region = binding.region
        places = region.rings(binding.nifp_offset)
        self.rings = tuple(Ring(region, place, binding.sync) for place in places)
        """All rings, in netmap's order: tx, host tx, rx, host rx."""
        self.tx = self._some(tx=True, host=False)
        self.host_tx = self._some(tx=True, host=True)
        self.rx = self._some(tx=False, host=False)
        self.host_rx = self._some(tx=False, host=True)
        self.extra_bufs: list[int] = []
        """Indexes of the buffers that are in no slot. On close the port gives back those that are
        here: who swaps one into a slot puts the slot's into its place."""
        if self.rings:
            first = self.rings[0]
            self.extra_bufs = region.extra_bufs(
                binding.nifp_offset, first.buffer_memory, first.buf_size
            )

    def _some(self, *, tx: bool, host: bool) -> tuple[Ring, ...]:
        return tuple(ring for ring in self.rings if (ring.is_tx, ring.is_host) == (tx, host))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether the port was closed."""
        return self._binding is None

    def close(self) -> None:
        """Give the port back. A second close does nothing.

        Slots, buffers and batches are of no use afterwards; arrays that are still around keep
        the memory mapped.
        """
        binding, self._binding = self._binding, None
        if binding is None:
            return
        if self.extra_bufs:
            first = self.rings[0]
            binding.region.set_extra_bufs(
                binding.nifp_offset, self.extra_bufs, first.buffer_memory, first.buf_size
            )
        for ring in self.rings:
            ring._release()  # noqa: SLF001  the port made it
        binding.close()

    def fileno(self) -> int:
        """Return the descriptor of the port, for `select`, `poll` and `epoll`; the port owns it.

        Raises Error(ENOTSUP) where there is none.
        """
        return self._open().fileno()

    def txsync(self) -> None:
        """Send what was put into the tx rings, and get back the slots of what has been sent."""
        self._open().txsync()

    def rxsync(self) -> None:
        """Give back the rx slots that were advanced over, and get new frames."""
        self._open().rxsync()

    def buffer(self, buf_idx: int) -> memoryview:
        """Return all bytes of a buffer, such as one of `extra_bufs`. Raises Error(EFAULT)."""
        return self.rings[0].buffer(buf_idx)

    def wait_readable(self, timeout: float | None = None) -> bool:
        """Sync and wait until an rx ring has frames; return False after `timeout` seconds."""
        return wait(readable=[self], timeout=timeout)

    def wait_writable(self, timeout: float | None = None) -> bool:
        """Sync and wait until a tx ring has free slots; return False after `timeout` seconds."""
        return wait(writable=[self], timeout=timeout)

    async def readable(self) -> None:
        """Sync and wait until an rx ring has frames, while other coroutines run."""
        await _ready(_Wanted([self], []))

    async def writable(self) -> None:
        """Sync and wait until a tx ring has free slots, while other coroutines run."""
        await _ready(_Wanted([], [self]))

    def _open(self) -> Binding:
        if self._binding is None:
            raise Error(errno.EBADF, f"cannot use port {self.name}", "it was closed")
        return self._binding

    def _has_frames(self) -> bool:
        self._open().rxsync()
        return any(ring.cur != ring.tail for ring in (*self.rx, *self.host_rx))

    def _has_room(self) -> bool:
        self._open().txsync()
        return any(ring.cur != ring.tail for ring in (*self.tx, *self.host_tx))


def wait(
    readable: Sequence[Port] = (), writable: Sequence[Port] = (), timeout: float | None = None
) -> bool:
    """Sync and wait for any of several ports; return False after `timeout` seconds.

    A port of `readable` ends it by having frames in an rx ring, one of `writable` by having free
    slots in a tx ring: slots from `cur` on.
    """
    wanted = _Wanted(readable, writable)
    until = None if timeout is None else time.monotonic() + timeout
    while not wanted.is_there():
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            return False
        with wanted as watch:
            if watch is not None:
                _sleep(watch, left)
    return True


class _Wanted:
    """What somebody waits for; a watch of it, None if it has come meanwhile, lasts for a block."""

    def __init__(self, readable: Sequence[Port], writable: Sequence[Port]) -> None:
        self._readable = readable
        self._writable = writable
        self._watched: list[Binding] = []

    def is_there(self) -> bool:
        # All ports are synced, whichever of them ends the wait.
        found = [port._has_frames() for port in self._readable]  # noqa: SLF001
        found += [port._has_room() for port in self._writable]  # noqa: SLF001
        return any(found)

    def __enter__(self) -> Watch | None:
        fds: list[tuple[int, int]] = []
        naps: list[float] = []
        for port in dict.fromkeys([*self._readable, *self._writable]):
            binding = port._open()  # noqa: SLF001
            self._watched.append(binding)
            watch = binding.watch(rx=port in self._readable, tx=port in self._writable)
            if watch is None:
                return None
            fds += watch.fds
            naps += [] if watch.nap_s is None else [watch.nap_s]
        return Watch(fds, min(naps, default=None))

    def __exit__(self, *_: object) -> None:
        while self._watched:
            self._watched.pop().unwatch()


async def _ready(wanted: _Wanted) -> None:
    while not wanted.is_there():
        with wanted as watch:
            if watch is not None:
                await _asleep(watch)


def _sleep(watch: Watch, seconds: float | None) -> None:
    """Sleep until a descriptor of `watch` is ready, for `seconds` at most."""
    poll = select.poll()
    for fd, mask in watch.fds:
        poll.register(fd, mask)
    limits = [limit for limit in (seconds, watch.nap_s) if limit is not None]
    # In milliseconds, rounded up: a wait that ends early would be one for nothing.
    ready = poll.poll(int(min(limits) * 1000) + 1 if limits else None)
    _refuse_broken(ready)


async def _asleep(watch: Watch) -> None:
    """Sleep until a descriptor of `watch` is ready, while other coroutines run."""
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    with select.epoll() as epoll:  # one descriptor for any masks
        for fd, mask in watch.fds:
            epoll.register(fd, mask)
        loop.add_reader(epoll.fileno(), woken.set)
        try:
            async with asyncio.timeout(watch.nap_s):
                await woken.wait()
        except TimeoutError:
            return
        finally:
            loop.remove_reader(epoll.fileno())
        _refuse_broken(epoll.poll(0))


def _refuse_broken(ready: list[tuple[int, int]]) -> None:
    for _, mask in ready:
        if mask & (select.POLLERR | select.POLLNVAL | select.POLLHUP):
            raise Error(
                errno.EPIPE, "cannot wait for a port", "who served it is gone", "open it again"
            )
