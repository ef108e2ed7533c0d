# SPDX-License-Identifier: BSD-2-Clause
"""A domain whose network cards become ports: what its XML is to be, and which ports there must be.

Cards stay what they are for the guest, as far as the way to the port allows it: MAC address, place
on the PCI bus, boot order, queues. What a tap device did for them on the host, and a port does not,
is named; nothing of it is left out silently.
"""

import hashlib
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ringpass.errors import ConfigError, NotFound, RingpassError
from ringpass.libvirt import changes, devices
from ringpass.libvirt.document import Document, Element
from ringpass.libvirt.markup import Tag
from ringpass.libvirt.ports import PortDevice, Via
from ringpass.libvirt.sockets import port_key

TYPES = ("bridge", "network", "ethernet", "direct")
"""Cards with a tap or macvtap device on the host."""

MAX_QUEUES = 8
MAX_NAME = 15

_LOST = {
    "filterref": "its nwfilter rules",
    "vlan": "its VLAN tag",
    "bandwidth": "its bandwidth limits",
    "virtualport": "its virtual port",
    "ip": "the host's address on it",
    "route": "the host's routes through it",
    "teaming": "its failover partner",
}
"""What the host does with a tap device and nobody with a port: element -> in words."""

_OF_TAPS = ("target", "script", "downscript", "backend", "tune", "coalesce")
"""What says how the tap device is made; a port has none."""

_FEW_QUEUES = "the port has no more, or its QEMU has no KVM and could not use them"

_VIRTIO = ("virtio", "virtio-transitional", "virtio-non-transitional")


class NewPort(msgspec.Struct, frozen=True, kw_only=True):
    """A port for a card: its name, its table in a configuration, and whose frames it gets."""

    name: str
    settings: dict[str, Any]
    mac: str
    was: str
    """Where the frames of the card went: `bridge br0`."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A domain as it is to be. `notes` say what is different for its guest, or for its users."""

    xml: str
    ports: list[NewPort]
    notes: list[str]


DeviceOf = Callable[[NewPort], PortDevice]
"""Says how QEMU gets a port that is, or is to be."""


def plan(
    domain_xml: str,
    device_of: DeviceOf,
    *,
    switch: str,
    via: Via = "vhost-user",
    macs: Sequence[str] = (),
    names: Sequence[str] = (),
    addresses: Mapping[str, str] | None = None,
    force: bool = False,
    patched: str = "",
) -> Plan:
    """Return what becomes of a domain whose cards, or those with `macs`, become ports.

    They are called `names`, in their order, or after the domain. A domain without such cards that
    has ports stays as it is, and so does a card that is a port. `addresses` has the MAC addresses
    of the daemon's ports, by their sockets: those that are passed through have none in the domain.
    Raises NotFound if there are no such cards, RingpassError if one has what ports have not, and
    `force` does not say that it may go.
    """
    document = changes.domain_document(domain_xml)
    chosen = _chosen(document, macs, addresses or {})
    if names and chosen and len(set(names)) != len(chosen):
        raise ConfigError(
            "cannot convert the domain",
            f"{len(set(names))} ports are named, for {len(chosen)} network cards",
            "name as many ports as there are cards to convert, or none",
        )
    ports: list[NewPort] = []
    notes: list[str] = []
    for number, (index, card) in enumerate(chosen):
        name = names[number] if names else f"{switch}:{_name(document, index)}"
        port = NewPort(name=name, settings=_settings(card, via), mac=_mac(card), was=_was(card))
        lost = lost_features(card, via)
        if lost and not force:
            raise RingpassError(
                f"cannot convert the network card {port.mac}",
                f"{name} would not have {', '.join(lost)}",
                "convert others (--nic MAC), or let that go: --force",
            )
        notes += [f"{port.mac}: {feature} is gone" for feature in lost]
        notes += _differences(card, port, via)
        ports.append(port)
    # From the last one on: one that goes does not move those that are still to come.
    for port, (index, _) in reversed(list(zip(ports, chosen, strict=True))):
        device = device_of(port)
        if devices.find_devices(str(document), device.path):
            raise RingpassError(
                f"cannot convert the network card {port.mac}",
                f"the domain has {port.name} already, and a port has one card",
                "name another port: --port",
            )
        possible = changes.device_for(document, device, patched)
        if possible.queues < port.settings.get("queues", 1):
            notes.append(f"{port.mac}: {possible.queues} of its queues left: {_FEW_QUEUES}")
        document = _converted(document, index, possible, patched)
    return Plan(xml=str(document), ports=ports, notes=notes)


def lost_features(card: Element, via: Via) -> list[str]:
    """Return what a card has and would not have as a port, in words."""
    lost = [words for name, words in _LOST.items() if card.find(name) is not None]
    if card.value("port", "isolated") == "yes":
        lost.append("its isolation from other ports of the bridge")
    if card.value("source", "portgroup"):
        lost.append(f"what the port group {card.value('source', 'portgroup')} gives it")
    if card.get("type") == "direct" and card.value("source", "mode") in ("private", "vepa"):
        lost.append(f"the {card.value('source', 'mode')} mode of its macvtap")
    if int(card.value("driver", "queues") or 1) > MAX_QUEUES:
        lost.append(f"more than {MAX_QUEUES} of its {card.value('driver', 'queues')} queues")
    if card.value("driver", "iommu") == "on":
        lost.append("its use of a virtual IOMMU")
    if via != "vhost-user":
        if card.find("boot") is not None:
            lost.append("its place in the boot order")
        if card.value("link", "state") == "down":
            lost.append("its link being down at the start")
    return lost


def _chosen(
    document: Document, macs: Sequence[str], addresses: Mapping[str, str]
) -> list[tuple[int, Element]]:
    """Return the cards to convert, each with its number among all cards of the domain."""
    cards = list(enumerate(document.root.all("devices/interface")))
    wanted = {mac.lower() for mac in macs}
    found = [
        (index, card)
        for index, card in cards
        if card.get("type") in TYPES and (not wanted or _mac(card).lower() in wanted)
    ]
    by_port = {port_key(path): mac for path, mac in addresses.items()}
    ports = {
        (device.mac or by_port.get(port_key(device.path), "")).lower()
        for device in devices.devices_of(document)
    }
    missing = wanted - ports - {_mac(card).lower() for _, card in found}
    what = "cannot convert the domain"
    if missing:
        there = [f"{_mac(card)} ({card.get('type')})" for _, card in cards]
        raise NotFound(
            what,
            f"it has no network card {' or '.join(sorted(missing))} of type {', '.join(TYPES)}",
            f"it has {', '.join(there) or 'no network card'}",
        )
    if not found and not devices.devices_of(document):
        domain = shlex.quote(changes.domain_name(document))
        raise NotFound(
            what,
            f"it has no network card of type {', '.join(TYPES)}",
            f"give it a port: ringpass vm attach {domain} SWITCH:PORT --config",
        )
    return found


def _converted(document: Document, index: int, port: PortDevice, patched: str) -> Document:
    """Return the domain with a card as `port`, and all that it needs for it."""
    document, _, _ = changes.prepare(document, port, patched)
    if port.via == "vhost-user":
        return _as_vhost_user(document, index, port)
    card = _card(document, index)
    if port.via == "ivshmem":
        kept = [_tag(child) for child in card.children if child.tag in ("alias", "address")]
        return document.replace(card, devices.device_tag(port, kept))
    return changes.add_device(document.remove(card), port)


def _as_vhost_user(document: Document, index: int, port: PortDevice) -> Document:
    """Return the domain with the card on the port's socket, and all else of the card as it is."""
    document = document.set(_card(document, index), "type", "vhostuser")
    document = document.unset(_card(document, index), "trustGuestRxFilters")
    new = {
        child.name: child for child in devices.device_tag(port).children if isinstance(child, Tag)
    }
    for name in (*_OF_TAPS, *_LOST, "port"):
        while found := _card(document, index).find(name):
            document = document.remove(found)
    for name in ("source", "model", "driver"):
        found = _card(document, index).find(name)
        if found is None:
            document = document.append(_card(document, index), new[name])
        elif name == "source" or (name == "model" and found.get("type") not in _VIRTIO):
            document = document.replace(found, new[name])
    for attribute in ("name", "iommu", "ats"):
        document = document.unset(_driver(document, index), attribute)
    if int(_driver(document, index).get("queues", "1")) > port.queues:
        document = document.set(_driver(document, index), "queues", str(port.queues))
    return document


def _driver(document: Document, index: int) -> Element:
    return _card(document, index).all("driver")[0]


def _settings(card: Element, via: Via) -> dict[str, Any]:
    """Return the table in the configuration of a port that is what `card` was."""
    settings: dict[str, Any] = {"mac": _mac(card).lower()}
    if via != "vhost-user":
        settings["kind"] = "passthrough"
    queues = min(int(card.value("driver", "queues") or 1), MAX_QUEUES)
    if queues > 1:
        settings["queues"] = queues
    if mtu := card.value("mtu", "size"):
        settings["mtu"] = int(mtu)
    return settings


def _differences(card: Element, port: NewPort, via: Via) -> list[str]:
    """Return what will be different, beside what is lost."""
    notes = [f"{port.mac}: its frames go to {port.name} instead of {port.was}"]
    model = card.value("model", "type")
    if via == "ivshmem":
        notes.append(f"{port.mac}: the guest needs the ringpass driver; the card becomes rp0")
    elif via == "netdev":
        notes.append(f"{port.mac}: the guest needs a driver for ptnet; the card has another place")
    elif model not in _VIRTIO:
        notes.append(f"{port.mac}: the guest sees virtio instead of {model or 'the default model'}")
    if card.find("script") is not None:
        notes.append(f"{port.mac}: {card.value('script', 'path')} is not run any more")
    return notes


def _was(card: Element) -> str:
    source = card.find("source")
    where = {} if source is None else source.attributes
    name = where.get("bridge") or where.get("network") or where.get("dev")
    return f"{card.get('type')} {name or card.value('target', 'dev')}".strip()


def _name(document: Document, index: int) -> str:
    """Return the name of the port for a card, after that of the domain.

    A domain's may have other characters and be longer, so that its own hash keeps it apart.
    """
    found = document.root.find("name")
    domain = "vm" if found is None else found.text
    suffix = f".{index}" if index else ""
    name = re.sub(r"[^A-Za-z0-9_.]", "_", domain)
    if len(name) + len(suffix) > MAX_NAME:
        digest = hashlib.blake2s(domain.encode(), digest_size=2).hexdigest()
        name = f"{name[: MAX_NAME - len(suffix) - 5]}_{digest}"
    return name + suffix


def _mac(card: Element) -> str:
    return card.value("mac", "address")


def _card(document: Document, index: int) -> Element:
    return document.root.all("devices/interface")[index]


def _tag(element: Element) -> Tag:
    """Return an element of libvirt's as one of ours, to be written elsewhere."""
    return Tag(element.tag, element.attributes, tuple(map(_tag, element.children)), element.text)
