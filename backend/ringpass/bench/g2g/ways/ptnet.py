# SPDX-License-Identifier: BSD-2-Clause
"""Ports on `-netdev ringpass` of the patched QEMU: mapped by ptnet-pci, or copied for virtio."""

from ringpass.bench.g2g.link import Card, Link
from ringpass.bench.g2g.ways.passthrough import PASSTHROUGH, PIPE_END, port
from ringpass.vm.nic import Device


def linked(name: str, via: str, device: Device, ends: tuple[str, str], settings: str) -> Link:
    """Return a link between two ports of a switch of its own, by which guests have `device`."""
    one, two = (Card(end, passthrough=device == "ptnet-pci", device=device) for end in ends)
    switch = ends[0].partition(":")[0]
    tables = "\n\n".join([f"[switch.{switch}]", *(port(end, settings) for end in ends)])
    return Link(name, via, ((one,), (two,)), tables)


LINKS = [
    linked("ptnet", "ptnet-vale", "ptnet-pci", ("valepn:vm1", "valepn:vm2"), PASSTHROUGH),
    linked("ptnet-pipe", "ptnet-pipe", "ptnet-pci", ("valepnp:p{1", "valepnp:p}1"), PIPE_END),
    linked(
        *("netdev-virtio", "netdev-virtio", "virtio-net-pci"),
        ("valend:vm1", "valend:vm2"),
        PASSTHROUGH,
    ),
]
