# SPDX-License-Identifier: BSD-2-Clause
"""Places on the root bus of a domain, for devices that libvirt does not know of."""

import contextlib

from ringpass.errors import ConfigError, RingpassError
from ringpass.libvirt import commandline
from ringpass.libvirt.document import Element

SLOTS = range(0x1C, 2, -1)
"""Below 3 pc has its bridges and its graphics card, above 0x1c q35 its ISA bridge and USB. libvirt
gives addresses away from the lowest one on, and does not know of ours: so these go downwards."""

_ROOT_BUSES = ("pci.0", "pcie.0")


def root_bus(domain: Element) -> str:
    """Return QEMU's name of a domain's root bus. Raises ConfigError if its machine has none."""
    machine = domain.value("os/type", "machine")
    if "q35" in machine:
        return "pcie.0"
    if machine in ("", "pc") or machine.startswith("pc-"):
        return "pci.0"
    raise ConfigError(
        "the patched QEMU cannot run the domain",
        f"it has machines pc and q35, and the domain's is {machine}",
        "use --via ivshmem, or a port of kind vhost-user",
    )


def free_address(domain: Element) -> str:
    """Return `bus=,addr=` of a free slot of the root bus. Raises RingpassError if all are taken."""
    bus = root_bus(domain)
    used = _slots_of_devices(domain) | _slots_of_arguments(domain)
    for slot in SLOTS:
        if slot not in used:
            return f"bus={bus},addr={slot:#x}"
    raise RingpassError(
        "there is no place for the port in the domain",
        "all slots of its root PCI bus are taken",
        "remove a device, or use a port of kind vhost-user, which libvirt finds a bus for",
    )


def _slots_of_devices(domain: Element) -> set[int]:
    return {
        int(address.get("slot", "0"), 0)
        for address in domain.walk()
        if address.tag == "address"
        and address.get("type") == "pci"
        # That of a host device's source is one of the host: to avoid it, too, does not hurt.
        and int(address.get("bus", "0"), 0) == 0
    }


def _slots_of_arguments(domain: Element) -> set[int]:
    """Return those that the user's own devices have. What is no slot is for QEMU to complain of."""
    used = set()
    for found in commandline.arguments(domain):
        if found.option == "-device":
            _, options = commandline.parse_options(found.value)
            slot = options.get("addr", "").partition(".")[0]
            if options.get("bus", _ROOT_BUSES[0]) in _ROOT_BUSES:
                with contextlib.suppress(ValueError):
                    used.add(int(slot, 16))
    return used
