# SPDX-License-Identifier: BSD-2-Clause
"""Runs a guest and leaves nothing of it behind, however the guest, its user or this ends.

    python -I -S reaper.py --pid-file FILE [--parent PID] [--death-signal N] [--unprivileged]
                           -- PROGRAM ARG...

User-mode Linux runs each process of its guest as a process of the host that it traces. When UML
is killed the kernel detaches them, and they go on where they were, with the *host* answering
their system calls: the next command of the guest's shell then runs on the host. So whoever kills
UML must stop it first, kill what it traces, and only then kill UML itself: `crash` does. Against
a kill that comes from elsewhere, such as the kernel's when memory is short, this program adopts
the orphans (it is their subreaper) and kills them at once, and --unprivileged has seen to it that
until then they can neither reboot the host nor configure its network.

The guest is killed when this program gets SIGTERM, and when its own parent, PID, has gone, even
by SIGKILL. The parent is watched through a pidfd rather than PR_SET_PDEATHSIG, which would fire
as soon as the thread that started the guest ends. --death-signal is what the guest gets if this
program is itself killed.

It is a script of its own, importing nothing of ringpass, so that it starts in milliseconds.
"""

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

CAP_DAC_OVERRIDE = 1
"""Kept, for root may be given sockets that belong to somebody else."""

FREEZING = 0.1
"""Seconds that a process may take to stop."""

libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    arguments = parse(sys.argv[1:])
    if arguments.parent and os.getppid() != arguments.parent:
        return 1  # it died before we began
    adopt_orphans()
    # A SIGINT from the terminal goes to the guest as well, which decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        guest = subprocess.Popen(arguments.argv, preexec_fn=lambda: confine(arguments))
        write_pid(arguments.pid_file, guest.pid)
        wait(guest.pid, arguments.parent)
        return status_of(guest)
    except FileNotFoundError as error:
        sys.stderr.write(f"cannot start the guest: {error}\n")
        return 127
    finally:
        kill_descendants()


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants, and let signals that end us run `finally`."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pid-file", type=Path, required=True)
    parser.add_argument("--parent", type=int, default=0)
    add_confinement(parser)
    parser.add_argument("argv", nargs="+")
    return parser.parse_args(argv)


def add_confinement(parser: argparse.ArgumentParser) -> None:
    """Add the options that `confine` reads."""
    parser.add_argument("--death-signal", type=int, default=int(signal.SIGKILL))
    parser.add_argument("--unprivileged", action="store_true")


def confine(arguments: argparse.Namespace) -> None:
    """In the process that becomes the guest: end when this one does, and give up privileges."""
    libc.prctl(PR_SET_PDEATHSIG, arguments.death_signal, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if arguments.unprivileged:
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        capability = 0
        while libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0 or capability == 0:
            capability += 1
            capability += capability == CAP_DAC_OVERRIDE


def write_pid(path: Path, pid: int) -> None:
    """Write the guest's pid and start time: a pid alone may be somebody else's tomorrow."""
    partial = path.with_suffix(".partial")
    partial.write_text(f"{pid} {start_time(pid)}\n")
    partial.rename(path)


def start_time(pid: int) -> int:
    """Return when a process started, in clock ticks since boot. Raises ProcessLookupError."""
    fields = stat_fields(pid)
    if not fields:
        raise ProcessLookupError(pid)
    return int(fields[19])


def wait(guest: int, parent: int) -> None:
    """Return when the guest or the parent has ended."""
    poll = select.poll()
    poll.register(os.pidfd_open(guest), select.POLLIN)
    if parent:
        poll.register(os.pidfd_open(parent), select.POLLIN)
    poll.poll()


def status_of(guest: subprocess.Popen[bytes]) -> int:
    code = guest.poll()
    if code is None:
        return 1  # the parent has gone; nobody reads this
    return code if code >= 0 else 128 - code


def kill_descendants() -> None:
    """Kill every child until there is none: grandchildren become children as they are orphaned."""
    with contextlib.suppress(ChildProcessError):
        while True:
            for child in children(os.getpid()):
                crash(child)
            os.waitpid(-1, 0)


def crash(pid: int) -> None:
    """Kill a process, and before it its descendants, so that none of them sees it gone."""
    freeze(pid)
    for child in children(pid):
        crash(child)
    send(pid, signal.SIGKILL)


def freeze(pid: int) -> None:
    """Stop a process, and wait until it has stopped."""
    send(pid, signal.SIGSTOP)
    deadline = time.monotonic() + FREEZING
    while state(pid) not in "TtZX" and time.monotonic() < deadline:
        time.sleep(0.0001)


def send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def state(pid: int) -> str:
    """Return the state of a process as a letter, X for one that has gone."""
    return (stat_fields(pid) or ["X"])[0]


def children(pid: int) -> list[int]:
    """Return the children of a process, from where the kernel lists them, or by looking at all."""
    try:
        files = Path(f"/proc/{pid}/task").glob("*/children")
        texts = [file.read_text() for file in files]
    except OSError:
        texts = []
    if texts:
        return [int(word) for text in texts for word in text.split()]
    names = (path.name for path in Path("/proc").iterdir())
    everybody = [int(name) for name in names if name.isdigit()]
    return [other for other in everybody if (stat_fields(other) or ["", "0"])[1] == str(pid)]


def stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on, or none if there is no process.

    The second is its name, in brackets, which may hold spaces and brackets.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main())
