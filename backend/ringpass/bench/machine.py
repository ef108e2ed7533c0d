# SPDX-License-Identifier: BSD-2-Clause
"""The machine that a figure was measured on, and the peace that measuring needs."""

import os
import platform
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from ringpass.errors import RingpassError

AUTOGROUP = Path("/proc/self/autogroup")


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
    try:
        AUTOGROUP.write_text("-20", encoding="ascii")
    except OSError as error:
        talk(f"note: no priority over other sessions ({error.strerror}): figures will be noisier")


def _continue_in_child() -> None:
    """Return in a child; the parent hands signals on to it and ends as it ends."""
    child = os.fork()
    if child == 0:
        return

    def hand_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, hand_on)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)
