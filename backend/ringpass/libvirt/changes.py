# SPDX-License-Identifier: BSD-2-Clause
"""What a port makes of a domain: its device, and all else that the domain needs for it."""

import shlex
from collections.abc import Sequence

import msgspec

from ringpass.errors import ConfigError, RingpassError
from ringpass.libvirt import commandline, devices, emulator, memory, pci
from ringpass.libvirt.document import Document
from ringpass.libvirt.markup import Tag
from ringpass.libvirt.ports import PortDevice


class Change(msgspec.Struct, frozen=True):
    """A domain as it is to be.

    `done` says in words what is new in its XML; without any the text is the old one. `restart` says
    why a domain that runs has to be started anew: without any, its device may be plugged in.
    """

    xml: str
    done: list[str]
    restart: list[str]


def add_port(domain_xml: str, port: PortDevice, *, patched: str = "") -> Change:
    """Give a domain `port`, and what it lacks for it. What it has already stays as it is.

    `patched` is the patched QEMU, which a netdev needs. Raises ConfigError for XML that is no
    domain's, RingpassError if the domain cannot have the port.
    """
    document = domain_document(domain_xml)
    document, done, restart = prepare(document, port, patched)
    present = devices.find_devices(str(document), port.path)
    if not present:
        possible = device_for(document, port, patched)
        document = add_device(document, possible)
        done.append(f"device for {port.name}, via {port.via}")
        if possible.queues < port.queues:
            done.append(f"1 of its {port.queues} queues: with more, libvirt turns MSI-X on")
        if port.via == "netdev":
            restart.append("libvirt cannot plug a device in that it does not know")
    elif present[0].via != port.via:
        raise RingpassError(
            f"cannot add {port.name} via {port.via}",
            f"the domain has it, via {present[0].via}",
            f"detach it first: ringpass vm detach {shlex.join([domain_name(document), port.name])}",
        )
    return Change(str(document), done, restart)


def remove_port(domain_xml: str, path: str) -> Change:
    """Take the port with the socket `path` from a domain; what else it has got for it stays."""
    document = domain_document(domain_xml)
    found = devices.find_devices(domain_xml, path)
    for device in found:
        document = devices.remove_device(document, device)
    done = [f"device of {device.path} removed" for device in found]
    netdev = any(device.via == "netdev" for device in found)
    reason = "libvirt cannot unplug a device that it does not know"
    return Change(str(document), done, [reason] if netdev else [])


def missing(domain_xml: str, port: PortDevice, *, patched: str = "") -> list[str]:
    """Return what a domain lacks for `port`, beside the device: with any, it cannot be plugged in.

    `domain_xml` is that of the running domain.
    """
    return prepare(domain_document(domain_xml), port, patched)[2]


def prepare(
    document: Document, port: PortDevice, patched: str
) -> tuple[Document, list[str], list[str]]:
    """Return the domain with what `port` needs of it, what was done, and why that was needed."""
    done: list[str] = []
    why: list[str] = []
    if port.via != "ivshmem" and not memory.is_shared(document.root):
        document = memory.share(document)
        done.append("guest memory is shared")
        why.append("its memory is private, and the backend cannot map it")
    if port.via == "vhost-user" and emulator.lacks_guard(document.root, patched):
        document = commandline.add(document, emulator.GUARD)
        done.append("MSI-X of virtio cards is off")
        why.append("its QEMU, without KVM, would crash when the driver turns MSI-X on")
    if port.via == "netdev":
        pci.root_bus(document.root)
        if emulator.emulator_of(document.root) != patched:
            why.append(f"its QEMU is not the patched one, {patched}")
        changed = emulator.use(document, patched)
        if changed is not document:
            document = changed
            done.append(f"QEMU is {patched}")
    return document, done, why


def device_for(document: Document, port: PortDevice, patched: str) -> PortDevice:
    """Return `port` as the domain can have it.

    libvirt gives a card with several queues as many vectors, by number: the guard against MSI-X,
    which is a default, has no effect there.
    """
    if port.via == "vhost-user" and emulator.must_not_have_msix(document.root, patched):
        return msgspec.structs.replace(port, queues=1)
    return port


def add_device(document: Document, port: PortDevice, kept: Sequence[Tag] = ()) -> Document:
    """Return the domain with the device of `port`, which has `kept` in it."""
    if port.via == "netdev":
        number = devices.free_number(document.root)
        address = pci.free_address(document.root)
        return commandline.add(document, devices.netdev_args(port, number, address))
    return document.append(document.devices(), devices.device_tag(port, kept))


def domain_document(text: str) -> Document:
    """Return the domain that `text` describes. Raises ConfigError if it does not describe one."""
    document = Document(text)
    if document.root.tag != "domain":
        raise ConfigError(
            "cannot read the domain",
            f"its XML is a <{document.root.tag}>, and a domain's is a <domain>",
            "give what virsh dumpxml DOMAIN prints",
        )
    return document


def domain_name(document: Document) -> str:
    """Return what libvirt calls the domain; `DOMAIN` if its XML does not say so."""
    found = document.root.find("name")
    return "DOMAIN" if found is None else found.text
