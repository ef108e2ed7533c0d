# SPDX-License-Identifier: BSD-2-Clause
"""The links between two guests: on a switch of ours, each its own, or on a network of QEMU's."""

from collections.abc import Callable
from pathlib import Path

#: A User-mode Linux guest whose clock ticks a hundred times a second may not look at its ring for
#: 10 ms, so a full receiver holds its senders back for longer than the 1 ms of the default.
HOLD = "hold_us = 20000"

PLAIN = 'offloads = []\nwithhold = ["mrg_rxbuf"]'
MERGEABLE = "offloads = []"
TSO = 'withhold = ["mrg_rxbuf"]'
BOTH = ""

#: Ports with fewer offloads, or with another answer to a full receiver: name -> settings.
VARIANTS = {
    "plain": f"{PLAIN}\n{HOLD}",
    "plain-drop": f'{PLAIN}\nfull = "drop"',
    "mrg": f"{MERGEABLE}\n{HOLD}",
    "mrg-drop": f'{MERGEABLE}\nfull = "drop"',
    "tso": f"{TSO}\n{HOLD}",
    "tso-drop": f'{TSO}\nfull = "drop"',
    "tso-mrg": f"{BOTH}\n{HOLD}",
    "tso-mrg-1ms": BOTH,
    "tso-mrg-drop": f'{BOTH}\nfull = "drop"',
}

#: Those that differ from "vale" in nothing but the answer to a full receiver.
RECEIVERS = ("tso-mrg-1ms", "tso-mrg-drop")

#: The settings of the two ports of each link that is ours, in TOML.
PORTS = {"vale": HOLD, "null": 'kind = "null"', **VARIANTS}

BRIDGE = "ringpass0"


def stream(directory: Path, guest: int) -> str:
    """Return QEMU's network over a stream socket: the first guest listens."""
    server = "on" if guest == 1 else "off"
    return f"stream,server={server},addr.type=unix,addr.path={directory}/stream.sock"


def dgram(directory: Path, guest: int) -> str:
    """Return QEMU's network over a datagram socket each."""
    return (
        f"dgram,local.type=unix,local.path={directory}/dgram{guest}.sock,"
        f"remote.type=unix,remote.path={directory}/dgram{3 - guest}.sock"
    )


def tap(_directory: Path, guest: int) -> str:
    """Return QEMU's network on a tap device, without vhost-net: frames pass through QEMU."""
    return f"tap,ifname={tap_name(guest)},script=no,downscript=no,vhost=off"


def tap_name(guest: int) -> str:
    """Return the tap device of a guest."""
    return f"rptap{guest}"


#: Networks that stock QEMU has without us: name -> -netdev, of a directory and guest 1 or 2.
NETDEVS: dict[str, Callable[[Path, int], str]] = {"stream": stream, "dgram": dgram, "tap": tap}


def config(names: list[str]) -> str:
    """Return the daemon's configuration with both ports of each of the links `names`."""
    tables = ["[daemon]\nworkers = 1"]
    for name in names:
        tables.append(f"[switch.{switch(name)}]")
        tables += [f'[port."{switch(name)}:vm{guest}"]\n{PORTS[name]}' for guest in (1, 2)]
    return "\n\n".join(tables) + "\n"


def switch(name: str) -> str:
    """Return the switch of a link: one for each, so that no frame takes another way."""
    return f"vale{list(PORTS).index(name)}"


def netdev_args(name: str, directory: Path, guest: int) -> list[str]:
    """Return QEMU's arguments for a network card on a network of its own.

    It has the interrupts that QEMU gives it; only cards of vhost-user must do without MSI-X.
    """
    netdev = NETDEVS[name](directory, guest)
    mac = f"52:54:00:00:{list(NETDEVS).index(name):02x}:{guest:02x}"
    return [
        *("-netdev", f"{netdev},id={name}"),
        *("-device", f"virtio-net-pci,netdev={name},mac={mac},vectors=4,romfile="),
    ]
