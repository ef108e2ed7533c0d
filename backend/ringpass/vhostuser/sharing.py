# SPDX-License-Identifier: BSD-2-Clause
"""Whether a front end shares the memory that it describes, or only seems to."""

import os
from collections.abc import Iterable
from pathlib import Path


def keeps_to_itself(pid: int, fds: Iterable[int]) -> bool:
    """Whether process `pid` maps the files behind `fds`, but none of them shared.

    QEMU without `share=on` hands out the file of its guest's memory all the same; what the guest
    writes stays in QEMU's own copy, and everybody else sees empty rings. False, too, of a process
    that may not be looked at, or that maps none of the files.
    """
    files = {_identity(fd) for fd in fds}
    kinds = set()
    try:
        # start-end rwxs offset major:minor inode path
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            _range, permissions, _offset, device, inode = line.split(maxsplit=5)[:5]
            if (device, inode) in files:
                kinds.add(permissions[3])
    except OSError:
        return False
    return kinds == {"p"}


def _identity(fd: int) -> tuple[str, str]:
    """Return the device and inode of a file as /proc/PID/maps writes them."""
    status = os.fstat(fd)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    return device, str(status.st_ino)
