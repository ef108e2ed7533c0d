# SPDX-License-Identifier: BSD-2-Clause
"""Command lines of User-mode Linux. Pure functions: nothing here runs or looks at anything."""

from pathlib import Path

import msgspec

from ringpass.errors import ConfigError
from ringpass.vm.nic import Nic, check_guest_name, check_socket_path, guest_parameters

ENVIRONMENT = {"TMPDIR": "/dev/shm"}  # noqa: S108
"""UML keeps its memory in an unlinked file of TMPDIR: on a disk every guest store would be slow."""

VIRTIO_ID_NET = 1


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A guest for User-mode Linux. `memory` is in MiB.

    `directory` is where it keeps its pid file and management socket, for itself alone. The
    console is its standard input and output.
    """

    name: str
    kernel: Path
    initrd: Path
    directory: Path
    nics: tuple[Nic, ...] = ()
    memory: int = 256
    parameters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_guest_name(self.name)
        for nic in self.nics:
            check_nic(nic)
        check_socket_path(self.directory / self.name / "mconsole")


def command(machine: Machine) -> list[str]:
    """Return the argument vector that runs `machine`; run it with `ENVIRONMENT`."""
    return [
        str(machine.kernel),
        f"mem={machine.memory}M",
        f"initrd={machine.initrd}",
        f"umid={machine.name}",
        f"uml_dir={machine.directory}",
        # One console, on standard input and output; no serial lines.
        *("con=null", "con0=fd:0,fd:1", "ssl=null"),
        "quiet",
        *(device(nic, number) for number, nic in enumerate(machine.nics, start=1)),
        *guest_parameters(machine.name, machine.nics),
        *machine.parameters,
    ]


def check_nic(nic: Nic) -> None:
    """Raise ConfigError for a card that User-mode Linux cannot have."""
    what = f"User-mode Linux cannot be attached to {nic.socket}"
    if nic.vectors or nic.device:
        raise ConfigError(
            what,
            "it has no PCI, and a passthrough port is a PCI device",
            "use a port of kind vhost-user",
        )
    if nic.server:
        raise ConfigError(
            what,
            "it only connects to sockets, and so does a port of mode client",
            'use a port with mode = "server"',
        )
    if nic.queues > 1:
        raise ConfigError(
            what,
            f"the port has {nic.queues} queue pairs, and more than one needs a control queue, "
            "which QEMU has and User-mode Linux has not",
            "use a port with queues = 1; its guests have one processor anyway",
        )
    if set(str(nic.socket)) & set(': "'):
        raise ConfigError(
            what,
            "its command line has no way to write a colon, space or quotation mark in a path",
            "use another runtime directory (RINGPASS_RUNTIME_DIR) or `path` of the port",
        )


def device(nic: Nic, number: int) -> str:
    """Return one virtio device: its socket, its kind, and a number that orders the devices."""
    return f"virtio_uml.device={nic.socket}:{VIRTIO_ID_NET}:{number}"
