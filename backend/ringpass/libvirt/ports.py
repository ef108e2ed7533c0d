# SPDX-License-Identifier: BSD-2-Clause
"""Ports of the daemon, as the QEMU of a domain has to be told of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from ringpass.errors import ConfigError
from ringpass.observe.status import PortStatus

Via = Literal["vhost-user", "ivshmem", "netdev"]
"""The ways to a port: QEMU's vhost-user network card, its ivshmem-doorbell device, or the patched
QEMU's `-netdev ringpass`."""

NetdevDevice = Literal["ptnet-pci", "virtio-net-pci"]
"""What a guest sees of a port on `-netdev ringpass`: its rings, or a card that QEMU copies for."""

DEFAULT_MTU = 1500

WAYS: Mapping[str, tuple[Via, ...]] = {
    "vhost-user": ("vhost-user",),
    "null": ("vhost-user",),
    "passthrough": ("ivshmem", "netdev"),
}
"""Kind of port -> the ways to it, the usual one first. Guests cannot have ports of other kinds."""

OFFLOADS = ("csum", "tso4", "tso6", "ecn")


class PortDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A port as a device of a domain.

    `path` is the socket that QEMU uses; with `server` QEMU listens on it and the backend connects.
    `queues` counts pairs; `vectors` are those of an ivshmem-doorbell device. `without` are the
    offloads and features that the port is configured not to have.
    """

    name: str
    via: Via
    path: str
    mac: str = ""
    queues: int = 1
    mtu: int = DEFAULT_MTU
    vectors: int = 0
    server: bool = False
    without: tuple[str, ...] = ()
    device: NetdevDevice = "ptnet-pci"

    @property
    def label(self) -> str:
        """The port's name as what XML and QEMU take for names."""
        return self.name.replace(":", ".").replace("{", "-m").replace("}", "-s")


def port_device(
    status: PortStatus,
    via: Via | None = None,
    settings: Mapping[str, Any] | None = None,
    device: NetdevDevice | None = None,
) -> PortDevice:
    """Return how a domain gets the port of `status`; by the usual way of its kind if `via` is None.

    `settings` is its table in the configuration, which knows what is not offered. `device` is what
    the guest sees of it via netdev; None: ptnet-pci. Raises ConfigError if a port of this kind
    cannot be had that way.
    """
    ways = WAYS.get(status.kind, ())
    if not ways:
        raise ConfigError(
            f"no domain can have {status.name}",
            f"it is of kind {status.kind}, and guests have ports of kind vhost-user or passthrough",
            "add another one: ringpass port add SWITCH:PORT",
        )
    if via is None:
        via = ways[0]
    if via not in ways:
        kind = next(kind for kind, offered in WAYS.items() if via in offered)
        ask = f"ringpass port add SWITCH:PORT --kind {kind}"
        raise ConfigError(
            f"{status.name} cannot be had via {via}",
            f"it is of kind {status.kind}, and {via} is for ports of kind {kind}",
            f"use --via {' or '.join(ways)}, or add one: {ask}",
        )
    if device is not None and via != "netdev":
        other = "add --via netdev, or " if "netdev" in ways else ""
        raise ConfigError(
            f"{status.name} cannot be {device}",
            f"it is had via {via}, and only via netdev there is a choice of devices",
            f"{other}leave --device out",
        )
    return PortDevice(
        name=status.name,
        via=via,
        path=status.netdev_path if via == "netdev" else status.path,
        mac=status.mac,
        queues=status.queues,
        mtu=status.mtu or DEFAULT_MTU,
        vectors=status.vectors,
        server=status.mode == "client",
        without=_without(settings or {}),
        device=device or "ptnet-pci",
    )


def _without(settings: Mapping[str, Any]) -> tuple[str, ...]:
    offered: Sequence[str] = settings.get("offloads", OFFLOADS)
    withheld: Sequence[str] = settings.get("withhold", ())
    return (*(name for name in OFFLOADS if name not in offered), *withheld)
