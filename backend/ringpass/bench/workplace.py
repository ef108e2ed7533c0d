# SPDX-License-Identifier: BSD-2-Clause
"""A directory of our own and the processes that work in it, of which nothing is left behind.

The directory is below the runtime directory; this process holds its lock. Processes run under
`vm/reaper.py`, which ends them when this process ends, even by SIGKILL; the files of a run that
ended so are removed by the next.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

from ringpass import paths
from ringpass.errors import RingpassError
from ringpass.vm import reaper as reaper_script

#: Seconds that a process may take to start or to stop, on a busy machine.
PATIENCE_S = 20.0
REAPER = str(reaper_script.__file__)


class NotInstalled(RingpassError):
    """A program that some bench needs, of the Debian package `package`, is missing."""

    def __init__(self, program: str, package: str) -> None:
        super().__init__(
            f"cannot run {program}",
            "it is not installed",
            f"run `make packages-bench`, or `apt-get install {package}`",
        )


class Workplace:
    """The directory `name`, which one process uses at a time. Use it as a context manager.

    SIGTERM and SIGHUP become SystemExit while it is open, so that it can be cleaned up.
    """

    def __init__(self, name: str) -> None:
        self.directory = paths.runtime_dir() / name
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(_locked(self.directory))
            stack.enter_context(_signals_raise())
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.directory.mkdir(parents=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def reaped(self, name: str, argv: Sequence[str]) -> list[str]:
        """Return the command that runs `argv` as the process `name` and ends it with this one."""
        options = ["--parent", str(os.getpid()), "--pid-file", str(self.directory / f"{name}.pid")]
        return [sys.executable, "-I", "-S", REAPER, *options, "--", *argv]

    @contextmanager
    def running(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run `argv` as the process `name`; yield its reaper, and end it if it has not ended."""
        pid = self.directory / f"{name}.pid"
        pid.unlink(missing_ok=True)
        with (self.directory / f"{name}.log").open("wb") as log:
            reaper = subprocess.Popen(
                self.reaped(name, argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C is for us, who stop things in their order
            )
        try:
            while not pid.exists() and reaper.poll() is None:
                time.sleep(0.01)
            yield reaper
        finally:
            reaper.terminate()
            reaper.wait()

    def pid(self, name: str) -> int:
        """Return the process `name`, which runs."""
        return int((self.directory / f"{name}.pid").read_text().split()[0])

    def said(self, name: str) -> str:
        """Return what the process `name` has written."""
        return (self.directory / f"{name}.log").read_text(errors="replace").strip()


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
