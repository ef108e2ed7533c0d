# SPDX-License-Identifier: BSD-2-Clause
"""A data plane in a network namespace, and interfaces of the host as ports of its switch."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from ringpass.dataplane import DataPlane, FrontEndKind, PortId, PortSpec, SwitchId
from ringpass.nic.nic import Fallback, Nic
from ringpass.observe.counters import Counters
from tests.support.networks import Network


class Bench:
    """A switch and a worker in the namespace `net`, all of this process."""

    def __init__(self, net: Network, plane: DataPlane, counters: Counters) -> None:
        self.net = net
        self.plane = plane
        self.counters = counters
        self.worker = plane.add_worker()
        self.switch = plane.add_switch("vale0")
        self.undo = ExitStack()

    def port(self, name: str, queues: int = 1) -> PortId:
        """Return a new port of the switch that has the kernel's front end."""
        return self.plane.add_port(
            PortSpec(
                name,
                front_end=FrontEndKind.KERNEL,
                switch=SwitchId(self.switch),
                worker=self.worker,
                tx_rings=queues,
                rx_rings=queues,
            )
        )

    def nic(
        self, interface: str, *, host: bool = False, queues: int = 1, fallback: Fallback = "packet"
    ) -> Nic:
        """Return the interface as a port of the switch, and with `host` its host stack as another.

        It is closed with the bench, if not before.
        """
        port = self.port(f"vale0:{interface}", queues)
        host_port = self.port(f"vale0:{interface}^") if host else None
        nic = Nic(self.plane, interface, port, host_port, queues=queues, fallback=fallback)
        self.net.do(nic.open)
        self.undo.callback(self.net.do, nic.close)
        return nic


@contextmanager
def bench(net: Network) -> Iterator[Bench]:
    """Give a bench in the namespace `net`."""
    with (
        NamedTemporaryFile() as file,
        DataPlane(file.fileno()) as plane,
        Counters(Path(file.name)) as counters,
    ):
        found = Bench(net, plane, counters)
        with found.undo:
            yield found


def lay(net: Network, peer: Network, name: str, mode: str) -> str:
    """Lay a cable to `peer`, where it ends in an interface of the same name.

    Return the interface at our end: the cable itself, which has XDP, or a bridge on it, which has
    not, so that the mode will be "packet".
    """
    net.cable(name, peer, name)
    if mode != "packet":
        return name
    net.ip(
        f"link add br{name} type bridge stp_state 0 mcast_snooping 0 forward_delay 0",
        f"link set {name} master br{name}",
        f"link set br{name} up",
    )
    return f"br{name}"
