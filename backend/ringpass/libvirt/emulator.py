# SPDX-License-Identifier: BSD-2-Clause
"""The QEMU of a domain: the patched one, and what the stock one must be spared."""

from ringpass.libvirt import commandline
from ringpass.libvirt.document import Document, Element
from ringpass.libvirt.markup import Tag

FIRMWARE = ("/usr/share/qemu", "/usr/share/seabios", "/usr/lib/ipxe/qemu")
"""Where Debian has what the patched QEMU, which is not installed, would not find."""

GUARD = ("-global", "virtio-net-pci.vectors=0")
"""Stock QEMU 7.2 under TCG crashes when the driver of a vhost-user card unmasks a vector of MSI-X.
As a global property it is for cards, too, that are plugged in later."""


def emulator_of(domain: Element) -> str:
    """Return the program that runs a domain; empty if libvirt chooses."""
    found = domain.find("devices/emulator")
    return "" if found is None else found.text


def must_not_have_msix(domain: Element, patched: str) -> bool:
    """Tell whether MSI-X of a vhost-user card crashes a domain's QEMU, which `patched` is not."""
    stock = not patched or emulator_of(domain) != patched
    return domain.get("type") == "qemu" and stock


def lacks_guard(domain: Element, patched: str) -> bool:
    """Tell whether a vhost-user card can crash the QEMU of a domain, which `patched` is not."""
    return must_not_have_msix(domain, patched) and not commandline.has(domain, *GUARD)


def missing_firmware(domain: Element) -> tuple[str, ...]:
    """Return the arguments by which the patched QEMU finds its firmware, as far as they lack."""
    lacking = (place for place in FIRMWARE if not commandline.has(domain, "-L", place))
    return tuple(arg for place in lacking for arg in ("-L", place))


def use(document: Document, program: str) -> Document:
    """Return the domain with the patched QEMU at `program`; unchanged if it has that."""
    present = document.root.find("devices/emulator")
    if present is None:
        document = document.prepend(document.devices(), Tag("emulator", text=program))
    elif present.text != program:
        document = document.replace(present, Tag("emulator", text=program))
    args = missing_firmware(document.root)
    return commandline.add(document, args) if args else document
