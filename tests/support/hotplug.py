# SPDX-License-Identifier: BSD-2-Clause
"""What is plugged into QEMU guests while they run, and taken out again."""

from ringpass.vm import qemu
from ringpass.vm.guest import Guest
from ringpass.vm.nic import Nic
from ringpass.vm.qmp import Qmp

MODULE = 128 << 20
"""Bytes of a memory module, the least that Linux takes."""

UNPLUG_S = 60.0
"""Seconds that a guest has to let go of a device."""


def plug_memory(qmp: Qmp, guest: Guest, name: str) -> None:
    """Add a memory module, which the guest's kernel onlines as `name` says: kernel or movable."""
    guest.check(f"echo online_{name} >/sys/devices/system/memory/auto_online_blocks")
    backend = f"ram-{name}"
    qmp.execute("object-add", qom_type="memory-backend-memfd", id=backend, size=MODULE, share=True)
    qmp.execute("device_add", driver="pc-dimm", id=name, memdev=backend)


def plug_nic(qmp: Qmp, guest: Guest, nic: Nic, number: int, interface: str) -> None:
    """Add a network card that becomes `interface`, the next free one, of the guest.

    `number` is one that no card of this guest ever had.
    """
    tell(qmp, f"chardev-add {qemu.chardev(nic, number)}")
    tell(qmp, f"netdev_add {qemu.netdev(nic, number)}")
    tell(qmp, f"device_add {qemu.device(nic, number)}")
    guest.check(f"until [ -e /sys/class/net/{interface} ]; do sleep 0.05; done")


def unplug_nic(qmp: Qmp, number: int) -> None:
    """Take a network card out, and its netdev, which takes the chardev along."""
    unplug(qmp, f"nic{number}")
    qmp.execute("netdev_del", id=f"net{number}")


def unplug(qmp: Qmp, name: str) -> None:
    """Ask a guest for a device back; return when it has let go of it."""
    qmp.execute("device_del", id=name)
    # The device's parts go first, each with an event.
    while qmp.wait_event("DEVICE_DELETED", UNPLUG_S)["data"].get("device") != name:
        pass


def tell(qmp: Qmp, command: str) -> None:
    """Give QEMU a command in the syntax of its command line. It says something only if it fails."""
    answer = qmp.execute("human-monitor-command", command_line=command)
    assert answer == "", answer
