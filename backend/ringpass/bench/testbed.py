# SPDX-License-Identifier: BSD-2-Clause
"""A daemon and guests of our own, that touch no others and leave nothing behind."""

import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ringpass import paths
from ringpass.bench.usage import Usage
from ringpass.bench.workplace import PATIENCE_S, Workplace
from ringpass.client import Client
from ringpass.errors import DaemonUnreachable, RingpassError
from ringpass.image import Image
from ringpass.observe.counters import FILE_NAME as COUNTERS
from ringpass.observe.counters import Counters
from ringpass.observe.status import PortStatus, Status
from ringpass.vm.guest import BOOT_S, Guest
from ringpass.vm.nic import Device, Nic
from ringpass.vm.qemu import STOCK, Emulator

CONFIG, LOG, DAEMON = "daemon.toml", "daemon.log", "daemon"

_DAEMON = "from ringpass.cli.main import main; main()"


class Testbed:
    """A running daemon with the configuration `toml`. Use it as a context manager.

    `name` is that of its `place`: there is one testbed of a name at a time.
    """

    __test__ = False  # for pytest: this is no test

    def __init__(self, name: str, toml: str) -> None:
        self.place = Workplace(name)
        self.directory = self.place.directory
        self._toml = toml
        self._stack = ExitStack()
        self._guests: list[Guest] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.place)
            (self.directory / CONFIG).write_text(self._toml, encoding="utf-8")
            self.client = stack.enter_context(Client(paths.control_socket(self.directory)))
            stack.enter_context(self._daemon())
            self.counters = stack.enter_context(Counters(self.directory / COUNTERS))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for guest in self._guests:
            guest.kill()
        self._stack.__exit__(kind, error, trace)

    @property
    def daemon_pid(self) -> int:
        """The process of the daemon."""
        return self.place.pid(DAEMON)

    def usage(self) -> Usage:
        """Return what the daemon has done and used so far."""
        return Usage.of(self.daemon_pid, self.counters)

    def status(self) -> Status:
        """Ask the daemon for its status."""
        return self.client.ask(Status, "status")

    def set_policy(self, policy: str) -> None:
        """Let the daemon's one worker do as `policy` says when it has no work."""
        tables = tomllib.loads(self._toml)
        tables["daemon"]["workers"] = [{"policy": policy}]
        self.client.call("apply", config=tables, source=CONFIG, dry_run=False)

    def boot(self, guests: Sequence[Guest], timeout: float = BOOT_S) -> None:
        """Start `guests` at the same time and wait until each has a shell."""
        for guest in guests:
            self._guests.append(guest)
            guest.start()
        for guest in guests:
            guest.wait_ready(timeout)

    def qemu(
        self,
        image: Image,
        name: str,
        ports: dict[str, str],
        parameters: Sequence[str] = (),
        extra: Sequence[str] = (),
        *,
        emulator: Emulator = STOCK,
        devices: Mapping[str, Device] | None = None,
    ) -> Guest:
        """Return a QEMU guest with a network card for each port of `ports`: name -> address.

        `parameters` are added to the guest kernel's command line, `extra` to QEMU's. `devices` are
        those that ports have with the patched QEMU.
        """
        return Guest.qemu(
            image,
            self._nics(ports, devices or {}),
            emulator=emulator,
            name=name,
            directory=self.directory / "vm" / name,
            parameters=parameters,
            extra=extra,
        )

    def uml(self, image: Image, name: str, ports: dict[str, str]) -> Guest:
        """Return a User-mode Linux guest with a network card for each port of `ports`."""
        return Guest.uml(
            image, self._nics(ports, {}), name=name, directory=self.directory / "vm" / name
        )

    def save_logs(self, directory: Path) -> None:
        """Copy the daemon's log and the guests' consoles into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.directory / LOG, directory / LOG)
        for guest in self._guests:
            (directory / f"{guest.name}.console").write_text(guest.transcript, encoding="utf-8")

    def _nics(self, ports: dict[str, str], devices: Mapping[str, Device]) -> list[Nic]:
        known = {port.name: port for port in self.status().ports}
        return [
            nic(known[name], devices.get(name)).with_address(address)
            for name, address in ports.items()
        ]

    @contextmanager
    def _daemon(self) -> Iterator[None]:
        argv = [sys.executable, "-c", _DAEMON, "up", str(self.directory / CONFIG)]
        environment = {"RINGPASS_RUNTIME_DIR": str(self.directory)}
        with self.place.running(DAEMON, argv, environment) as reaper:
            self._wait_until_it_answers(reaper)
            yield
            with suppress(RingpassError):
                self.client.call("shutdown")
            with suppress(subprocess.TimeoutExpired):
                reaper.wait(PATIENCE_S)

    def _wait_until_it_answers(self, reaper: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.client.call("ping")
            except DaemonUnreachable:
                if reaper.poll() is None and time.monotonic() < end:
                    time.sleep(0.02)
                    continue
                log = self.place.said(DAEMON)
                raise RingpassError("the daemon does not start", log or "it says nothing") from None
            return


def nic(port: PortStatus, device: Device | None) -> Nic:
    """Return the network card of a port, if it is a passthrough one `device` or ivshmem."""
    if device is None:
        return Nic(socket=Path(port.path), mac=port.mac, vectors=port.vectors)
    mac = port.mac if device == "virtio-net-pci" else ""
    return Nic(socket=Path(port.netdev_path), mac=mac, device=device)
