# SPDX-License-Identifier: BSD-2-Clause
"""A network interface that is taken away from the host's stack, and the stack as a port.

              XDP or packet sockets
network ---- eth0 ------------------------> port of the NIC
              |
              | divert, give back           (programs)
              |
host's stack - eth0 --- TAP device -------> port of the host's stack
"""

import errno
import logging
import os
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar, Literal

from ringpass.dataplane import DataPlane, KernelConfig, KernelMode, PortId
from ringpass.errors import RingpassError
from ringpass.netlink import filters, links
from ringpass.nic import bpf, devices, programs
from ringpass.nic.bpf import Attach, ProgramType

log = logging.getLogger(__name__)

Fallback = Literal["packet", "refuse"]
Mode = Literal["", "xdp-zerocopy", "xdp-copy", "packet"]

_XDP_MODES: tuple[tuple[KernelMode, Mode], ...] = (
    (KernelMode.XDP_ZEROCOPY, "xdp-zerocopy"),
    (KernelMode.XDP_COPY, "xdp-copy"),
)
#: The name of the TAP devices between host stacks and their rings; the kernel fills in a number.
_HOST_TAP = "rphost%d"
#: Interfaces without a wire: their other end may leave checksums to be completed.
_SOFTWARE = frozenset({"veth", "tun", "bridge", "ifb", "dummy"})
#: What an XDP program takes in one buffer of a page, as drivers count.
_ONE_BUFFER = 3498
_ETHERNET_AND_TAG = 18


class Nic:
    """The queues of `interface` as those of a port, its host stack as another one.

    Both ports have the kernel's front end; the NIC's has `queues` rings, the other one a single
    ring. While the NIC is open frames that the network sends do not reach the host's stack, and
    those that the stack sends do not reach the network; without `host_port` they are dropped.
    """

    _all_taken: ClassVar[set[tuple[int, int]]] = set()
    """Interfaces that are open in this process: network namespace and index."""

    def __init__(
        self,
        plane: DataPlane,
        interface: str,
        port: PortId,
        host_port: PortId | None = None,
        *,
        queues: int = 1,
        fallback: Fallback = "packet",
    ) -> None:
        self.interface = interface
        self.mode: Mode = ""
        """How frames are moved while the NIC is open."""
        self.fell_back = ""
        """Why not with AF_XDP, if not."""
        self.problem = ""
        """Why no frames move, or nothing."""
        self._plane = plane
        self._port = port
        self._host_port = host_port
        self._queues = queues
        self._fallback = fallback
        self._link: links.Link | None = None
        self._undo = ExitStack()

    def open(self) -> None:
        """Take the interface. Raises RingpassError; nothing has changed then."""
        link = links.get(self.interface)
        if link.loopback:
            why = "it is the loopback, which leads to no network: netmap refuses it, too"
            fix = "use one end of a veth pair, or a port of kind interface"
            raise RingpassError(self._what(), why, fix, errno=errno.EINVAL)
        self._check_queues()
        with ExitStack() as undo:
            self._claim(undo, link)
            _hold(undo, devices.promiscuous(link.name, link.number))
            self._take_host(undo, link)
            self._take_network(undo, link)
            admit = programs.admit_marked(others=self.mode != "packet")
            self._hook(undo, link, Attach.TCX_INGRESS, "rp_admit", admit)
            self._undo = undo.pop_all()
        self._link = link
        for port in self._ports():
            self._plane.set_port_mtu(port, link.mtu)
        self._enable(on=link.up)
        log.info("event=nic-open interface=%s mode=%s", link.name, self.mode)

    def close(self) -> None:
        """Give the interface back as it was. A second close does nothing."""
        self._undo.close()
        self._link = None
        self.mode = self.fell_back = ""

    def set_mtu(self, mtu: int) -> None:
        """Keep to the interface's own MTU, which is the administrator's to change."""
        self._plane.set_port_mtu(self._port, mtu if self._link is None else self._link.mtu)

    def look(self) -> None:
        """Look what became of the interface, and follow: it may be down, gone, or another one."""
        link = links.find(self.interface)
        known = self._link
        if known is not None and link is not None and same_device(known, link):
            if link.mac != known.mac:
                self._change_mac(link)
            self._enable(on=link.up)
            self._link = link
            return
        if known is not None:
            self.close()
        if link is None:
            self.problem = "the interface was removed"
            return
        try:
            self.open()
        except RingpassError as error:
            self.problem = f"{error.what}: {error.why}"
            log.warning("event=nic-closed interface=%s why=%r", self.interface, self.problem)

    def _enable(self, *, on: bool) -> None:
        self.problem = "" if on else f"the interface is down: ip link set dev {self.interface} up"
        for port in self._ports():
            self._plane.kernel(port).enable(on)

    def _ports(self) -> list[PortId]:
        return [port for port in (self._port, self._host_port) if port is not None]

    def _check_queues(self) -> None:
        found = devices.queue_count(self.interface)
        if found != self._queues:
            raise RingpassError(
                self._what(),
                f"it has {found} receive queues, and the port was made for {self._queues}",
                f"make the port anew, or ethtool -L {self.interface} combined {self._queues}",
                errno=errno.EINVAL,
            )

    def _claim(self, undo: ExitStack, link: links.Link) -> None:
        key = Path("/proc/thread-self/ns/net").stat().st_ino, link.number
        if key in self._all_taken:
            why, fix = "another port has it", "see which: ringpass port ls"
            raise RingpassError(self._what(), why, fix, errno=errno.EBUSY)
        self._all_taken.add(key)
        undo.callback(self._all_taken.discard, key)

    def _take_host(self, undo: ExitStack, link: links.Link) -> None:
        """Divert what the host's stack sends: to its port, or to nowhere."""
        if self._host_port is None:
            self._hook(undo, link, Attach.TCX_EGRESS, "rp_drop", programs.drop())
            return
        name, fds = devices.open_tap(_HOST_TAP)
        try:
            tap = links.get(name)
            # The stack knows from the address which frames are for it, and which for others.
            links.change(name, tap.number, mtu=link.mtu, address=link.mac.hex(":"))
            self._hook(undo, tap, Attach.TCX_EGRESS, "rp_marked", programs.pass_marked())
            give_back = programs.give_back(link.number)
            self._hook(undo, tap, Attach.TCX_INGRESS, "rp_give_back", give_back)
            links.change(name, tap.number, state="up")
            self._start(undo, self._host_port, KernelConfig(KernelMode.TAP, fds))
        finally:
            devices.close_all(fds)
        self._tap = tap
        self._hook(undo, link, Attach.TCX_EGRESS, "rp_divert", programs.divert(tap.number))

    def _change_mac(self, link: links.Link) -> None:
        if self._host_port is not None:
            links.change(self._tap.name, self._tap.number, address=link.mac.hex(":"))

    def _take_network(self, undo: ExitStack, link: links.Link) -> None:
        try:
            self._take_xdp(undo, link)
        except RingpassError as error:
            if self._fallback == "refuse" or error.errno in (errno.EBUSY, errno.EPERM):
                raise
            self.fell_back = error.why
            fds = devices.packet_sockets(link.name, self._queues)
            try:
                self._start(undo, self._port, KernelConfig(KernelMode.PACKET, fds))
            finally:
                devices.close_all(fds)
            self.mode = "packet"

    def _take_xdp(self, undo: ExitStack, link: links.Link) -> None:
        with ExitStack() as mine:
            sockets = self._redirect(mine, link)
            self.mode = self._start_xdp(mine, link)
            kernel = self._plane.kernel(self._port)
            try:
                for queue in range(self._queues):
                    bpf.set_socket(sockets, queue, kernel.fd(queue))
            except OSError as error:
                raise bpf.refusal(self._what(), error) from None
            undo.enter_context(mine.pop_all())
        self.fell_back = ""

    def _redirect(self, undo: ExitStack, link: links.Link) -> int:
        """Attach the program that redirects to sockets; return the map that names them."""
        flags = bpf.XDP_HAS_FRAGS if link.mtu > _ONE_BUFFER else 0
        try:
            sockets = _hold(undo, bpf.socket_map(self._queues))
            code = programs.to_sockets(sockets)
            program = _hold(undo, bpf.load(ProgramType.XDP, "rp_to_sockets", code, flags))
            _hold(undo, bpf.attach(program, link.number, Attach.XDP, bpf.XDP_DRIVER_MODE))
        except OSError as error:
            raise self._xdp_refusal(error) from None
        return sockets

    def _start_xdp(self, undo: ExitStack, link: links.Link) -> Mode:
        refused = None
        for mode, name in _XDP_MODES:
            config = KernelConfig(
                mode,
                ifindex=link.number,
                frame_bytes=link.mtu + _ETHERNET_AND_TAG,
                software=link.kind in _SOFTWARE,
            )
            try:
                self._start(undo, self._port, config)
            except RingpassError as error:
                refused = error
            else:
                return name
        assert refused is not None
        raise refused

    def _start(self, undo: ExitStack, port: PortId, config: KernelConfig) -> None:
        kernel = self._plane.kernel(port)
        if kernel.broken() is not None:
            kernel.repair()
        kernel.start(config)
        undo.callback(kernel.stop)

    def _hook(
        self, undo: ExitStack, link: links.Link, where: Attach, name: str, code: programs.Code
    ) -> None:
        """Let the interface run a program on the frames that the stack sends or receives."""
        try:
            program = _hold(undo, bpf.load(ProgramType.SCHED_CLS, name, code))
            try:
                _hold(undo, bpf.attach(program, link.number, where))
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                _filter(undo, link, program, egress=where is Attach.TCX_EGRESS)
        except OSError as error:
            raise bpf.refusal(self._what(), error) from None

    def _xdp_refusal(self, error: OSError) -> RingpassError:
        if error.errno in (errno.EBUSY, errno.EEXIST):
            return RingpassError(
                self._what(),
                "it already has an XDP program",
                f"stop what uses it, or remove it: ip link set dev {self.interface} xdp off",
                errno=errno.EBUSY,
            )
        if error.errno == errno.EOPNOTSUPP:
            return RingpassError(
                self._what(),
                "its driver has no XDP",
                'let it use packet sockets: fallback = "packet"',
                errno=errno.EOPNOTSUPP,
            )
        return bpf.refusal(self._what(), error)

    def _what(self) -> str:
        return f"cannot open interface {self.interface}"


def _filter(undo: ExitStack, link: links.Link, program: int, *, egress: bool) -> None:
    """Attach a program as kernels do that know no links for it."""
    qdisc = filters.add(link, program, egress=egress)
    undo.callback(filters.remove, link, egress=egress, qdisc=qdisc)


def same_device(known: links.Link, now: links.Link) -> bool:
    """Whether it is the same device still, and its buffers have the right size."""
    return (known.number, known.mtu) == (now.number, now.mtu)


def _hold(undo: ExitStack, fd: int) -> int:
    undo.callback(os.close, fd)
    return fd
