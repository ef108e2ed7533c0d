# SPDX-License-Identifier: BSD-2-Clause
"""Guest memory that the backend can map.

libvirt gives a domain private memory, unless the domain, a cell of its NUMA topology, or a memory
device says that it is shared. What is in no file cannot be shared; so memory that is anonymous, as
it is by default, becomes a memfd. Hugepages are files already.
"""

from ringpass.libvirt.document import Document, Element
from ringpass.libvirt.markup import Tag

SOURCE = Tag("source", {"type": "memfd"})
ACCESS = Tag("access", {"mode": "shared"})
BACKING = Tag("memoryBacking", {}, (SOURCE, ACCESS))

_FILES = ("file", "memfd")
_DEVICES_OF_RAM = ("dimm", "virtio-mem")


def is_shared(domain: Element) -> bool:
    """Tell whether all memory of a domain is such that the backend can map it."""
    if not _in_files(domain):
        return False
    by_default = domain.value("memoryBacking/access", "mode") == "shared"
    # Without NUMA cells the memory of the domain is one piece, which says nothing.
    modes = [piece.get(attribute) for piece, attribute in _pieces(domain)]
    if domain.find("cpu/numa/cell") is None:
        modes.append("")
    return all(mode == "shared" or (not mode and by_default) for mode in modes)


def share(document: Document) -> Document:
    """Return the domain with its memory shared; unchanged if it is."""
    if is_shared(document.root):
        return document
    document = _share_by_default(document)
    for index, (_, attribute) in enumerate(_pieces(document.root)):
        piece, _ = _pieces(document.root)[index]
        if piece.get(attribute) == "private":
            document = document.set(piece, attribute, "shared")
    return document


def _share_by_default(document: Document) -> Document:
    backing = document.root.find("memoryBacking")
    if backing is None:
        after = document.root.find("currentMemory") or document.root.find("memory")
        if after is None:
            return document.append(document.root, BACKING)
        return document.insert_after(after, BACKING)
    if not _in_files(document.root):
        source = backing.find("source")
        document = (
            document.append(backing, SOURCE)
            if source is None
            else document.set(source, "type", "memfd")
        )
    backing = document.root.find("memoryBacking")
    assert backing is not None
    access = backing.find("access")
    if access is None:
        return document.append(backing, ACCESS)
    return document.set(access, "mode", "shared")


def _in_files(domain: Element) -> bool:
    hugepages = domain.find("memoryBacking/hugepages") is not None
    return hugepages or domain.value("memoryBacking/source", "type") in _FILES


def _pieces(domain: Element) -> list[tuple[Element, str]]:
    """Return the pieces of memory that may say whether they are shared, and the attribute."""
    cells = [(cell, "memAccess") for cell in domain.all("cpu/numa/cell")]
    return cells + [
        (device, "access")
        for device in domain.all("devices/memory")
        if device.get("model") in _DEVICES_OF_RAM
    ]
