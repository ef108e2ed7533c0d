# SPDX-License-Identifier: BSD-2-Clause
"""An interface of the host that we make: the host's stack at one side, a port at the other."""

from collections.abc import Sequence

from ringpass.dataplane import DataPlane, KernelConfig, KernelMode, PortId
from ringpass.netlink import links
from ringpass.nic import devices


class Interface:
    """A TAP device of the name `interface` as a port that has the kernel's front end.

    The device is there from `open` to `close`, or to the end of the process; with `fds` it is
    there already, and stays.
    """

    fell_back = ""

    def __init__(
        self,
        plane: DataPlane,
        interface: str,
        port: PortId,
        *,
        queues: int = 1,
        mtu: int = 1500,
        mac: str = "",
        fds: Sequence[int] = (),
    ) -> None:
        self.interface = interface
        self.problem = ""
        """Why no frames move, or nothing."""
        self._plane = plane
        self._port = port
        self._queues = queues
        self._mtu = mtu
        self._mac = mac
        self._fds = fds
        self._link: links.Link | None = None

    @property
    def mode(self) -> str:
        """How frames are moved; empty while there is no device."""
        return "tap" if self._link is not None else ""

    def open(self) -> None:
        """Make the device. Raises RingpassError; nothing has changed then."""
        kernel = self._plane.kernel(self._port)
        if self._fds:
            link = links.get(self.interface)
            kernel.start(KernelConfig(KernelMode.TAP, self._fds))
            self._plane.set_port_mtu(self._port, link.mtu)
            self._link = link
            self._follow(up=link.up)
            return
        name, fds = devices.open_tap(self.interface, self._queues)
        try:
            link = links.get(name)
            address = {"address": self._mac} if self._mac else {}
            links.change(name, link.number, mtu=self._mtu, state="up", **address)
            kernel.start(KernelConfig(KernelMode.TAP, fds))
        finally:
            devices.close_all(fds)
        self._link = link
        self._follow(up=True)

    def close(self) -> None:
        """Remove the device. A second close does nothing."""
        if self._link is not None:
            self._plane.kernel(self._port).stop()
        self._link = None

    def set_mtu(self, mtu: int) -> None:
        """Change the MTU of the device."""
        self._mtu = mtu
        if self._link is not None:
            links.change(self.interface, self._link.number, mtu=mtu)

    def look(self) -> None:
        """Look what became of the device: somebody may have taken it down, or removed it."""
        if self._link is None:
            return
        link = links.find(self.interface)
        if link is None or link.number != self._link.number:
            self.problem = "the interface was removed"
        else:
            self._follow(up=link.up)
            self._plane.set_port_mtu(self._port, link.mtu)

    def _follow(self, *, up: bool) -> None:
        self.problem = "" if up else f"the interface is down: ip link set dev {self.interface} up"
        self._plane.kernel(self._port).enable(up)
