# SPDX-License-Identifier: BSD-2-Clause
"""The devices by which domains have ports: how they are written, and which a domain has."""

from collections.abc import Iterator, Sequence

import msgspec

from ringpass.errors import ConfigError
from ringpass.libvirt import commandline
from ringpass.libvirt.document import Document, Element
from ringpass.libvirt.markup import Tag, render
from ringpass.libvirt.ports import DEFAULT_MTU, PortDevice, Via
from ringpass.libvirt.sockets import port_key

RING_SIZE = "1024"
"""Of virtqueues, QEMU's longest: senders wait for a full ring, which a longer one seldom is."""

RECONNECT_S = "1"

_GUEST_OFFLOADS = ("csum", "tso4", "tso6", "ecn")
_HOST_OFFLOADS = (*_GUEST_OFFLOADS, "mrg_rxbuf")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A device of a domain that is, or may be, a port of ours.

    `xml` is its element; empty for `-netdev ringpass`, of which libvirt knows nothing.
    """

    via: Via
    path: str
    mac: str = ""
    alias: str = ""
    xml: str = ""


def device_tag(port: PortDevice, kept: Sequence[Tag] = ()) -> Tag:
    """Return the device of `port`, with `kept` in it. Raises ConfigError for a netdev."""
    if port.via == "vhost-user":
        return _interface(port, kept)
    if port.via == "ivshmem":
        return _shmem(port, kept)
    raise ConfigError(
        f"there is no device of libvirt's for {port.name}",
        "it is had via -netdev ringpass, an argument of the patched QEMU",
        "change the domain's configuration: ringpass vm attach DOMAIN PORT --config",
    )


def device_xml(port: PortDevice, address: Tag | None = None) -> str:
    """Return the device of `port` as `virsh attach-device` takes it, at a PCI address if given.

    Raises ConfigError for a netdev.
    """
    return render(device_tag(port, () if address is None else (address,)))


def netdev_args(port: PortDevice, number: int, address: str) -> list[str]:
    """Return QEMU's arguments for `port` at `address`, such as `bus=pci.0,addr=0x1c`."""
    name = f"ringpass{number}"
    path = commandline.escaped(port.path)
    device = f"{port.device},id={name}-nic,netdev={name},mac={port.mac},{address}"
    if port.device == "virtio-net-pci":
        # No firmware for network boot: libvirt has no boot order for this card.
        device += ",romfile="
        if port.queues > 1:
            device += f",mq=on,vectors={2 * port.queues + 2}"
    return [
        *("-netdev", f"ringpass,id={name},path={path},queues={port.queues}"),
        *("-device", device),
    ]


def free_number(domain: Element) -> int:
    """Return the lowest number that no netdev of ours in the domain has."""
    used = {options["id"] for _, options in _netdevs(domain)}
    return next(number for number in range(len(used) + 1) if f"ringpass{number}" not in used)


def devices(domain_xml: str) -> list[Found]:
    """Return the devices of a domain that go to a socket as ports do. Raises ConfigError."""
    return devices_of(Document(domain_xml))


def devices_of(document: Document) -> list[Found]:
    """Return the same of a domain that has been parsed."""
    found = [
        Found(
            via=via,
            path=element.value(where, "path"),
            mac=element.value("mac", "address"),
            alias=element.value("alias", "name"),
            xml=document.source(element),
        )
        for via, where, element in _elements(document.root)
    ]
    return found + [
        Found(via="netdev", path=path, mac=_device_mac(document.root, options["id"]))
        for path, options in _netdevs(document.root)
    ]


def find_devices(domain_xml: str, path: str) -> list[Found]:
    """Return the devices of a domain that are the port with the socket `path`, by either way."""
    key = port_key(path)
    return [found for found in devices(domain_xml) if port_key(found.path) == key]


def remove_device(document: Document, found: Found) -> Document:
    """Return the domain without the device `found`."""
    if found.via != "netdev":
        element = next(
            element
            for _, where, element in _elements(document.root)
            if element.value(where, "path") == found.path
        )
        return document.remove(element)
    netdevs = {path: options["id"] for path, options in _netdevs(document.root)}
    name = netdevs[found.path]
    for argument in reversed(commandline.arguments(document.root)):
        _, options = commandline.parse_options(argument.value)
        own = argument.option == "-netdev" and options.get("id") == name
        if own or (argument.option == "-device" and options.get("netdev") == name):
            document = commandline.remove(document, argument.option, argument.value)
    return document


def _interface(port: PortDevice, kept: Sequence[Tag]) -> Tag:
    reconnect = Tag("reconnect", {"enabled": "yes", "timeout": RECONNECT_S})
    source = Tag(
        "source",
        {"type": "unix", "path": port.path, "mode": "server" if port.server else "client"},
        () if port.server else (reconnect,),
    )
    driver = {"rx_queue_size": RING_SIZE, "tx_queue_size": RING_SIZE}
    if port.queues > 1:
        driver = {"queues": str(port.queues), **driver}
    if "event_idx" in port.without:
        driver["event_idx"] = "off"
    sides = (("host", _HOST_OFFLOADS), ("guest", _GUEST_OFFLOADS))
    offloads = tuple(
        Tag(side, dict.fromkeys(absent, "off"))
        for side, known in sides
        if (absent := [name for name in known if name in port.without])
    )
    children = [
        Tag("mac", {"address": port.mac}),
        source,
        Tag("model", {"type": "virtio"}),
        Tag("driver", driver, offloads),
    ]
    if port.mtu != DEFAULT_MTU:
        children.append(Tag("mtu", {"size": str(port.mtu)}))
    return Tag("interface", {"type": "vhostuser"}, (*children, *kept))


def _shmem(port: PortDevice, kept: Sequence[Tag]) -> Tag:
    children = (
        Tag("model", {"type": "ivshmem-doorbell"}),
        Tag("server", {"path": port.path}),
        Tag("msi", {"vectors": str(port.vectors), "ioeventfd": "on"}),
    )
    return Tag("shmem", {"name": port.label, "role": "peer"}, (*children, *kept))


def _elements(domain: Element) -> Iterator[tuple[Via, str, Element]]:
    """Yield each device that goes to a socket: the way, where its path is, and its element."""
    for element in domain.all("devices/interface"):
        if element.get("type") == "vhostuser":
            yield "vhost-user", "source", element
    for element in domain.all("devices/shmem"):
        if element.find("server") is not None:
            yield "ivshmem", "server", element


def _netdevs(domain: Element) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the path and the options of each `-netdev ringpass`."""
    for argument in commandline.arguments(domain):
        if argument.option == "-netdev":
            kind, options = commandline.parse_options(argument.value)
            if kind == "ringpass" and "path" in options and "id" in options:
                yield options["path"], options


def _device_mac(domain: Element, netdev: str) -> str:
    for argument in commandline.arguments(domain):
        if argument.option == "-device":
            _, options = commandline.parse_options(argument.value)
            if options.get("netdev") == netdev:
                return options.get("mac", "")
    return ""
