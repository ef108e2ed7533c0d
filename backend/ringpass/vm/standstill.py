# SPDX-License-Identifier: BSD-2-Clause
"""What a guest does that does not answer: the part of a failure that its console does not tell.

A guest can stand still in three places, which need three different remedies: its kernel (QEMU
answers, its CPUs are halted or run in a loop), QEMU itself (it does not answer its monitor, for
instance because it waits for a back end), or nowhere: it has had little CPU time.
"""

import os
import re
from collections import Counter
from pathlib import Path

from ringpass.vm.qmp import Qmp, QmpError

MONITOR_S = 5.0
"""Seconds that QEMU has to answer its monitor."""

CPU = re.compile(
    r"CPU#(?P<number>\d+).*?RIP=(?P<rip>[0-9a-f]+).*?\bCPL=(?P<ring>\d).*?HLT=(?P<halted>\d)", re.S
)
"""A CPU in what x86's `info registers -a` prints."""


def describe(pid: int, monitor: Path | None) -> str:
    """Return in a sentence or two what the guest of process `pid` does; `monitor` is QEMU's.

    It never raises: a process that has ended meanwhile has no threads.
    """
    told = [] if monitor is None else [of_machine(monitor)]
    return ". ".join([*told, of_process(pid)])


def of_machine(monitor: Path) -> str:
    """Return what QEMU says of its CPUs."""
    try:
        with Qmp(monitor, MONITOR_S) as qmp:
            status = qmp.execute("query-status")["status"]
            registers = qmp.execute("human-monitor-command", command_line="info registers -a")
    except QmpError as error:
        return f"QEMU does not answer its monitor ({error.why})"
    except OSError as error:
        return f"QEMU does not answer its monitor ({error})"
    return f"QEMU answers and is {status}; {', '.join(cpus(registers)) or 'no CPU is known'}"


def cpus(registers: str) -> list[str]:
    """Return where each CPU is, from the output of `info registers -a`."""
    return [
        f"CPU {found['number']} {'halted' if found['halted'] == '1' else 'running'}"
        f" in {'the kernel' if found['ring'] == '0' else 'a program'} at {found['rip']}"
        for found in CPU.finditer(registers)
    ]


def of_process(pid: int) -> str:
    """Return the CPU time of a process, and where in the host's kernel its threads wait."""
    waits: Counter[str] = Counter()
    ticks = 0
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        try:
            # The name of the program may have spaces and parentheses; nothing after it has.
            fields = (thread / "stat").read_text().rpartition(")")[2].split()
            wait = (thread / "wchan").read_text()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
        waits["running" if wait in ("", "0") else wait] += 1
    if not waits:
        return f"process {pid} has ended"
    seconds = ticks / os.sysconf("SC_CLK_TCK")
    threads = ", ".join(f"{number} in {wait}" for wait, number in sorted(waits.items()))
    return f"process {pid} has used {seconds:.1f} s of CPU; threads: {threads}"
