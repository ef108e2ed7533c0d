# SPDX-License-Identifier: BSD-2-Clause
"""The interfaces of the host for netmap's device; see `ringpass.netmap.nics`."""

import errno
from collections.abc import Callable
from contextlib import ExitStack

from ringpass.dataplane import (
    MAX_RING_PAIRS,
    DataPlane,
    FrontEndKind,
    Kind,
    PortId,
    PortSpec,
    SwitchId,
    WorkerId,
)
from ringpass.errors import RingpassError
from ringpass.netlink import links
from ringpass.netmap.abi import ValePolling
from ringpass.netmap.rings import Geometry
from ringpass.nic import devices
from ringpass.nic.interface import Interface
from ringpass.nic.nic import Nic
from ringpass.nic.polling import Polling

_NO_SWITCH = SwitchId(-1)


class Taken:
    """An interface that has ports of the data plane: its own, and one of its host stack."""

    def __init__(
        self, device: Interface | Nic, port: PortId, host_port: PortId | None, polling: Polling
    ) -> None:
        self.interface = device.interface
        self.port = port
        self.host_port = host_port
        self.undo = ExitStack()
        self._device = device
        self._polling = polling

    @property
    def mode(self) -> str:
        """How frames are moved."""
        return self._device.mode

    @property
    def fell_back(self) -> str:
        """Why packet sockets have to do, if they do."""
        return self._device.fell_back

    @property
    def problem(self) -> str:
        """Why no frames are moved, or nothing."""
        return self._device.problem

    @property
    def cpus(self) -> list[int]:
        """Those that poll its rings."""
        return self._polling.cpus

    def look(self) -> None:
        """Follow what became of the interface."""
        self._device.look()

    @property
    def polling(self) -> bool:
        """Whether CPUs look after its rings."""
        return self._polling.on

    def start_polling(self, request: ValePolling) -> None:
        """Let CPUs look after its rings. Raises RingpassError."""
        first, number = request.first_cpu, request.num_cpus
        if request.mode not in (ValePolling.SINGLE_CPU, ValePolling.MULTI_CPU):
            why, fix = f"there is no mode {request.mode}", "1: one CPU, 2: several"
            raise RingpassError("cannot bind polling threads", why, fix, errno=errno.EINVAL)
        if request.mode == ValePolling.SINGLE_CPU and number != 1:
            why, fix = f"it is for one CPU, not for {number}", "name one CPU, or use mode 2"
            raise RingpassError("cannot bind polling threads", why, fix, errno=errno.EINVAL)
        self._polling.start(range(first, first + number))

    def stop_polling(self, request: ValePolling) -> None:
        """Let its worker look after them again; the request says nothing that counts."""
        del request
        self._polling.stop()

    def close(self) -> None:
        """Give the interface back to the host and remove its ports."""
        self._polling.stop()
        self.undo.close()


class Interfaces:
    """The interfaces of the host, as netmap names them.

    `place` chooses a worker for the queues of one that a program opens.
    """

    def __init__(self, plane: DataPlane, place: Callable[[], WorkerId]) -> None:
        self._plane = plane
        self._place = place
        self._taken: list[Taken] = []
        self._made: dict[str, tuple[list[int], Geometry]] = {}

    def geometry(self, interface: str) -> Geometry:
        """Return the rings that the interface has, host rings included.

        Raises RingpassError (ENXIO) if there is none of that name.
        """
        links.get(interface)
        if interface in self._made:
            return self._made[interface][1]
        queues = devices.queue_count(interface)
        if queues > MAX_RING_PAIRS:
            raise RingpassError(
                f"cannot open interface {interface}",
                f"it has {queues} receive queues, and a port has at most {MAX_RING_PAIRS}",
                f"give it fewer: ethtool -L {interface} combined {MAX_RING_PAIRS}",
                errno=errno.EINVAL,
            )
        return Geometry(queues, queues, host_tx_rings=1, host_rx_rings=1)

    def open(self, interface: str, port: PortId, host_port: PortId) -> Taken:
        """Link the ports, which have netmap rings, to the interface and to its host stack.

        Raises RingpassError.
        """
        worker = self._place()
        spec = PortSpec(
            f"{interface}:nic", Kind.LINK, FrontEndKind.KERNEL, switch=_NO_SWITCH, worker=worker
        )
        taken = self._take(interface, spec, f"{interface}:stack")
        try:
            self._plane.link_ports(port, taken.port)
            if taken.host_port is not None:
                self._plane.link_ports(host_port, taken.host_port)
        except RingpassError:
            taken.close()
            raise
        return taken

    def attach(
        self, interface: str, name: str, switch: SwitchId, worker: WorkerId, *, host: bool
    ) -> Taken:
        """Make the interface the port `name` of a switch; with `host` its host stack, too, as
        `name^`. Raises RingpassError.
        """
        spec = PortSpec(name, Kind.VALE, FrontEndKind.KERNEL, switch=switch, worker=worker)
        return self._take(interface, spec, f"{name}^" if host else None)

    def create(self, interface: str, geometry: Geometry) -> None:
        """Make an interface of the host that persists (VALE_NEWIF). Raises RingpassError."""
        if links.find(interface) is not None:
            raise RingpassError(
                f"cannot make interface {interface}",
                "the name is taken by another interface",
                "choose another one",
                errno=errno.EEXIST,
            )
        queues = max(geometry.tx_rings, geometry.rx_rings)
        _, fds = devices.open_tap(interface, queues)
        rings = geometry._replace(
            tx_rings=queues, rx_rings=queues, host_tx_rings=1, host_rx_rings=1
        )
        self._made[interface] = fds, rings

    def delete(self, interface: str) -> None:
        """Remove an interface that `create` made (VALE_DELIF). Raises RingpassError."""
        if interface not in self._made:
            raise RingpassError(
                f"cannot remove interface {interface}",
                "it was not made as a persistent port",
                "see those that there are: ip link",
                errno=errno.ENXIO,
            )
        devices.close_all(self._made.pop(interface)[0])

    def look(self) -> None:
        """Follow what became of the interfaces that have ports."""
        for taken in self._taken:
            taken.look()

    def close(self) -> None:
        """Give all interfaces back and remove those that were made."""
        while self._taken:
            self._taken[-1].close()
        while self._made:
            devices.close_all(self._made.popitem()[1][0])

    def _take(self, interface: str, spec: PortSpec, host_name: str | None) -> Taken:
        """Make ports like `spec` for the interface and, if it is named, for its host stack."""
        plane = self._plane
        geometry = self.geometry(interface)
        queues = geometry.rx_rings
        with ExitStack() as undo:
            port = self._add(undo, spec._replace(tx_rings=queues, rx_rings=queues))
            host_port = None
            device: Interface | Nic
            if interface in self._made:
                device = Interface(plane, interface, port, fds=self._made[interface][0])
            else:
                if host_name is not None:
                    host_port = self._add(undo, spec._replace(name=host_name))
                device = Nic(plane, interface, port, host_port, queues=queues)
            device.open()
            undo.callback(device.close)
            polling = Polling(plane, port, queues, spec.worker)
            taken = Taken(device, port, host_port, polling)
            self._taken.append(taken)
            undo.callback(self._taken.remove, taken)
            taken.undo = undo.pop_all()
        return taken

    def _add(self, undo: ExitStack, spec: PortSpec) -> PortId:
        port = self._plane.add_port(spec)
        undo.callback(self._plane.remove_port, port)
        return port
