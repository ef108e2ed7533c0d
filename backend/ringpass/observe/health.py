# SPDX-License-Identifier: BSD-2-Clause
"""How a daemon is, by what it left in shared memory and by what the kernel says of its threads.

It is not asked: one that is stopped, or waits for something for ever, would not answer.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ringpass.observe.counters import Life

State = Literal["running", "stopped", "silent", "gone", "absent"]

#: Seconds without a sign of life, of which there is one each second, until a daemon counts as
#: silent.
SILENT_S = 5.0

_STOPPED = "Tt"
_ENDED = "ZX"


@dataclass(frozen=True, slots=True)
class Health:
    """running; stopped by a signal or a debugger; silent: its control plane does not go on;
    gone: it ended and could not clean up; absent: there is none.
    """

    state: State
    why: str = ""
    """What it is about and what to do; empty while it runs."""


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread as the kernel sees it."""

    state: str
    """R, S, D, T ... as in /proc."""
    cpu_ns: int
    """Time that it has run."""
    started_ns: int
    """Of the clock CLOCK_BOOTTIME, to a hundredth of a second."""


def thread(pid: int, tid: int, proc: Path = Path("/proc")) -> Thread | None:
    """Return what the kernel says of a thread, None if there is no such thread, or we see none."""
    directory = proc / str(pid) / "task" / str(tid)
    try:
        # The name, in brackets, may hold anything.
        fields = (directory / "stat").read_text().rpartition(")")[2].split()
        cpu_ns = int((directory / "schedstat").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    tick_ns = 10**9 // os.sysconf("SC_CLK_TCK")
    return Thread(fields[0], cpu_ns, int(fields[19]) * tick_ns)


def examine(life: Life, proc: Path = Path("/proc")) -> Health:
    """Return how the daemon is whose counters say `life`."""
    now_ns = time.monotonic_ns()
    silent_s = (now_ns - life.alive_ns) / 1e9 if life.alive_ns else 0.0
    if _is_elsewhere(life, proc):
        return _silent(life, silent_s)
    main = thread(life.pid, life.pid, proc)
    if main is None or _is_another(main, life, now_ns):
        return Health("gone", f"process {life.pid} has ended; ringpass up FILE.toml starts another")
    if main.state in _ENDED:
        return Health("gone", f"process {life.pid} has ended, and its parent does not know yet")
    if main.state in _STOPPED:
        return Health(
            "stopped",
            f"process {life.pid} stands still, as a signal or a debugger told it to; "
            f"kill -CONT {life.pid}",
        )
    return _silent(life, silent_s)


def _silent(life: Life, silent_s: float) -> Health:
    if silent_s < SILENT_S:
        return Health("running")
    return Health(
        "silent",
        f"the control plane of process {life.pid} has not moved for {silent_s:.0f} s; "
        "what its workers count goes on below",
    )


def _is_elsewhere(life: Life, proc: Path) -> bool:
    """Whether its number means nothing here: it is that of another PID namespace."""
    try:
        return life.pid_ns not in (0, (proc / "self/ns/pid").stat().st_ino)
    except OSError:
        return False


def _is_another(main: Thread, life: Life, now_ns: int) -> bool:
    """Whether a process of the same number began after the one that counts."""
    slack_ns = 10**9
    boottime_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return main.started_ns > life.started_ns + (boottime_ns - now_ns) + slack_ns
