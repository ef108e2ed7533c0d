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
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import count
from tempfile import TemporaryFile
from typing import Self

from ringpass.dataplane import (
    Caller,
    DataPlane,
    FrontEndKind,
    Full,
    Kind,
    MonitorFlags,
    PortId,
    PortSpec,
    SwitchId,
)
from ringpass.errors import RingpassError
from ringport import Port
from ringport.errors import Error
from ringport.portspec import Flag, parse
from ringport.portspec import PortSpec as Asked
from ringport.region import Region
from ringport.ring import Ring
from ringport.transport import Watch

_MONITOR_FLAGS = {
    Flag.NR_MONITOR_TX: MonitorFlags.TX,
    Flag.NR_MONITOR_RX: MonitorFlags.RX,
    Flag.NR_ZCOPY_MON: MonitorFlags.TX | MonitorFlags.RX | MonitorFlags.ZCOPY,
}
_MONITOR = Flag.NR_MONITOR_TX | Flag.NR_MONITOR_RX | Flag.NR_ZCOPY_MON


class Backend:
    """A backend of this process. Use it as a context manager: closing it closes its ports.

    Ports may be opened and used by several threads, each port by one at a time.
    """

    def __init__(self) -> None:
        self._counters = TemporaryFile()  # noqa: SIM115  close() closes it
        self._dataplane = DataPlane(self._counters.fileno())
        self._lock = threading.Lock()
        self._switches: dict[str, SwitchId] = {}
        self._open: dict[str, Port] = {}
        self._ports: dict[str, PortId] = {}
        self._callers = threading.local()
        self._all_callers: list[Caller] = []
        self._waiting: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all ports and the data plane. A second close does nothing."""
        for port in list(self._open.values()):
            port.close()
        for caller in self._all_callers:
            caller.close()
        self._all_callers.clear()
        self._dataplane.close()
        self._counters.close()

    def open(self, name: str) -> Port:
        """Open the port `name`; its switch is made if there is none. As `ringport.open`."""
        spec = parse(name)
        with self._lock:
            title = spec.name
            if spec.flags & _MONITOR:
                title = self._monitor_name(spec.name)
                added = self._add_monitor(spec, title)
            else:
                added = self._add(spec)
            port = Port(name, _Binding(self, title, added))
            self._open[title] = port
            self._ports[title] = added
        return port

    def _moved(self) -> None:
        """Wake whoever waits for a port: perhaps it was theirs that something moved on."""
        for event in tuple(self._waiting):
            os.eventfd_write(event, 1)

    def _add(self, spec: Asked) -> PortId:
        """Make the port that `spec` names in the data plane."""
        switch, colon, _ = spec.name.partition(":")
        if not colon or spec.parent or spec.share or spec.mem_id or spec.offset or spec.extmem:
            raise Error(
                errno.EOPNOTSUPP,
                f"cannot open {spec.name}",
                "a backend of this process serves ports of its switches only",
                "choose a name such as vale0:a",
            )
        if spec.name in self._open:
            raise Error(errno.EBUSY, f"cannot open {spec.name}", "it is open", "close it first")
        if switch not in self._switches:
            self._switches[switch] = self._dataplane.add_switch(switch)
        return self._dataplane.add_port(
            PortSpec(
                spec.name,
                front_end=FrontEndKind.RINGS,
                switch=self._switches[switch],
                tx_rings=spec.tx_rings or 1,
                rx_rings=spec.rx_rings or 1,
                slots=max(spec.tx_slots, spec.rx_slots) or 1024,
                full=Full.DROP,
            )
        )

    def _monitor_name(self, parent: str) -> str:
        """Return a name for one more monitor of a port: each open of one is a port of its own."""
        return next(name for i in count(1) if (name := f"{parent}/{i}") not in self._open)

    def _add_monitor(self, spec: Asked, title: str) -> PortId:
        """Make a monitor of the open port that `spec` names."""
        parent = self._ports.get(spec.name)
        if parent is None:
            raise Error(
                errno.EINVAL,
                f"cannot monitor {spec.name}",
                "there is no such port",
                "open it first",
            )
        rings = len(self._open[spec.name].tx), len(self._open[spec.name].rx)
        monitor = self._dataplane.add_port(
            PortSpec(
                title,
                kind=Kind.MONITOR,
                front_end=FrontEndKind.RINGS,
                rx_rings=max(rings),
                slots=spec.rx_slots or 1024,
                full=Full.DROP,
            )
        )
        flags = MonitorFlags(0)
        for asked, flag in _MONITOR_FLAGS.items():
            flags |= flag if spec.flags & asked else MonitorFlags(0)
        try:
            self._dataplane.attach_monitor(monitor, parent, flags)
        except RingpassError as error:
            self._dataplane.remove_port(monitor)
            raise Error(error.errno, error.what, error.why, error.fix) from None
        return monitor

    def _remove(self, name: str, port: PortId) -> None:
        with self._lock:
            self._dataplane.remove_port(port)
            self._open.pop(name, None)
            self._ports.pop(name, None)

    def _caller(self) -> Caller:
        """Return the right of this thread to sync."""
        caller: Caller | None = getattr(self._callers, "caller", None)
        if caller is None:
            caller = self._callers.caller = self._dataplane.caller()
            with self._lock:
                self._all_callers.append(caller)
        return caller


class _Binding:
    """A port of a backend of this process."""

    def __init__(self, backend: Backend, name: str, port: PortId) -> None:
        info = backend._dataplane.port_region(port)  # noqa: SLF001  one unit
        self._backend = backend
        self._name = name
        self._port = port
        self._map = mmap.mmap(info.fd, info.bytes)
        self.region = Region(memoryview(self._map), (id(backend), port))
        self.nifp_offset = info.nifp_offset
        self.mem_id = 0
        self._tx: Sequence[int] = ()
        self._rx: Sequence[int] = ()
        self._event = -1
        self._closed = False

    def attach(self, rings: Sequence[Ring]) -> None:
        """Remember which rings to sync."""
        self._tx = [ring.number for ring in rings if ring.is_tx]
        self._rx = [ring.number for ring in rings if not ring.is_tx]

    def txsync(self) -> None:
        """Do a txsync of all tx rings, in this thread."""
        self._sync("txsync", self._tx)

    def rxsync(self) -> None:
        """Do an rxsync of all rx rings, in this thread."""
        self._sync("rxsync", self._rx)

    def sync(self, ring: Ring) -> None:
        """Sync one ring, in this thread."""
        self._sync("txsync" if ring.is_tx else "rxsync", [ring.number])

    def _sync(self, what: str, rings: Iterable[int]) -> None:
        caller = self._backend._caller()  # noqa: SLF001
        sync = caller.txsync if what == "txsync" else caller.rxsync
        for ring in rings:
            try:
                sync(self._port, ring)
            except RingpassError as error:
                raise self._failure(what, error) from None
        if self._backend._waiting:  # noqa: SLF001
            self._backend._moved()  # noqa: SLF001

    def _failure(self, what: str, error: RingpassError) -> Error:
        broken = self._backend._dataplane.port_status(self._port).broken  # noqa: SLF001
        fix = "close it and open it again" if broken else ""
        return Error(error.errno, f"{what} of {self._name} failed", broken or error.why, fix)

    def watch(self, *, rx: bool, tx: bool) -> Watch:  # noqa: ARG002  any sync may be of interest
        """Wait for the next sync of another port."""
        event = self.fileno()
        self._backend._waiting.add(event)  # noqa: SLF001
        return Watch([(event, select.POLLIN)])

    def unwatch(self) -> None:
        """Stop to listen."""
        self._backend._waiting.discard(self._event)  # noqa: SLF001
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when another port of the backend is synced."""
        if self._event < 0:
            self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return self._event

    def close(self) -> None:
        """Remove the port and unmap its memory, as far as nobody holds arrays of it."""
        if self._closed:
            return
        self._closed = True
        self._backend._remove(self._name, self._port)  # noqa: SLF001
        self.region.memory.release()
        with suppress(BufferError):
            self._map.close()
        if self._event >= 0:
            os.close(self._event)
