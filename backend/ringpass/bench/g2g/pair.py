# SPDX-License-Identifier: BSD-2-Clause
"""Two running guests, the links between them, and where everything runs."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from ringpass import netlink
from ringpass.bench import traffic
from ringpass.bench.g2g import links
from ringpass.bench.machine import place, prefer
from ringpass.bench.testbed import Testbed
from ringpass.image import Image, ensure
from ringpass.vm.guest import Guest


class Pair:
    """Two guests on a testbed. The card of the i-th link is eth{i} of both, in 10.0.i.0/24."""

    def __init__(
        self, bed: Testbed, guests: tuple[Guest, Guest], names: list[str], cpus: tuple[int, int]
    ) -> None:
        self.bed = bed
        self.vm1, self.vm2 = guests
        self.names = names
        self.cpus = cpus
        for process in (self.vm1.pid, self.vm2.pid, bed.daemon_pid):
            prefer(process)
        for guest in guests:
            traffic.serve_tcp(guest)

    def nic(self, link: str) -> str:
        """Return the card on `link`, in both guests."""
        return f"eth{self.names.index(link)}"

    def address(self, link: str) -> str:
        """Return where the receiver is on `link`; the sender itself on its loopback."""
        return "127.0.0.1" if link == "loopback" else f"10.0.{self.names.index(link)}.2"

    def apart(self) -> dict[str, str]:
        """Give the sender a core, the daemon and the receiver the other; return who is where."""
        first, second = self.cpus
        place(self.vm1.pid, {first})
        for process in (self.vm2.pid, self.bed.daemon_pid):
            place(process, {second})
        return {"sender": f"{first}", "worker, receiver": f"{second}"}

    def anywhere(self) -> dict[str, str]:
        """Let all run on both cores, as they would for a user; return who is where."""
        for process in (self.vm1.pid, self.vm2.pid, self.bed.daemon_pid):
            place(process, self.cpus)
        return {"sender, worker, receiver": f"{self.cpus[0]}, {self.cpus[1]}"}


@contextmanager
def tap_network() -> Iterator[None]:
    """Bridge a tap device for each guest, in a network namespace of their own.

    Raises RingpassError if this process may not.
    """
    with netlink.private_network():
        netlink.bridge_taps(links.BRIDGE, [links.tap_name(guest) for guest in (1, 2)])
        yield


@contextmanager
def booted(label: str, wanted: Collection[str], cpus: tuple[int, int]) -> Iterator[Pair]:
    """Boot two guests with those of the links `wanted` that lie between them.

    A link "tap" needs a `tap_network` around this.
    """
    ours = [name for name in links.PORTS if name in wanted]
    qemus = [name for name in links.NETDEVS if name in wanted]
    make = uml_guest if label == "uml" else qemu_guest
    image = ensure()
    with Testbed("bench-g2g", links.config(ours)) as bed:
        guests = make(image, bed, 1, ours, qemus), make(image, bed, 2, ours, qemus)
        if "stream" in qemus:
            bed.boot(guests[:1])  # it listens, and the other connects when it starts
            bed.boot(guests[1:])
        else:
            bed.boot(guests)
        yield Pair(bed, guests, ours + qemus, cpus)


def uml_guest(image: Image, bed: Testbed, number: int, ours: list[str], _qemus: list[str]) -> Guest:
    return bed.uml(image, f"vm{number}", ports(ours, number))


def qemu_guest(image: Image, bed: Testbed, number: int, ours: list[str], qemus: list[str]) -> Guest:
    addresses = [
        f"rp.ip{index}=10.0.{index}.{number}/24"
        for index in range(len(ours), len(ours) + len(qemus))
    ]
    extra = [arg for name in qemus for arg in links.netdev_args(name, bed.directory, number)]
    return bed.qemu(image, f"vm{number}", ports(ours, number), parameters=addresses, extra=extra)


def ports(ours: list[str], number: int) -> dict[str, str]:
    """Return the ports of a guest on our links, and its address there."""
    return {
        f"{links.switch(name)}:vm{number}": f"10.0.{index}.{number}/24"
        for index, name in enumerate(ours)
    }
