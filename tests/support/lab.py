# SPDX-License-Identifier: BSD-2-Clause
"""A daemon with guests on its ports, built up and taken down together."""

import contextlib
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ringpass.image import Image
from ringpass.vm.guest import CONSOLE_TAIL, Guest, GuestError
from ringpass.vm.nic import Nic
from ringpass.vm.qemu import STOCK, Emulator
from tests.support.probe import ProbedDaemon, configuration


@dataclass(frozen=True)
class Station:
    """A network card of a guest, and the port that it is attached to."""

    guest: Guest
    port: str
    mac: str
    address: str
    interface: str = "eth0"


class Lab:
    """A daemon, and guests in its runtime directory. A context manager; leaving it ends them all.

    `ports` are names, with or without settings, as in the configuration file; `settings` are
    `workers` and `ageing`.
    """

    def __init__(
        self,
        image: Image,
        ports: Mapping[str, Mapping[str, object]] | Iterable[str],
        **settings: int,
    ) -> None:
        self.image = image
        self.ports = ports if isinstance(ports, Mapping) else {name: {} for name in ports}
        self.settings = settings
        self.guests: dict[str, Guest] = {}
        self.stations: dict[str, Station] = {}
        self.cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            # Not below a test's own directory: a socket's path has 107 bytes.
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rp-")))
            text = configuration(self.ports, **self.settings)
            self.daemon = stack.enter_context(ProbedDaemon(directory, text))
            self.cleanup = stack.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        with self.cleanup:
            for guest in self.guests.values():
                guest.kill()

    def apply(
        self, ports: Mapping[str, Mapping[str, object]] | None = None, **settings: int
    ) -> list[str]:
        """Change the daemon's configuration while it runs; return the actions that it took."""
        file = self.daemon.runtime_dir / "changed.toml"
        file.write_text(configuration(ports or self.ports, **{**self.settings, **settings}))
        return [action["text"] for action in self.daemon.ask("apply", file)["actions"]]

    def guest(
        self, kind: str, name: str, nics: Iterable[Nic] = (), *, start: bool = True, **machine: Any
    ) -> Guest:
        """Return a guest of `kind`, qemu or uml, that has been started and not waited for."""
        make = Guest.qemu if kind == "qemu" else Guest.uml
        # A guest that does not boot tells how far it came; from its shell on the kernel is silent.
        machine["parameters"] = ("loglevel=7", *machine.get("parameters", ()))
        directory = self.daemon.runtime_dir / "vm" / name
        guest = make(self.image, nics, name=name, directory=directory, **machine)
        self.guests[name] = guest
        if start:
            guest.start()
        return guest

    def nic(self, port: str, **options: Any) -> Nic:
        """Return a network card for `port`, with the port's address."""
        status = self.daemon.port(port)
        return Nic(socket=Path(status.path), mac=status.mac, **options)

    def station(
        self, name: str, *, nic: Mapping[str, Any] | None = None, **machine: Any
    ) -> Station:
        """Return a station: a guest with one card, started and not waited for.

        Its name has its kind and number: `qemu1` is at port vale0:vm1, with the address 10.0.0.1.
        """
        kind = name.rstrip("0123456789")
        number = name.removeprefix(kind)
        port, address = f"vale0:vm{number}", f"10.0.0.{number}"
        card = self.nic(port, address=f"{address}/24", **(nic or {}))
        return Station(self.guest(kind, name, [card], **machine), port, card.mac, address)

    def passed(self, number: int, emulator: Emulator = STOCK, **machine: Any) -> Station:
        """Return a guest with port vale0:vmNUMBER passed through, started and not waited for.

        Its card is ivshmem-doorbell with stock QEMU, ptnet-pci with the patched one.
        """
        name, address = f"vale0:vm{number}", f"10.0.0.{number}"
        status = self.daemon.port(name)
        card = (
            Nic(socket=Path(status.netdev_path), device="ptnet-pci")
            if emulator.patched
            else Nic(socket=Path(status.path), vectors=status.vectors)
        ).with_address(f"{address}/24")
        guest = self.guest("qemu", f"pass{number}", [card], emulator=emulator, **machine)
        return Station(guest, name, status.mac, address, interface="rp0")

    def up(self, *names: str) -> list[Station]:
        """Return stations that work: those that are there, and new ones in place of the others."""
        missing = [name for name in names if not self.works(name)]
        for name in missing:
            self.stations[name] = self.station(name)
        for name in missing:
            self.stations[name].guest.wait_ready()
        return [self.stations[name] for name in names]

    def works(self, name: str) -> bool:
        """Whether a station answers and has its network card; one that does not is removed.

        What a failed test left running in the guest is ended.
        """
        station = self.stations.get(name)
        if station is None:
            return False
        with contextlib.suppress(GuestError):
            station.guest.run("killall -q rp-flood rp-sink python3 iperf3")
            if station.guest.run(f"ip link show up {station.interface} | grep -q .").status == 0:
                return True
        station.guest.kill()
        return False

    def evidence(self) -> list[tuple[str, str]]:
        """Return what a failure should show: titles and texts. Works until the lab is left."""
        consoles = [(name, guest.log.tail(CONSOLE_TAIL)) for name, guest in self.guests.items()]
        return [
            *((f"console of {name}", text) for name, text in consoles),
            ("ringpass port ls", self.daemon.run("port", "ls").stdout),
            ("log of the daemon", self.daemon.log()),
        ]
