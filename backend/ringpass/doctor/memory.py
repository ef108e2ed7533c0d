# SPDX-License-Identifier: BSD-2-Clause
"""Memory: sealed and shared, as regions are; executable and large enough, as UML needs its own."""

import fcntl
import mmap
import os
import tempfile
from pathlib import Path

from ringpass.doctor.finding import Finding
from ringpass.vm import uml

UML_GUEST = 256 << 20
"""Bytes of memory that a guest has by default."""

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def check_memfd() -> Finding:
    """Do with a memfd what every region and every guest's memory needs."""
    try:
        fd = os.memfd_create("ringpass-doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            share_and_seal(fd)
        finally:
            os.close(fd)
    except OSError as error:
        return Finding(
            "memfd",
            "fail",
            "memory cannot be shared with guests",
            f"a memfd that is mapped twice and sealed: {error}",
            "use Linux 5.10 or later, and let the sandbox you are in allow memfd_create",
        )
    return Finding("memfd", "ok", "memfds can be mapped shared and sealed")


def share_and_seal(fd: int) -> None:
    """Raise OSError unless two mappings of `fd` are one memory, and its size can be made final."""
    size = 2 * mmap.PAGESIZE
    os.ftruncate(fd, size)
    with mmap.mmap(fd, size) as ours, mmap.mmap(fd, size) as theirs:
        ours[mmap.PAGESIZE] = 42
        if theirs[mmap.PAGESIZE] != 42:
            raise OSError("what one mapping writes, the other does not see")
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    try:
        os.ftruncate(fd, mmap.PAGESIZE)
    except PermissionError:
        return
    raise OSError("a sealed memfd still shrinks")


def check_shm() -> Finding:
    """Look at the directory where User-mode Linux keeps its guests' memory."""
    place = Path(uml.ENVIRONMENT["TMPDIR"])
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.truncate(mmap.PAGESIZE)
            protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
            mmap.mmap(file.fileno(), mmap.PAGESIZE, prot=protection).close()
    except OSError as error:
        return Finding(
            "shm",
            "warn",
            f"User-mode Linux cannot keep its memory in {place}",
            f"an executable mapping of a file there: {error}",
            f"mount it as a tmpfs that is writable and not noexec: mount -o remount,exec {place}",
        )
    space = os.statvfs(place)
    free = space.f_bavail * space.f_frsize
    if free < 2 * UML_GUEST:
        return Finding(
            "shm",
            "warn",
            f"{place} has {free >> 20} MiB",
            f"each guest of User-mode Linux takes {UML_GUEST >> 20} MiB of it by default",
            f"mount -o remount,size=1G {place}, or docker run --shm-size=1g",
        )
    return Finding("shm", "ok", f"{place} is executable and has {free >> 20} MiB")
