# SPDX-License-Identifier: BSD-2-Clause
"""The machine that a figure was measured on, and the peace that measuring needs."""

import ctypes
import os
import platform
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from ringpass.errors import RingpassError

PR_SET_PDEATHSIG = 1


def describe_machine() -> str:
    """Return processor, CPUs, memory and kernel in one line."""
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{_processor()}, {os.cpu_count()} CPUs, {gigabytes:.0f} GB, "
        f"{platform.system()} {platform.release()}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def one_cpu() -> int:
    """Return the first CPU that this process may use."""
    return min(os.sched_getaffinity(0))


def two_cpus() -> tuple[int, int]:
    """Return the first two CPUs that this process may use.

    Raises RingpassError if there is only one: spinning threads would only wait for each other.
    """
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise RingpassError(
            "cannot measure on two cores",
            f"this process may run on CPU {usable[0]} alone",
            "give it a second CPU, or choose cases of one core with --cores 1",
        )
    return usable[0], usable[1]


def enter_own_session(talk: Callable[[str], None]) -> None:
    """Move this process to a session of its own, which the scheduler prefers to all others.

    The scheduler shares the CPUs out between sessions: beside a busy one, spinning threads are up
    to 100 times slower. A process that leads its group cannot leave it, so a child goes on in its
    place, and this call does not return in the parent. Call it before making threads. Tells by
    `talk` when it is not allowed to.
    """
    if os.getsid(0) != os.getpid():
        if os.getpgrp() == os.getpid():
            _continue_in_child()
        os.setsid()
    if not prefer(os.getpid()):
        talk("note: not allowed to precede other sessions: figures will be noisier")


def place(pid: int, cpus: Collection[int]) -> None:
    """Let the process `pid`, all its threads and all its descendants, run on `cpus` only."""
    for process in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            for task in Path(f"/proc/{process}/task").iterdir():
                os.sched_setaffinity(int(task.name), cpus)


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """Stop the process `pid` for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def prefer(pid: int) -> bool:
    """Let the scheduler prefer the session of the process `pid`; return False if it may not be."""
    try:
        Path(f"/proc/{pid}/autogroup").write_text("-20", encoding="ascii")
    except OSError:
        return False
    return True


def family(pid: int) -> list[int]:
    """Return the process `pid` and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended meanwhile
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                parent = int(stat.rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for member in found:  # which grows on the way
        found += children.get(member, [])
    return found


def _continue_in_child() -> None:
    """Return in a child; the parent hands signals on to it and ends as it ends."""
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # it was killed before it could be watched
        return

    def hand_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, hand_on)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)
