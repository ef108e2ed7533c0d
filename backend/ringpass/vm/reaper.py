# SPDX-License-Identifier: BSD-2-Clause
"""Runs a guest and leaves nothing of it behind, however the guest, its user or this ends.

    python -I -S reaper.py --pid-file FILE [--parent PID] -- PROGRAM ARG...

User-mode Linux runs each process of its guest as a process of the host, and those survive when
UML is killed. This program adopts such orphans (it is their subreaper) and kills them. It kills
the guest when it is told to by SIGTERM, and when its own parent, PID, has gone, even by SIGKILL.
The parent is watched through a pidfd rather than PR_SET_PDEATHSIG, which would fire as soon as
the thread that started the guest ends.

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
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    arguments = parse(sys.argv[1:])
    if arguments.parent and os.getppid() != arguments.parent:
        return 1  # it died before we began
    adopt_orphans()
    # A SIGINT from the terminal goes to the guest as well, which decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        guest = subprocess.Popen(arguments.argv, preexec_fn=die_with_parent)
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
    parser.add_argument("argv", nargs="+")
    return parser.parse_args(argv)


def die_with_parent() -> None:
    """In the guest's process: be killed when this one ends, however it does."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def write_pid(path: Path, pid: int) -> None:
    """Write the guest's pid and start time: a pid alone may be somebody else's tomorrow."""
    partial = path.with_suffix(".partial")
    partial.write_text(f"{pid} {start_time(pid)}\n")
    partial.rename(path)


def start_time(pid: int) -> int:
    """Return field 22 of /proc/PID/stat; the name before it may hold spaces and brackets."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[19])


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
            for child in children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            os.waitpid(-1, 0)


def children() -> list[int]:
    names = (path.name for path in Path("/proc").iterdir())
    return [int(name) for name in names if name.isdigit() and is_child(int(name))]


def is_child(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return int(stat.rpartition(")")[2].split()[1]) == os.getpid()


if __name__ == "__main__":
    sys.exit(main())
