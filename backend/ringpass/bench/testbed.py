# SPDX-License-Identifier: BSD-2-Clause
"""A daemon and guests of our own, that touch no others and leave nothing behind.

Everything lives in one directory below the runtime directory, whose lock this process holds.
Processes run under `vm/reaper.py`, which ends them when this process ends, even by SIGKILL; the
files of a run that ended so are removed by the next.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

from ringpass import paths
from ringpass.bench.usage import Usage
from ringpass.client import Client
from ringpass.errors import DaemonUnreachable, RingpassError
from ringpass.image import Image
from ringpass.observe.counters import FILE_NAME as COUNTERS
from ringpass.observe.counters import Counters
from ringpass.observe.status import Status
from ringpass.vm import reaper as reaper_script
from ringpass.vm.guest import Guest
from ringpass.vm.nic import Nic

#: Seconds that a daemon may take to start or to stop, on a busy machine.
PATIENCE_S = 20.0
CONFIG, LOG, PID = "daemon.toml", "daemon.log", "daemon.pid"
REAPER = str(reaper_script.__file__)

_DAEMON = "from ringpass.cli.main import main; main()"


class Testbed:
    """A running daemon with the configuration `toml`. Use it as a context manager.

    `name` is that of its directory; there is one testbed of a name at a time. SIGTERM and SIGHUP
    become SystemExit while it is open, so that it can clean up.
    """

    __test__ = False  # for pytest: this is no test

    def __init__(self, name: str, toml: str) -> None:
        self.directory = paths.runtime_dir() / name
        self._toml = toml
        self._stack = ExitStack()
        self._guests: list[Guest] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(_locked(self.directory))
            stack.enter_context(_signals_raise())
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.directory.mkdir(parents=True)
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
        return int((self.directory / PID).read_text().split()[0])

    def usage(self) -> Usage:
        """Return what the daemon has done and used so far."""
        return Usage.of(self.daemon_pid, self.counters)

    def status(self) -> Status:
        """Ask the daemon for its status."""
        return self.client.ask(Status, "status")

    def boot(self, guests: Sequence[Guest], timeout: float = 90.0) -> None:
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
    ) -> Guest:
        """Return a QEMU guest with a network card for each port of `ports`: name -> address.

        `parameters` are added to the guest kernel's command line, `extra` to QEMU's.
        """
        return Guest.qemu(
            image,
            self._nics(ports),
            name=name,
            directory=self.directory / "vm" / name,
            parameters=parameters,
            extra=extra,
        )

    def uml(self, image: Image, name: str, ports: dict[str, str]) -> Guest:
        """Return a User-mode Linux guest with a network card for each port of `ports`."""
        return Guest.uml(
            image, self._nics(ports), name=name, directory=self.directory / "vm" / name
        )

    def save_logs(self, directory: Path) -> None:
        """Copy the daemon's log and the guests' consoles into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.directory / LOG, directory / LOG)
        for guest in self._guests:
            (directory / f"{guest.name}.console").write_text(guest.transcript, encoding="utf-8")

    def _nics(self, ports: dict[str, str]) -> list[Nic]:
        known = {port.name: port for port in self.status().ports}
        return [
            Nic(socket=Path(known[name].path), mac=known[name].mac, address=address)
            for name, address in ports.items()
        ]

    @contextmanager
    def _daemon(self) -> Iterator[None]:
        argv = [sys.executable, "-I", "-S", REAPER, "--parent", str(os.getpid())]
        argv += ["--pid-file", str(self.directory / PID), "--"]
        argv += [sys.executable, "-c", _DAEMON, "up", str(self.directory / CONFIG)]
        environment = {**os.environ, "RINGPASS_RUNTIME_DIR": str(self.directory)}
        with (self.directory / LOG).open("wb") as log:
            reaper = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for us, who stop it when the guests are gone
            )
        try:
            self._wait_until_it_answers(reaper)
            yield
            with suppress(RingpassError):
                self.client.call("shutdown")
            with suppress(subprocess.TimeoutExpired):
                reaper.wait(PATIENCE_S)
        finally:
            reaper.terminate()
            reaper.wait()

    def _wait_until_it_answers(self, reaper: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.client.call("ping")
            except DaemonUnreachable:
                if reaper.poll() is None and time.monotonic() < end:
                    time.sleep(0.02)
                    continue
                log = (self.directory / LOG).read_text(errors="replace").strip()
                raise RingpassError("the daemon does not start", log or "it says nothing") from None
            return


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the lock of `directory`, and remove what a killed holder left there."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(directory.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RingpassError(
                f"cannot use {directory}",
                "another run of this is using it",
                "wait until it has ended",
            ) from error
        if directory.exists():
            _end_leftovers(directory)
            shutil.rmtree(directory)
        yield
    finally:
        os.close(lock)


def _end_leftovers(directory: Path) -> None:
    """Wait until the reapers of a killed run have ended what it had started; tell them if need be.

    A reaper acts by itself as soon as its parent has gone, so this is a matter of milliseconds.
    """
    begun = time.monotonic()
    while pids := _reapers(directory):
        waited = time.monotonic() - begun
        if waited > PATIENCE_S:
            raise RingpassError(
                f"cannot clean up {directory}", f"processes {pids} of an earlier run do not end"
            )
        if waited > PATIENCE_S / 4:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        time.sleep(0.05)


def _reapers(directory: Path) -> list[int]:
    """Return the reapers whose pid file is below `directory`."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if _is_reaper(entry, directory)]


def _is_reaper(process: Path, directory: Path) -> bool:
    try:
        argv = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False  # not a process, or it has just ended
    return REAPER in argv and any(word.startswith(f"{directory}/") for word in argv)


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise SystemExit, as SIGINT raises KeyboardInterrupt."""

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before: list[Callable[..., object] | int | None] = [
        signal.signal(number, stop) for number in numbers
    ]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
