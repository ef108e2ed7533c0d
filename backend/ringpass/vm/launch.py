# SPDX-License-Identifier: BSD-2-Clause
"""What has to be known to start a guest: its command line, its directory, its record."""

import itertools
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ringpass.image import Image
from ringpass.vm import qemu, registry, uml
from ringpass.vm.nic import Nic

SCRIPTS = Path(__file__).parent

serials = itertools.count(1)


@dataclass(frozen=True)
class Launch:
    """A guest that can be started: by `Guest`, `run.foreground` or `run.detach`."""

    record: registry.Record
    directory: Path
    argv: list[str]
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    incoming: bool = False
    """Whether it waits for a guest that migrates, and boots none."""

    @property
    def name(self) -> str:
        return self.record.name

    def command(self) -> list[str]:
        """Return the command that runs the guest until it, or this process, ends."""
        options = ["--pid-file", str(self.directory / registry.PID), "--parent", str(os.getpid())]
        return [*script("reaper.py"), *options, *self.confinement(), "--", *self.argv]

    def background_command(self) -> list[str]:
        """Return the command that runs the guest for itself, its console on a socket."""
        options = ["--directory", str(self.directory)]
        return [*script("relay.py"), *options, *self.confinement(), "--", *self.argv]

    def confinement(self) -> list[str]:
        """Return how the guest is kept in: without privileges, and not outliving its reaper.

        UML must not be killed without its processes (see reaper.py), but cleans up on SIGTERM.
        """
        number = signal.SIGTERM if self.record.kind == "uml" else signal.SIGKILL
        return ["--unprivileged", "--death-signal", str(int(number))]

    def prepare(self) -> None:
        """Make the guest's directory and record. Raises GuestInUse if it runs already."""
        registry.claim(self.directory)
        registry.write_record(self.directory, self.record)


def script(name: str) -> list[str]:
    """Return the command for a script beside this file that needs the standard library only."""
    return [sys.executable, "-I", "-S", str(SCRIPTS / name)]


def qemu_guest(
    image: Image,
    nics: Iterable[Nic] = (),
    *,
    name: str = "",
    memory: int = 256,
    smp: int = 1,
    accel: qemu.Accel = "tcg",
    incoming: bool = False,
    parameters: Iterable[str] = (),
    extra: Iterable[str] = (),
    ports: Iterable[str] = (),
    directory: Path | None = None,
    detached: bool = False,
    emulator: qemu.Emulator = qemu.STOCK,
) -> Launch:
    """Return a guest of QEMU, the stock one by default.

    `memory` is in MiB. `parameters` are added to the guest kernel's command line, `extra` to
    QEMU's. With `incoming` it waits for a guest that migrates to it. `ports` names what the cards
    are attached to, for `vm ls`. `directory` is by default RUNTIME/vm/NAME.
    """
    nics = tuple(nics)
    record = new_record("qemu", image, nics, name, memory, tuple(ports), detached)
    directory = directory or registry.directory(record.name)
    machine = qemu.Machine(
        name=record.name,
        kernel=image.kernel,
        initrd=image.initrd,
        nics=nics,
        memory=memory,
        smp=smp,
        accel=accel,
        parameters=tuple(parameters),
        qmp=directory / registry.QMP,
        incoming=directory / registry.INCOMING if incoming else None,
        extra=tuple(extra),
        emulator=emulator,
    )
    return Launch(record, directory, qemu.command(machine), incoming=incoming)


def uml_guest(
    image: Image,
    nics: Iterable[Nic] = (),
    *,
    name: str = "",
    memory: int = 256,
    parameters: Iterable[str] = (),
    ports: Iterable[str] = (),
    directory: Path | None = None,
    detached: bool = False,
) -> Launch:
    """Return a guest of User-mode Linux; arguments are those of `qemu_guest`."""
    nics = tuple(nics)
    record = new_record("uml", image, nics, name, memory, tuple(ports), detached)
    directory = directory or registry.directory(record.name)
    machine = uml.Machine(
        name=record.name,
        kernel=image.uml,
        initrd=image.initrd,
        directory=directory,
        nics=nics,
        memory=memory,
        parameters=tuple(parameters),
    )
    return Launch(record, directory, uml.command(machine), {**os.environ, **uml.ENVIRONMENT})


def new_record(
    kind: registry.Kind,
    image: Image,
    nics: tuple[Nic, ...],
    name: str,
    memory: int,
    ports: tuple[str, ...],
    detached: bool,
) -> registry.Record:
    return registry.Record(
        # A name that no other guest of this machine has.
        name=name or f"g{os.getpid()}-{next(serials)}",
        kind=kind,
        ports=ports or tuple(str(nic.socket) for nic in nics),
        memory=memory,
        image=image.key,
        detached=detached,
    )
