# SPDX-License-Identifier: BSD-2-Clause
"""The whole backend in this process: ports without a daemon, for scripts and tests.

    with ringpass.Backend() as backend, backend.open("vale0:a") as a, backend.open("vale0:b") as b:
        a.tx[0].put(frame)
        a.txsync()

The threads that call run the syncs: nothing moves between the calls, and no thread is made.
"""

import errno
import mmap
import os
import select
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from tempfile import TemporaryFile
from typing import Self

from ringpass.dataplane import NO_WORKER, Caller, DataPlane, Kind, PortId
from ringpass.errors import RingpassError
from ringpass.netmap.attach import describe
from ringpass.netmap.call import Device
from ringpass.netmap.device import Open
from ringpass.netmap.peer import Peer
from ringpass.netmap.port import Registration
from ringpass.netmap.ports import Ports
from ringpass.netmap.regions import Regions
from ringpass.netmap.switches import Switches
from ringpass.nic.provider import Interfaces
from ringport import Port, register
from ringport.errors import Error
from ringport.portspec import parse
from ringport.region import Region
from ringport.ring import Ring
from ringport.transport import Binding, Watch
from ringport.transport.client import Client


class Backend:
    """A backend of this process. Use it as a context manager: closing it closes its ports.

    With a `worker` a thread of its own moves the frames, as in a daemon: ports of interfaces
    (`netmap:eth0`) need that. Ports may be opened, used and closed by several threads, each port
    by one at a time.
    """

    def __init__(self, *, worker: bool = False) -> None:
        self._counters = TemporaryFile()  # noqa: SIM115  close() closes it
        self._plane = DataPlane(self._counters.fileno())
        place = self._plane.add_worker() if worker else NO_WORKER
        regions, switches = Regions(self._plane), Switches(self._plane)
        self._nics = Interfaces(self._plane, lambda: place) if worker else None
        ports = Ports(self._plane, switches, regions, lambda _: place, self._nics)
        self._device = Device(self._plane, switches, regions, ports)
        self._lock = threading.RLock()
        self._open: list[Port] = []
        self._callers = threading.local()
        self._all_callers: list[Caller] = []
        self._waiting: set[int] = set()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all ports and the data plane. A second close does nothing."""
        with self._lock:
            self._closed = True
        while self._open:
            self._open.pop().close()
        while self._all_callers:
            self._all_callers.pop().close()
        if self._nics is not None:
            self._nics.close()
        self._plane.close()
        self._counters.close()

    def open(self, name: str, *, extra_bufs: int = 0) -> Port:
        """Open the port that `name` means, as `ringport.open`. What it needs is made with it.

        Raises ringport.Error, EBADF if the backend was closed.
        """
        spec = parse(name)
        with self._lock:
            if self._closed:
                raise Error(errno.EBADF, f"cannot open {name}", "its backend was closed")
            device = Open(self._device, Peer(os.getpid(), os.geteuid()))
            try:
                mem_id = register.memory(spec, partial(_request, device, name))
                answer = _request(device, name, register.register(spec, mem_id, extra_bufs))
                port = Port(name, self._bind(name, device, register.registered(answer)))
            except BaseException:
                device.close()
                raise
            self._open = [port for port in self._open if not port.closed] + [port]
        return port

    def handle(self, ring: Ring) -> tuple[int, int]:
        """Return what C code needs to sync `ring` of an open port that is a pipe's end, or moved by
        a worker: the address of its `struct rp_client`, and its number there.
        """
        for port in self._open:
            binding = port._binding  # noqa: SLF001
            if ring in port.rings and isinstance(binding, Client):
                return binding.handle(ring)
        raise Error(errno.ENOENT, "cannot hand a ring to C", "it is of no such port")

    def _bind(self, name: str, device: Open, answer: register.Registered) -> Binding:
        """Return who syncs the rings: the calling thread, or client and worker as in a process."""
        registration = device.registration
        assert registration is not None
        port = registration.port
        if port.kind is not Kind.LINK and port.worker == NO_WORKER:
            return _Called(self, name, device, answer)
        found = describe(self._plane, self._device.regions, registration)
        return _Shared(self, name, device, found.data, [os.dup(fd) for fd in found.fds])

    def _release(self, device: Open) -> None:
        with self._lock:
            device.close()

    def _caller(self) -> Caller:
        """Return the right of this thread to sync."""
        caller: Caller | None = getattr(self._callers, "caller", None)
        if caller is None:
            with self._lock:
                caller = self._callers.caller = self._plane.caller()
                self._all_callers.append(caller)
        return caller

    def _moved(self, by: int) -> None:
        """Wake who waits for a port, but for `by`: perhaps something moved on theirs."""
        for event in self._waiting - {by}:
            os.eventfd_write(event, 1)


def _request(device: Open, name: str, request: register.Request) -> bytes:
    header, options = register.encode(request)
    reply = device.control(header, request.body, options)
    if reply.error is not None:
        error = reply.error
        raise Error(error.errno or errno.EIO, f"cannot open {name}", error.why, error.fix)
    return reply.body


class _Shared(Client):
    """Rings with CSBs: synced as another process does it."""

    def __init__(
        self, backend: Backend, name: str, device: Open, attachment: bytes, fds: list[int]
    ) -> None:
        super().__init__(name, attachment, fds)
        self._device = device
        self._release: Callable[[], None] | None = lambda: backend._release(device)  # noqa: SLF001

    def check(self, what: str) -> None:
        """Raise Error if the port is broken, with the reason."""
        try:
            self._device.check()
        except RingpassError as error:
            raise Error(errno.EIO, what, error.why, error.fix) from None

    def close(self) -> None:
        """Give the port back, and unmap its memory, as far as nobody holds arrays of it."""
        super().close()
        release, self._release = self._release, None
        if release is not None:
            release()


class _Called:
    """Rings without CSBs: synced by whoever calls."""

    def __init__(
        self, backend: Backend, name: str, device: Open, answer: register.Registered
    ) -> None:
        registration = device.registration
        assert registration is not None
        assert registration.port.region is not None
        self._backend = backend
        self._name = name
        self._device = device
        self._registration: Registration = registration
        pools = backend._plane.region_pools(registration.port.region.id)  # noqa: SLF001  one unit
        self._map = mmap.mmap(pools.fd, pools.size)
        status = os.fstat(pools.fd)
        self.region = Region(memoryview(self._map), (status.st_dev, status.st_ino))
        self.nifp_offset = answer.nifp_offset
        self.mem_id = answer.mem_id
        self._tx: list[Ring] = []
        self._rx: list[Ring] = []
        self._event = -1
        self._listens = False
        self._closed = False

    def attach(self, rings: Sequence[Ring]) -> None:
        """Remember which rings to sync."""
        self._tx = [ring for ring in rings if ring.is_tx]
        self._rx = [ring for ring in rings if not ring.is_tx]
        self._heads = {ring.number: ring.head for ring in self._rx}

    def txsync(self) -> None:
        """Do a txsync of all tx rings, in this thread."""
        self._sync(self._tx)

    def rxsync(self) -> None:
        """Do an rxsync of all rx rings, in this thread."""
        if self._listens:
            self._forget()
        self._sync(self._rx)

    def sync(self, ring: Ring) -> None:
        """Sync one ring, in this thread."""
        self._sync([ring])

    def _sync(self, rings: Sequence[Ring]) -> None:
        caller = self._backend._caller()  # noqa: SLF001
        port = self._registration.port.id
        moved = False
        for ring in rings:
            try:
                if ring.is_tx:
                    moved |= caller.txsync(port, ring.number) > 0
                else:
                    caller.rxsync(port, ring.number)
                    moved |= ring.head != self._heads[ring.number]
                    self._heads[ring.number] = ring.head
            except RingpassError as error:
                raise self._failure(ring, port, error) from None
        if moved and self._backend._waiting:  # noqa: SLF001
            self._backend._moved(self._event)  # noqa: SLF001

    def _failure(self, ring: Ring, port: PortId, error: RingpassError) -> Error:
        what = f"cannot sync {'tx' if ring.is_tx else 'rx'} ring {ring.number} of {self._name}"
        broken = self._backend._plane.port_status(port).broken  # noqa: SLF001
        if broken:
            return Error(errno.EIO, what, broken, "close it and open it again")
        return Error(error.errno, what, error.why)

    def watch(self, *, rx: bool, tx: bool) -> Watch | None:
        """Be told of the next sync of another port; look once more behind that."""
        event = self._listen()
        self._forget()
        watched = [*(self._rx if rx else []), *(self._tx if tx else [])]
        self._sync(watched)
        if any(ring.cur != ring.tail for ring in watched):
            return None
        return Watch([(event, select.POLLIN)])

    def unwatch(self) -> None:
        """Stop to listen."""
        if not self._listens:
            self._backend._waiting.discard(self._event)  # noqa: SLF001

    def fileno(self) -> int:
        """Return a descriptor that is readable when something moved after the last rxsync."""
        self._listens = True
        return self._listen()

    def _listen(self) -> int:
        if self._event < 0:
            self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._backend._waiting.add(self._event)  # noqa: SLF001
        return self._event

    def _forget(self) -> None:
        """Take back what was told so far."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)

    def close(self) -> None:
        """Give the port back, and unmap its memory, as far as nobody holds arrays of it."""
        if self._closed:
            return
        self._closed = True
        self._backend._release(self._device)  # noqa: SLF001
        self.region.memory.release()
        with suppress(BufferError):
            self._map.close()
        if self._event >= 0:
            self._backend._waiting.discard(self._event)  # noqa: SLF001
            os.close(self._event)
