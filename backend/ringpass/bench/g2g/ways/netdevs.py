# SPDX-License-Identifier: BSD-2-Clause
"""The networks that stock QEMU has without us: sockets, and tap devices in a bridge."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ringpass import netlink
from ringpass.bench.g2g.link import Card, Link

BRIDGE = "ringpass0"


@dataclass(frozen=True)
class Tap(Link):
    """Tap devices in a bridge of the kernel, without vhost-net: frames pass through QEMU."""

    private_network: ClassVar[bool] = True

    def make_devices(self, _address: str) -> None:
        """Bridge a tap device for each guest."""
        netlink.bridge_taps(BRIDGE, [tap_name(guest) for guest in (1, 2)])


def stream(guest: int) -> str:
    """Return QEMU's network over a stream socket: the first guest listens."""
    server = "on" if guest == 1 else "off"
    return f"stream,server={server},addr.type=unix,addr.path={{directory}}/stream.sock"


def dgram(guest: int) -> str:
    """Return QEMU's network over a datagram socket each."""
    return (
        f"dgram,local.type=unix,local.path={{directory}}/dgram{guest}.sock,"
        f"remote.type=unix,remote.path={{directory}}/dgram{3 - guest}.sock"
    )


def tap(guest: int) -> str:
    """Return QEMU's network on a tap device."""
    return f"tap,ifname={tap_name(guest)},script=no,downscript=no,vhost=off"


def tap_name(guest: int) -> str:
    """Return the tap device of a guest."""
    return f"rptap{guest}"


def both(netdev: Callable[[int], str]) -> tuple[tuple[Card], tuple[Card]]:
    """Return a card on `netdev` for each guest."""
    return (Card(netdev=netdev(1)),), (Card(netdev=netdev(2)),)


LINKS = [
    Link("stream", "qemu-stream", both(stream)),
    Link("dgram", "qemu-dgram", both(dgram)),
    Tap("tap", "qemu-tap", both(tap)),
]
