# SPDX-License-Identifier: BSD-2-Clause
"""What a guest is told about one of its network cards, whoever runs the guest."""

import re
from pathlib import Path
from typing import Literal

import msgspec

from ringpass.errors import ConfigError
from ringpass.paths import MAX_SOCKET_PATH

Device = Literal["ptnet-pci", "virtio-net-pci"]
"""Devices of the patched QEMU on a passthrough port: of its rings, or one that QEMU copies for."""


class Nic(msgspec.Struct, frozen=True, kw_only=True):
    """A virtio network card whose back end is behind the vhost-user socket `socket`.

    Or, if `vectors` are not 0, an ivshmem-doorbell device that has so many: its memory is a
    passthrough port's, and all else here but the address and the MTU is the port's own business.
    Or, if `device` is not empty, that device on a `-netdev ringpass`, which needs the patched QEMU:
    `socket` is the passthrough port's for this netdev.

    `mac` is empty for one chosen by the front end (UML always takes the back end's). `queues`
    counts queue pairs. `server` means that the front end listens and the back end connects; else
    it connects, and `reconnect` is the seconds between its attempts after a disconnect, 0 for
    none. `host_mtu` is the MTU that the device offers, 0 for none. Ring sizes of 0 are QEMU's own.
    `address` (ADDR/LEN) and `mtu` are what the guest gives its interface at boot.
    """

    socket: Path
    mac: str = ""
    queues: int = 1
    server: bool = False
    reconnect: int = 1
    packed: bool = False
    mrg_rxbuf: bool = True
    event_idx: bool = True
    indirect_desc: bool = True
    host_mtu: int = 0
    rx_queue_size: int = 0
    tx_queue_size: int = 0
    address: str = ""
    mtu: int = 0
    vectors: int = 0
    device: Device | Literal[""] = ""

    def __post_init__(self) -> None:
        check_socket_path(self.socket)
        if self.mac and not re.fullmatch(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", self.mac):
            raise ConfigError(
                f"{self.mac!r} is not a MAC address",
                "it is not six bytes in hexadecimal with colons between",
                "write it like 52:54:00:12:34:56",
            )
        if self.address and not re.fullmatch(r"[0-9A-Fa-f.:]+/[0-9]+", self.address):
            raise ConfigError(
                f"{self.address!r} is not an address for a network card",
                "it is not ADDRESS/LENGTH",
                "write it like 10.0.0.1/24",
            )
        if not 1 <= self.queues <= 128:
            raise ConfigError(
                f"a network card cannot have {self.queues} queues", "it has 1 to 128 queue pairs"
            )

    @property
    def mapped(self) -> bool:
        """Whether the guest maps the port: its interface is rpN then, and ethN otherwise."""
        return self.vectors > 0 or self.device == "ptnet-pci"

    def with_address(self, address: str) -> "Nic":
        """Return this card with the address that the guest gives it at boot; empty for none."""
        return msgspec.structs.replace(self, address=address)


def check_socket_path(path: Path) -> None:
    """Raise ConfigError for a path that does not fit into a unix socket address."""
    length = len(str(path).encode())
    if length > MAX_SOCKET_PATH:
        raise ConfigError(
            f"cannot use the socket path {path}",
            f"it has {length} bytes, and a unix socket address holds {MAX_SOCKET_PATH}",
            "use a shorter runtime directory (RINGPASS_RUNTIME_DIR)",
        )


def check_guest_name(name: str) -> None:
    """Raise ConfigError for a name that is no host name, as it must be to pass a command line."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", name):
        raise ConfigError(
            f"{name!r} is not a name for a guest",
            "a guest's name is its host name",
            "use up to 63 letters, digits, dots and hyphens, the first a letter or digit",
        )


def guest_parameters(name: str, nics: tuple[Nic, ...]) -> list[str]:
    """Return the kernel parameters by which a guest's init learns its name and addresses."""
    cards = [nic for nic in nics if not nic.mapped]
    ports = [nic for nic in nics if nic.mapped]
    parameters = [f"rp.hostname={name}"]
    parameters += _interface_parameters(cards, "rp.ip", "rp.mtu")
    return parameters + _interface_parameters(ports, "rp.port", "rp.portmtu")


def _interface_parameters(nics: list[Nic], address: str, mtu: str) -> list[str]:
    """Return the parameters of interfaces of one kind, which the guest counts from 0."""
    parameters = []
    for index, nic in enumerate(nics):
        if nic.address:
            parameters.append(f"{address}{index}={nic.address}")
        if nic.mtu:
            parameters.append(f"{mtu}{index}={nic.mtu}")
    return parameters
