# SPDX-License-Identifier: BSD-2-Clause
"""Command lines of QEMU. Pure functions: nothing here runs or looks at anything."""

from pathlib import Path
from typing import Literal

import msgspec

from ringpass.errors import ConfigError
from ringpass.vm.nic import Nic, check_guest_name, check_socket_path, guest_parameters

PROGRAM = "qemu-system-x86_64"

Accel = Literal["tcg", "kvm"]


class Emulator(msgspec.Struct, frozen=True, kw_only=True):
    """A QEMU to run: Debian's, or one with our patches, from wherever it was built."""

    program: str = PROGRAM
    patched: bool = False


STOCK = Emulator()


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A guest for QEMU. `memory` is in MiB; `parameters` are added to the kernel's command line.

    The serial console is QEMU's standard input and output. `reboot` false makes a reboot of the
    guest the end of QEMU. With `incoming` it boots nothing, and waits on that socket for a guest
    that migrates from a machine that is the same otherwise. `extra` goes to the end of the command
    line as it is.
    """

    name: str
    kernel: Path
    initrd: Path
    nics: tuple[Nic, ...] = ()
    memory: int = 256
    smp: int = 1
    accel: Accel = "tcg"
    parameters: tuple[str, ...] = ()
    qmp: Path | None = None
    incoming: Path | None = None
    reboot: bool = True
    extra: tuple[str, ...] = ()
    emulator: Emulator = STOCK

    def __post_init__(self) -> None:
        check_guest_name(self.name)
        for nic in self.nics:
            check_nic(nic, self.emulator)
        for path in (self.qmp, self.incoming):
            if path is not None:
                check_socket_path(path)


def command(machine: Machine) -> list[str]:
    """Return the argument vector that runs `machine`."""
    argv = [machine.emulator.program, "-no-user-config", "-nodefaults", "-display", "none"]
    argv += ["-name", machine.name]
    argv += accel_args(machine.accel, machine.emulator)
    argv += ["-smp", str(machine.smp)]
    argv += memory_args(machine.memory, machine.accel)
    argv += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
    if machine.qmp is not None:
        argv += ["-qmp", f"unix:{escaped(str(machine.qmp))},server=on,wait=off"]
    if not machine.reboot:
        argv.append("-no-reboot")
    argv += ["-kernel", str(machine.kernel), "-initrd", str(machine.initrd)]
    argv += ["-append", " ".join(kernel_parameters(machine))]
    for index, nic in enumerate(machine.nics):
        argv += nic_args(nic, index)
    if machine.incoming is not None:
        argv += ["-incoming", f"unix:{machine.incoming}"]
    argv += machine.extra
    return argv


def kernel_parameters(machine: Machine) -> list[str]:
    """Return what the guest's kernel is told: its console, and what init reads."""
    # panic=-1: a kernel that panics reboots at once, which a test sees; it would hang otherwise.
    fixed = ["console=ttyS0", "quiet", "panic=-1"]
    if machine.accel == "tcg":
        # The kernel counts ten ticks of the timer in a loop. On a busy host QEMU delivers fewer,
        # and the kernel would take the timer for one that does not work.
        fixed.append("no_timer_check")
    return [*fixed, *guest_parameters(machine.name, machine.nics), *machine.parameters]


def check_nic(nic: Nic, emulator: Emulator) -> None:
    """Raise ConfigError for a card that `emulator` does not have."""
    if nic.device and not emulator.patched:
        raise ConfigError(
            f"QEMU cannot be attached to {nic.socket}",
            "stock QEMU has no -netdev ringpass",
            "use the patched one (--qemu patched), or ivshmem",
        )


def accel_args(accel: Accel, emulator: Emulator = STOCK) -> list[str]:
    """Return the accelerator, a CPU that suits it, and the guard that stock QEMU needs with TCG.

    QEMU 7.2 dereferences NULL when a guest unmasks MSI-X vectors of a vhost-user virtio-net
    device and there is no KVM. Without vectors the device uses INTx, which works. As a global
    property this also covers cards that are plugged in later. Under KVM MSI-X works, is faster,
    and must stay; and one of our patches mends it under TCG.

    TCG's default CPU has no RDRAND, and without it a guest waits seconds for random numbers.
    """
    if accel == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    guard = [] if emulator.patched else ["-global", "virtio-net-pci.vectors=0"]
    return ["-accel", "tcg,thread=multi", "-cpu", "qemu64,+rdrand", *guard]


def memory_args(mebibytes: int, accel: Accel) -> list[str]:
    """Return guest memory in a shared memfd: the back end must be able to map it.

    Under TCG there are 8 KiB more of it. QEMU 7.2 looks for pages that changed 64 at a time, and
    then forgets to have the next write to them noticed: a guest that migrates arrives with stale
    pages. Memory that is no multiple of 64 pages is looked through page by page, which is right.
    """
    size = f"{mebibytes}M" if accel == "kvm" else f"{mebibytes * 1024 + 8}K"
    return [
        *("-m", size),
        *("-object", f"memory-backend-memfd,id=ram,size={size},share=on"),
        *("-machine", "pc,memory-backend=ram"),
    ]


def nic_args(nic: Nic, index: int) -> list[str]:
    """Return the parts of a network card: the chardev and the netdev that it needs, and the device.

    ivshmem-doorbell has no netdev. Its chardev must not reconnect: QEMU would spin for ever.
    """
    if nic.device:
        return ["-netdev", ringpass_netdev(nic, index), "-device", device(nic, index)]
    if nic.vectors:
        return [
            *("-chardev", f"socket,id=chr{index},path={escaped(str(nic.socket))}"),
            *(
                "-device",
                f"ivshmem-doorbell,id=port{index},vectors={nic.vectors},chardev=chr{index}",
            ),
        ]
    return [
        *("-chardev", chardev(nic, index)),
        *("-netdev", netdev(nic, index)),
        *("-device", device(nic, index)),
    ]


def chardev(nic: Nic, index: int) -> str:
    options = [f"socket,id=chr{index}", f"path={escaped(str(nic.socket))}"]
    if nic.server:
        options.append("server=on")
    elif nic.reconnect:
        options.append(f"reconnect={nic.reconnect}")
    return ",".join(options)


def netdev(nic: Nic, index: int) -> str:
    return f"vhost-user,id=net{index},chardev=chr{index},queues={nic.queues}"


def ringpass_netdev(nic: Nic, index: int) -> str:
    options = [f"ringpass,id=net{index}", f"path={escaped(str(nic.socket))}"]
    if nic.reconnect != 1:  # a second is its default
        options.append(f"reconnect={nic.reconnect}")
    if nic.queues > 1 and not nic.mapped:
        options.append(f"queues={nic.queues}")
    return ",".join(options)


def device(nic: Nic, index: int) -> str:
    if nic.mapped:
        return f"{nic.device},id=nic{index},netdev=net{index}"
    # romfile= is empty: no firmware for network boot, which takes a second of every start.
    options = [f"virtio-net-pci,id=nic{index},netdev=net{index},romfile="]
    if nic.mac:
        options.append(f"mac={nic.mac}")
    if nic.queues > 1:
        options.append("mq=on")
    if nic.packed:
        options.append("packed=on")
    for feature in ("mrg_rxbuf", "event_idx", "indirect_desc"):
        if not getattr(nic, feature):
            options.append(f"{feature}=off")
    for size in ("host_mtu", "rx_queue_size", "tx_queue_size"):
        if value := getattr(nic, size):
            options.append(f"{size}={value}")
    return ",".join(options)


def escaped(value: str) -> str:
    """Return a value as QEMU's option syntax wants it: commas doubled."""
    return value.replace(",", ",,")
