# SPDX-License-Identifier: BSD-2-Clause
"""Running guests, the links between them, and where everything runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from ringpass.bench import traffic
from ringpass.bench.g2g.link import Card, Link
from ringpass.bench.machine import place, prefer
from ringpass.bench.testbed import Testbed
from ringpass.bench.usage import cpu_seconds
from ringpass.image import Image, ensure
from ringpass.vm.guest import Guest
from ringpass.vm.qemu import STOCK, Emulator


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
        for link in links:
            link.introduce(self)

    def nic(self, link: Link, guest: int, number: int = 0) -> str:
        """Return the interface of a guest on `link`: the first, or another one."""
        return interfaces(self.links, guest)[link.name][number]

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
def booted(
    label: str, links: Sequence[Link], cpus: tuple[int, int], emulator: Emulator = STOCK
) -> Iterator[Pair]:
    """Boot as many guests as `links` have cards for, and yield them."""
    toml = "\n\n".join(["[daemon]\nworkers = 1", *(link.tables for link in links if link.tables)])
    make = uml_guest if label == "uml" else partial(qemu_guest, emulator)
    # Netmap programs are Python's, too.
    image = ensure("numpy" if any(passthrough(link) for link in links) else "guest")
    with Testbed("bench-g2g", toml + "\n") as bed:
        last = max(2, *(len(link.cards) for link in links))
        guests = [make(image, bed, links, number) for number in range(1, last + 1)]
        if any(link.name == "stream" for link in links):
            bed.boot(guests[:1])  # it listens, and the other connects when it starts
            bed.boot(guests[1:])
        else:
            bed.boot(guests)
        yield Pair(bed, guests, links, cpus)


def uml_guest(image: Image, bed: Testbed, links: Sequence[Link], number: int) -> Guest:
    return bed.uml(image, f"vm{number}", ports(links, number))


def qemu_guest(
    emulator: Emulator, image: Image, bed: Testbed, links: Sequence[Link], number: int
) -> Guest:
    nics = interfaces(links, number)
    parameters, extra = [], []
    for link in links:
        for card, nic in zip(cards(link, number), nics[link.name], strict=True):
            if card.netdev:
                at = nic.removeprefix("eth")
                parameters.append(f"rp.ip{at}={address(links, link, number)}/24")
                extra += netdev_args(link.name, card, bed.directory, int(at), number)
    devices = {card.port: card.device for link in links for card in cards(link, number)}
    return bed.qemu(
        *(image, f"vm{number}", ports(links, number), parameters, extra),
        emulator=emulator,
        devices={port: device for port, device in devices.items() if device},
    )


def ports(links: Sequence[Link], guest: int) -> dict[str, str]:
    """Return the daemon's ports that a guest has cards on, and its address there."""
    return {
        card.port: f"{address(links, link, guest)}/24"
        for link in links
        for card in cards(link, guest)
        if card.port
    }


def interfaces(links: Sequence[Link], guest: int) -> dict[str, list[str]]:
    """Return what a guest's kernel calls its cards, by link: eth0, ... and rp0, ...

    Of virtio's it finds those on the daemon's ports first, then those on networks of QEMU's.
    """
    found: dict[str, list[str]] = {link.name: [] for link in links}
    kinds: list[tuple[str, Callable[[Card], bool]]] = [
        ("eth", lambda card: not (card.netdev or card.passthrough)),
        ("eth", lambda card: bool(card.netdev)),
        ("rp", lambda card: card.passthrough),
    ]
    numbers = {"eth": count(), "rp": count()}
    for prefix, of_kind in kinds:
        for link in links:
            for card in cards(link, guest):
                if of_kind(card):
                    found[link.name].append(f"{prefix}{next(numbers[prefix])}")
    return found


def address(links: Sequence[Link], link: Link, guest: int) -> str:
    """Return the address of a guest on one of `links`: each is a network of its own."""
    return f"10.0.{[other.name for other in links].index(link.name)}.{guest}"


def cards(link: Link, guest: int) -> tuple[Card, ...]:
    """Return the cards of a guest on a link."""
    return link.cards[guest - 1] if guest <= len(link.cards) else ()


def passthrough(link: Link) -> bool:
    """Return whether a guest maps a port of the link."""
    return any(card.passthrough for mine in link.cards for card in mine)


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
