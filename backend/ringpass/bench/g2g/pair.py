# SPDX-License-Identifier: BSD-2-Clause
"""Running guests, the links between them, and where everything runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ringpass.bench import traffic
from ringpass.bench.g2g.link import Card, Link
from ringpass.bench.machine import place, prefer
from ringpass.bench.testbed import Testbed
from ringpass.bench.usage import cpu_seconds
from ringpass.image import Image, ensure
from ringpass.vm.guest import Guest


class Pair:
    """Two guests on a testbed, or some more, and the `links` between them.

    The address of guest g on the i-th link is 10.0.i.g.
    """

    def __init__(
        self,
        bed: Testbed,
        guests: Sequence[Guest],
        links: Sequence[Link],
        cpus: tuple[int, int],
    ) -> None:
        self.bed = bed
        self.guests = guests
        self.vm1, self.vm2 = guests[:2]
        self.links = links
        self.cpus = cpus
        for process in (*(guest.pid for guest in guests), bed.daemon_pid):
            prefer(process)
        for guest in (self.vm1, self.vm2):
            traffic.serve_tcp(guest)

    def nic(self, link: Link, guest: int) -> str:
        """Return the interface of a guest on `link`."""
        return interfaces(self.links, guest)[link.name]

    def address(self, link: Link, guest: int) -> str:
        """Return the address of a guest on `link`."""
        return address(self.links, link, guest)

    def guests_cpu_s(self) -> float:
        """Return the CPU time that the processes of the guests have used so far."""
        return sum(cpu_seconds(guest.pid) for guest in self.guests)

    @contextmanager
    def policy(self, policy: str) -> Iterator[None]:
        """Let the daemon's worker do as `policy` says without work, for the block."""
        if policy == "adaptive":  # the default
            yield
            return
        self.bed.set_policy(policy)
        try:
            yield
        finally:
            self.bed.set_policy("adaptive")

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
def booted(label: str, links: Sequence[Link], cpus: tuple[int, int]) -> Iterator[Pair]:
    """Boot as many guests as `links` have cards for, and yield them."""
    toml = "\n\n".join(["[daemon]\nworkers = 1", *(link.tables for link in links if link.tables)])
    make = uml_guest if label == "uml" else qemu_guest
    image = ensure()
    with Testbed("bench-g2g", toml + "\n") as bed:
        count = max(2, *(len(link.cards) for link in links))
        guests = [make(image, bed, links, number) for number in range(1, count + 1)]
        if any(link.name == "stream" for link in links):
            bed.boot(guests[:1])  # it listens, and the other connects when it starts
            bed.boot(guests[1:])
        else:
            bed.boot(guests)
        yield Pair(bed, guests, links, cpus)


def uml_guest(image: Image, bed: Testbed, links: Sequence[Link], number: int) -> Guest:
    return bed.uml(image, f"vm{number}", ports(links, number))


def qemu_guest(image: Image, bed: Testbed, links: Sequence[Link], number: int) -> Guest:
    nics = interfaces(links, number)
    parameters, extra = [], []
    for link, card in on_networks(links, number):
        at = nics[link.name].removeprefix("eth")
        parameters.append(f"rp.ip{at}={address(links, link, number)}/24")
        extra += netdev_args(link.name, card, bed.directory, int(at), number)
    return bed.qemu(image, f"vm{number}", ports(links, number), parameters, extra)


def ports(links: Sequence[Link], guest: int) -> dict[str, str]:
    """Return the daemon's ports that a guest has cards on, and its address there."""
    return {
        card.port: f"{address(links, link, guest)}/24"
        for link, card in cards(links, guest)
        if card.port
    }


def interfaces(links: Sequence[Link], guest: int) -> dict[str, str]:
    """Return what a guest's kernel calls its cards, by link: eth0, ... and rp0, ...

    It finds virtio cards on the daemon's ports first, then those on networks of QEMU's.
    """
    mine = cards(links, guest)
    passthrough = [link.name for link, card in mine if card.passthrough]
    virtio = [link.name for link, card in mine if card.port and not card.passthrough]
    virtio += [link.name for link, _ in on_networks(links, guest)]
    return {
        **{name: f"eth{index}" for index, name in enumerate(virtio)},
        **{name: f"rp{index}" for index, name in enumerate(passthrough)},
    }


def address(links: Sequence[Link], link: Link, guest: int) -> str:
    """Return the address of a guest on one of `links`: each is a network of its own."""
    return f"10.0.{[other.name for other in links].index(link.name)}.{guest}"


def cards(links: Sequence[Link], guest: int) -> list[tuple[Link, Card]]:
    """Return the links that a guest has a card on, and that card."""
    return [
        (link, card) for link in links for card in link.cards[guest - 1 : guest] if card is not None
    ]


def on_networks(links: Sequence[Link], guest: int) -> list[tuple[Link, Card]]:
    """Return those of the cards of a guest that are on networks of QEMU's."""
    return [(link, card) for link, card in cards(links, guest) if card.netdev]


def netdev_args(name: str, card: Card, directory: Path, index: int, guest: int) -> list[str]:
    """Return QEMU's arguments for a card on a network of its own.

    It has the interrupts that QEMU gives it; only cards of vhost-user must do without MSI-X.
    """
    netdev = card.netdev.format(directory=directory)
    mac = f"52:54:00:00:{index:02x}:{guest:02x}"
    return [
        *("-netdev", f"{netdev},id={name}"),
        *("-device", f"virtio-net-pci,netdev={name},mac={mac},vectors=4,romfile="),
    ]
