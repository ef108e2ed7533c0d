# SPDX-License-Identifier: BSD-2-Clause
"""What a user may do with a file, as the kernel decides it by owner, group, mode and ACL.

For others than ourselves there is nothing to ask the kernel. Capabilities do not count: libvirt
takes them all from QEMU, which then, as root, may no more than root's mode bits say.
"""

import errno
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ringpass.libvirt.qemu_user import QemuUser

READ, WRITE, EXECUTE = 4, 2, 1

_ACL = "system.posix_acl_access"
_ACL_VERSION = struct.Struct("<I")
_ACL_ENTRY = struct.Struct("<HHI")
_USER, _GROUP_OWNER, _GROUP, _MASK = 2, 4, 8, 16


class _Entry(NamedTuple):
    tag: int
    allowed: int
    id: int


def may(status: os.stat_result, acl: bytes, user: QemuUser, wanted: int) -> bool:
    """Tell whether `user` may do `wanted` with a file of this `status` and access ACL."""
    if user.uid == status.st_uid:
        return _within(status.st_mode >> 6, wanted)
    # Without bits for the group, which are an ACL's mask, Linux does not look at the ACL.
    entries = list(_entries(acl)) if status.st_mode & stat.S_IRWXG else []
    if not entries:
        by_group = status.st_gid in user.groups
        return _within(status.st_mode >> 3 if by_group else status.st_mode, wanted)
    mask = next((entry.allowed for entry in entries if entry.tag == _MASK), 7)
    for entry in entries:
        if entry.tag == _USER and entry.id == user.uid:
            return _within(entry.allowed & mask, wanted)
    groups = [
        entry.allowed & mask
        for entry in entries
        if (entry.tag == _GROUP_OWNER and status.st_gid in user.groups)
        or (entry.tag == _GROUP and entry.id in user.groups)
    ]
    if groups:
        return any(_within(allowed, wanted) for allowed in groups)
    return _within(status.st_mode, wanted)


def acl_of(path: Path) -> bytes:
    """Return the access ACL of a file; empty if it has none. Raises OSError."""
    try:
        return os.getxattr(path, _ACL)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return b""
        raise


def way_to(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield each directory that is passed on the way to `path`, from the root, then `path` itself.

    Symbolic links are followed, and the directories that they lead through are passed as well.
    Raises OSError.
    """
    place = Path("/")
    left = list(reversed(path.parts[1:]))
    links = 0
    while left:
        yield place, place.stat()
        name = left.pop()
        if name == "..":
            place = place.parent
            continue
        step = place / name
        if not step.is_symlink():
            place = step
            continue
        links += 1
        if links > 40:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = step.readlink()
        place = Path("/") if target.is_absolute() else place
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    yield place, place.stat()


def _within(allowed: int, wanted: int) -> bool:
    return allowed & wanted == wanted


def _entries(acl: bytes) -> Iterator[_Entry]:
    """Yield the entries of an ACL in the form of the extended attribute."""
    for fields in _ACL_ENTRY.iter_unpack(acl[_ACL_VERSION.size :]):
        yield _Entry(*fields)
