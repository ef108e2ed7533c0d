# SPDX-License-Identifier: BSD-2-Clause
"""A file tree in memory: where packages, tools and rootfs meet before they become an initramfs.

In memory, because unpacking as an ordinary user would lose owners and device nodes, and because
a dict has one order, which a directory does not.
"""

import fnmatch
import re
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ringpass.errors import RingpassError

MERGED = ("bin", "sbin", "lib", "lib64")
"""Directories that Debian 12 has as links into /usr, while older packages still name them."""


@dataclass(frozen=True)
class Entry:
    """A file, directory, link or device. All belong to root.

    `data` is a file's content or a link's target; `device` is (major, minor).
    """

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


@dataclass
class Tree:
    """Paths without a leading slash, and what is there."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self.add(path, Entry(stat.S_IFREG | mode, data))

    def link(self, path: str, target: str) -> None:
        self.add(path, Entry(stat.S_IFLNK | 0o777, target.encode()))

    def directory(self, path: str, mode: int = 0o755) -> None:
        self.add(path, Entry(stat.S_IFDIR | mode))

    def node(self, path: str, major: int, minor: int) -> None:
        self.add(path, Entry(stat.S_IFCHR | 0o600, device=(major, minor)))

    def add(self, path: str, entry: Entry) -> None:
        """Put `entry` at `path`, and plain directories above it where there are none."""
        for parent in PurePosixPath(path).parents:
            if parent.name and str(parent) not in self.entries:
                self.entries[str(parent)] = Entry(stat.S_IFDIR | 0o755)
        self.entries[path] = entry

    def __contains__(self, path: str) -> bool:
        return path in self.entries

    def sorted(self) -> Iterator[tuple[str, Entry]]:
        """All entries, directories before what they hold."""
        return iter(sorted(self.entries.items()))

    def files(self) -> Iterator[tuple[str, Entry]]:
        return ((path, entry) for path, entry in self.sorted() if stat.S_ISREG(entry.mode))

    def copy_from(self, directory: Path) -> None:
        """Add the files and links below a directory of the host; only the x bit of modes counts."""
        for path in sorted(directory.rglob("*")):
            name = path.relative_to(directory).as_posix()
            if path.is_symlink():
                self.link(name, path.readlink().as_posix())
            elif path.is_file():
                executable = path.stat().st_mode & stat.S_IXUSR
                self.file(name, path.read_bytes(), 0o755 if executable else 0o644)

    def write_to(self, directory: Path) -> None:
        """Write files, directories and links below a directory of the host; devices stay out."""
        for path, entry in self.sorted():
            place = directory / path
            if stat.S_ISDIR(entry.mode):
                place.mkdir(exist_ok=True)
            elif stat.S_ISLNK(entry.mode):
                place.symlink_to(entry.data.decode())
            elif stat.S_ISREG(entry.mode):
                place.write_bytes(entry.data)
                place.chmod(stat.S_IMODE(entry.mode) | stat.S_IWUSR)


def skeleton() -> Tree:
    """Return the tree that every image starts from: the merged /usr and the mount points."""
    tree = Tree()
    for name in MERGED:
        tree.directory(f"usr/{name}")
        tree.link(name, f"usr/{name}")
    for name in ("dev", "proc", "root", "run", "sys", "etc", "mnt"):
        tree.directory(name)
    tree.directory("tmp", 0o1777)
    # The kernel opens /dev/console for process 1 before anybody can mount /dev.
    tree.node("dev/console", 5, 1)
    tree.node("dev/null", 1, 3)
    return tree


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Return a predicate: does a path match any of these shell patterns?"""
    expressions = [fnmatch.translate(pattern) for pattern in patterns]
    if not expressions:
        return lambda _path: False
    compiled = re.compile("|".join(expressions))
    return lambda path: compiled.match(path) is not None


def unpack(deb: Path, tree: Tree, dropped: Callable[[str], bool]) -> None:
    """Add the content of a Debian package to `tree`, except the paths that `dropped` names."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for member in archive:
                path = merged_path(member.name)
                if path and not dropped(path):
                    unpack_member(archive, member, path, tree)
        process.stdout.read()
    if process.returncode != 0:
        raise RingpassError(
            f"cannot unpack {deb.name}",
            f"dpkg-deb left with code {process.returncode}",
            f"delete {deb} and build again",
        )


def unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, tree: Tree) -> None:
    if member.isfile():
        content = archive.extractfile(member)
        assert content is not None
        tree.file(path, content.read(), member.mode)
    elif member.islnk():
        tree.add(path, tree.entries[merged_path(member.linkname)])
    elif member.issym() and path not in MERGED:
        tree.link(path, member.linkname)


def merged_path(name: str) -> str:
    """Return a package's path without its leading `./`, and below usr/ where /usr is merged."""
    path = name.removeprefix("./").strip("/").removeprefix(".")
    return f"usr/{path}" if path.split("/")[0] in MERGED and "/" in path else path
