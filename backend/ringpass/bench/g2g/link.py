# SPDX-License-Identifier: BSD-2-Clause
"""What a way to link guests is. Each kind has a file in `ways`."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ringpass.bench import traffic
from ringpass.bench.tools import PACKET, Tool
from ringpass.vm.nic import Device

if TYPE_CHECKING:
    from ringpass.bench.g2g.pair import Pair


class Card(NamedTuple):
    """A network card of a guest: on a port of the daemon, or on a network of QEMU's own."""

    port: str = ""
    """The port."""
    netdev: str = ""
    """That network: options of QEMU's -netdev. {directory} stands for one of the bench."""
    passthrough: bool = False
    """Whether the port's memory itself is the card, and not virtio."""
    device: Device | None = None
    """What the patched QEMU makes of a passthrough port."""


@dataclass(frozen=True)
class Link:
    """A way from guest vm1 to guest vm2: a card of each. Other ways change what differs."""

    name: str
    via: str
    """The front end and the kind of port that frames pass, as rows have it."""
    cards: tuple[tuple[Card, ...], ...] = ((), ())
    """Those of vm1, of vm2, ..."""
    tables: str = ""
    """What the daemon's configuration has for it, in TOML."""

    private_network: ClassVar[bool] = False
    """Whether it needs devices of the host's kernel, in a network namespace of our own."""

    @property
    def patched(self) -> bool:
        """Whether its guests need the patched QEMU."""
        return any(card.device for mine in self.cards for card in mine)

    def make_devices(self, address: str) -> None:
        """Make these devices, in that namespace; they vanish with it.

        `address` is the receiver's, if the host is the receiver.
        """

    def answering(self, _pair: "Pair") -> AbstractContextManager[None]:
        """Have somebody at the receiver's end who answers pings and takes streams."""
        return nullcontext()

    def address(self, pair: "Pair") -> str:
        """Return where the receiver is, for the sender's stack."""
        return pair.address(self, 2)

    def introduce(self, pair: "Pair") -> None:
        """Let switches learn where the receiver is.

        A frame for an address that is not known goes to every port, and then no full one of them
        holds its sender back.
        """
        if all(self.cards):
            pair.vm2.run(f"ping -q -c 1 -W 1 {pair.address(self, 1)}")

    def ping(self, pair: "Pair", count: int) -> list[float]:
        """Return `count` round trip times in microseconds."""
        with self.answering(pair):
            return traffic.ping(pair.vm1, self.address(pair), count)

    def flood(self, pair: "Pair", tool: Tool, size: int, seconds: float) -> traffic.Flood:
        """Flood the receiver, which counts; with `tool`, too, if it has a card of the same kind."""
        (sender,), (receiver,) = self.cards
        alike = sender.passthrough == receiver.passthrough
        return traffic.flood(
            *(pair.vm1, pair.vm2),
            size=size,
            seconds=seconds,
            sender_nic=pair.nic(self, 1),
            receiver_nic=pair.nic(self, 2),
            tool=tool,
            counter=tool if alike else PACKET,
        )
