# SPDX-License-Identifier: BSD-2-Clause
"""Writes a tree as the cpio archive (format `newc`) that the kernel unpacks as its initramfs.

The same tree always gives the same bytes: owners are root, times are zero, inode numbers count.
"""

import stat
from collections.abc import Iterator

from ringpass.image.tree import Entry, Tree

TRAILER = "TRAILER!!!"


def archive(tree: Tree) -> Iterator[bytes]:
    """Yield the archive of `tree`, a chunk per entry."""
    for inode, (path, entry) in enumerate(tree.sorted(), start=1):
        yield header(inode, path, entry)
        yield padded(entry.data)
    yield header(0, TRAILER, Entry(0))


def header(inode: int, path: str, entry: Entry) -> bytes:
    name = path.encode() + b"\0"
    fields = (
        inode,
        entry.mode,
        0,  # uid
        0,  # gid
        2 if stat.S_ISDIR(entry.mode) else 1,  # links
        0,  # mtime
        len(entry.data),
        0,  # device of the file system: major, minor
        0,
        *entry.device,
        len(name),
        0,  # checksum: only in format `crc`
    )
    return padded(b"070701" + b"".join(b"%08X" % field for field in fields) + name)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
