# SPDX-License-Identifier: BSD-2-Clause
"""The domains that have ports of ours, with what the daemon counted there."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import libvirt
import msgspec

from ringpass.errors import NotFound
from ringpass.libvirt.connection import told
from ringpass.libvirt.domains import Card, Domain, State, read
from ringpass.libvirt.sockets import port_key
from ringpass.observe.status import PortStatus


class Listed(msgspec.Struct, frozen=True):
    """A port of a domain. What came from the guest and went to it is counted in frames."""

    port: str
    """Empty: the daemon has none with this socket."""
    via: str
    path: str
    mac: str
    link: str
    """The state of the port, or `down` while the domain does not run."""
    from_guest: int = 0
    to_guest: int = 0


class ListedDomain(msgspec.Struct, frozen=True):
    """A domain with ports of ours."""

    name: str
    uuid: str
    state: State
    ports: list[str]
    cards: list[Listed]
    kind: Literal["libvirt"] = "libvirt"


def listing(
    connection: libvirt.virConnect, ports: Iterable[PortStatus], runtime_dir: Path
) -> list[ListedDomain]:
    """Return the domains with one of `ports`, or with another socket in our directory, by name.

    Raises RingpassError.
    """
    known = {port_key(port.path): port for port in ports if port.path}
    found = []
    for domain in _domains(connection):
        cards = [
            _listed(card, domain, known.get(port_key(card.path)))
            for card in domain.cards
            if port_key(card.path) in known or _is_within(card.path, runtime_dir)
        ]
        if cards:
            names = [card.port or card.path for card in cards]
            found.append(ListedDomain(domain.name, domain.uuid, domain.state, names, cards))
    return sorted(found, key=lambda domain: domain.name)


def _domains(connection: libvirt.virConnect) -> list[Domain]:
    """Return all domains but those that go meanwhile."""
    with told("cannot list the domains", ""):
        handles = connection.listAllDomains()
    found = []
    for handle in handles:
        try:
            found.append(read(handle))
        except NotFound:
            continue
    return found


def _listed(card: Card, domain: Domain, port: PortStatus | None) -> Listed:
    if port is None:
        return Listed("", card.via, card.path, card.mac, "down")
    return Listed(
        port.name,
        card.via,
        card.path,
        card.mac or port.mac,
        port.state if domain.active else "down",
        port.tx.frames,
        port.rx.frames,
    )


def _is_within(path: str, directory: Path) -> bool:
    return Path(port_key(path)).is_relative_to(os.path.realpath(directory))
