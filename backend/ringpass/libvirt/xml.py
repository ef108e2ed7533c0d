# SPDX-License-Identifier: BSD-2-Clause
"""What has to be written into a domain's XML for a port, with the reasons, for people to read.

It is XML that libvirt takes: a `<domain>` with nothing in it but what the port needs, each thing at
its place.
"""

import msgspec

from ringpass.libvirt import changes, commandline, devices, emulator, memory, pci
from ringpass.libvirt.document import Document
from ringpass.libvirt.markup import Comment, Tag, render
from ringpass.libvirt.ports import PortDevice

_WHY_SHARED = "The backend maps the guest's memory. It can if that is shared, and in a file."
_WHY_EMULATOR = "The patched QEMU. It has the devices of qemu-patches/config, and no others."
_WHY_FIRMWARE = "Firmware, which is where the stock QEMU has it:"
_WHY_NETDEV = "The port. libvirt knows nothing of its device, so its place is fixed:"
_WHY_Q35 = "The port. A q35 machine has bus=pcie.0. The place must be free:"
_WHY_GUARD = (
    "Only in <domain type='qemu'>: without KVM, QEMU crashes when the driver of a\n"
    "vhost-user card turns MSI-X on. With KVM leave it out: MSI-X is faster. Without\n"
    "KVM leave queues= out, too: for several, libvirt turns MSI-X on itself."
)
_WHY_VIRTIO = "In the guest this is an ordinary virtio card."
_WHY_SHMEM = "In the guest this is a PCI device for the ringpass driver."
_NOTHING = "The domain has all that the port needs."


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a domain needs for a port. What is empty or false it has, or does not need.

    `args` are QEMU's; `args_without_kvm` are for domains without KVM alone. `xml` has all of it, in
    a `<domain>`.
    """

    port: str
    via: str
    emulator: str = ""
    shared_memory: bool = False
    device: str = ""
    args: list[str] = []
    args_without_kvm: list[str] = []
    xml: str = ""


def wanted(port: PortDevice, *, patched: str = "", domain_xml: str | None = None) -> Wanted:
    """Return what a domain needs for `port`: what this one lacks, or what any does.

    Raises ConfigError or RingpassError if the domain cannot have the port.
    """
    document = Document("<domain/>") if domain_xml is None else changes.domain_document(domain_xml)
    domain = document.root
    absent = not devices.find_devices(str(document), port.path)
    shared = port.via != "ivshmem" and not memory.is_shared(domain)
    program, guard = "", False
    groups: list[tuple[str, tuple[str, ...]]] = []
    if port.via == "netdev":
        program = "" if emulator.emulator_of(domain) == patched else patched
        groups.append((_WHY_FIRMWARE, emulator.missing_firmware(domain)))
        if absent:
            why = _WHY_Q35 if domain_xml is None else _WHY_NETDEV
            groups.append((why, _netdev(port, document)))
    elif port.via == "vhost-user":
        guard = domain_xml is None or emulator.lacks_guard(domain, patched)
        groups.append((_WHY_GUARD, emulator.GUARD if guard else ()))
    possible = changes.device_for(document, port, patched)
    tag = devices.device_tag(possible) if absent and port.via != "netdev" else None
    args = [arg for _, group in groups for arg in group]
    return Wanted(
        port=port.name,
        via=port.via,
        emulator=program,
        shared_memory=shared,
        device=render(tag) if tag else "",
        args=[] if guard else args,
        args_without_kvm=args if guard else [],
        xml=_domain(port, document, shared, program, tag, groups),
    )


def _netdev(port: PortDevice, document: Document) -> tuple[str, ...]:
    number = devices.free_number(document.root)
    return tuple(devices.netdev_args(port, number, pci.free_address(document.root)))


def _domain(
    port: PortDevice,
    document: Document,
    shared: bool,
    program: str,
    device: Tag | None,
    groups: list[tuple[str, tuple[str, ...]]],
) -> str:
    """Return a `<domain>` with what is asked for, and why it is."""
    domain = document.root
    name = domain.find("name")
    children: list[Tag | Comment] = []
    if name is not None:
        children.append(Tag("name", text=name.text))
    if shared:
        children += [Comment(_WHY_SHARED), memory.BACKING]
    in_devices: list[Tag | Comment] = []
    if program:
        in_devices += [Comment(_WHY_EMULATOR), Tag("emulator", text=program)]
    if device is not None:
        why = _WHY_VIRTIO if port.via == "vhost-user" else _WHY_SHMEM
        in_devices += [Comment(f"{port.name}, via {port.via}. {why}"), device]
    if in_devices:
        children.append(Tag("devices", {}, tuple(in_devices)))
    args = [(Comment(why), group) for why, group in groups if group]
    if args:
        children.append(commandline.explained(args))
    if len(children) == (name is not None):
        children.append(Comment(_NOTHING))
    attributes = {"type": domain.get("type")} if domain.get("type") else {}
    if args:
        attributes["xmlns:qemu"] = commandline.NAMESPACE
    return render(Tag("domain", attributes, tuple(children))) + "\n"
