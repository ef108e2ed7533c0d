# SPDX-License-Identifier: BSD-2-Clause
"""Which guests run, as their directories tell: RUNTIME/vm/NAME, one for each.

    pid           process and its start time, written by the reaper
    guest.json    what was started: a `Record`
    qmp.sock      QEMU's machine protocol (QEMU guests)
    incoming.sock where a guest may migrate to, until one has
    console.sock  the console, and console.log what it printed (detached guests)

A directory whose process has gone is what a killed session left behind, and is in nobody's way.
"""

import contextlib
import os
import select
import shutil
import signal
import time
from pathlib import Path
from typing import Literal

import msgspec

from ringpass import paths
from ringpass.errors import NotFound, RingpassError
from ringpass.vm import reaper

PID = "pid"
RECORD = "guest.json"
QMP = "qmp.sock"
INCOMING = "incoming.sock"
CONSOLE = "console.sock"
LOG = "console.log"

STARTING = 5.0
"""Seconds that a directory may be without a pid file while its guest is being started."""

STOPPING = 5.0
"""Seconds that a guest has to end before it is killed, and its reaper to clean up after it."""


class GuestInUse(RingpassError):
    """A guest of this name runs already."""


Kind = Literal["qemu", "uml"]


class Record(msgspec.Struct, frozen=True):
    """What was started. `memory` is in MiB, `image` the key of the image.

    `ports` are what its network cards are attached to, in order: port names, or sockets where
    no name is known.
    """

    name: str
    kind: Kind
    ports: tuple[str, ...]
    memory: int
    image: str
    detached: bool


class Running(msgspec.Struct, frozen=True):
    """A running guest: its record, its process, the seconds since it started."""

    guest: Record
    pid: int
    seconds: float
    directory: Path


def directory(name: str) -> Path:
    """Return the directory of the guest `name`."""
    return paths.runtime_dir() / "vm" / name


def claim(place: Path) -> None:
    """Make the directory of a guest that is about to start. Raises GuestInUse."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        place.mkdir()
        return
    if is_starting(place) or process(place) is not None:
        raise GuestInUse(
            f"cannot start guest {place.name}",
            f"a guest of this name runs already, in {place}",
            f"choose another name, or stop it: ringpass vm stop {place.name}",
        )
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()


def release(place: Path) -> None:
    """Remove the directory of a guest that has ended."""
    shutil.rmtree(place, ignore_errors=True)


def write_record(place: Path, record: Record) -> None:
    (place / RECORD).write_bytes(msgspec.json.encode(record))


def list_running() -> list[Running]:
    """Return the guests that run, by name, and forget those that have ended."""
    parent = paths.runtime_dir() / "vm"
    places = sorted(parent.iterdir()) if parent.is_dir() else []
    found = []
    for place in places:
        pid = process(place)
        if pid is None:
            if not is_starting(place):
                release(place)
            continue
        with contextlib.suppress(OSError, msgspec.DecodeError):
            record = msgspec.json.decode((place / RECORD).read_bytes(), type=Record)
            found.append(Running(record, pid, uptime(pid), place))
    return found


def find(name: str) -> Running:
    """Return the running guest `name`. Raises NotFound."""
    for running in list_running():
        if running.guest.name == name:
            return running
    raise NotFound(
        f"there is no guest {name}",
        "none of this name runs",
        "see `ringpass vm ls` for those that do",
    )


def process(place: Path) -> int | None:
    """Return the process of the guest in this directory if it is alive, and is still that one."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pid, started = map(int, (place / PID).read_text().split())
        if reaper.start_time(pid) == started:
            return pid
    return None


def is_starting(place: Path) -> bool:
    with contextlib.suppress(OSError):
        return not (place / PID).exists() and time.time() - place.stat().st_mtime < STARTING
    return False


def uptime(pid: int) -> float:
    ticks = os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - reaper.start_time(pid) / ticks


def stop(name: str) -> bool:
    """End the guest `name` at once. Returns False if there was none.

    Its memory is all it has, so there is nothing to shut down in order.
    """
    place = directory(name)
    pid = process(place)
    if pid is not None:
        end(pid)
        wait_for_reaper(place)
    release(place)
    return pid is not None


def end(pid: int) -> None:
    """Terminate a guest's process and wait for it; if it takes too long, kill it."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            ended = select.poll()
            ended.register(handle, select.POLLIN)
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            if not ended.poll(STOPPING * 1000):
                reaper.crash(pid)
                ended.poll(STOPPING * 1000)
        finally:
            os.close(handle)


def wait_for_reaper(place: Path) -> None:
    """Wait until who started the guest has removed its directory, which it does last."""
    deadline = time.monotonic() + STOPPING
    while place.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
