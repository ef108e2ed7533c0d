# SPDX-License-Identifier: BSD-2-Clause
"""Domains as facts: what libvirt says of them, read once."""

from collections.abc import Mapping
from typing import Literal

import libvirt
import msgspec

from ringpass.libvirt.connection import told
from ringpass.libvirt.devices import devices

State = Literal["running", "paused", "shutting down", "shut off", "crashed", "suspended", "unknown"]

STATES: Mapping[int, State] = {
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "shutting down",
    libvirt.VIR_DOMAIN_SHUTOFF: "shut off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "suspended",
}


class Card(msgspec.Struct, frozen=True):
    """A device of a domain that may be a port of ours: how, on which socket, with which address."""

    via: str
    path: str
    mac: str


class Domain(msgspec.Struct, frozen=True):
    """A domain: a running one with the devices that it has now, another with those it will have."""

    uuid: str
    name: str
    state: State
    active: bool
    cards: tuple[Card, ...]


def read(domain: libvirt.virDomain) -> Domain:
    """Return the facts of one domain. Raises RingpassError."""
    name = domain.name()
    with told(f"cannot read the domain {name}", name):
        state, _reason = domain.state()
        active = bool(domain.isActive())
        text = domain.XMLDesc(0)
    cards = tuple(Card(found.via, found.path, found.mac) for found in devices(text))
    return Domain(domain.UUIDString(), name, STATES.get(state, "unknown"), active, cards)
