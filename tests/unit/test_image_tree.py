# SPDX-License-Identifier: BSD-2-Clause
"""The file tree of an image, and the initramfs that is written from it."""

import stat
import subprocess
from pathlib import Path

import pytest

from ringpass.image import cpio
from ringpass.image.tree import Entry, Tree, matcher, merged_path, skeleton


def initramfs(tree: Tree) -> bytes:
    return b"".join(cpio.archive(tree))


def listing(archive: bytes) -> dict[str, str]:
    """Return the mode of each path, as cpio itself reads the archive."""
    done = subprocess.run(
        ["cpio", "--list", "--verbose", "--numeric-uid-gid"],
        input=archive,
        stdout=subprocess.PIPE,
        check=True,
    )
    lines = (line.split() for line in done.stdout.decode().splitlines())
    return {words[8] if len(words) > 8 else words[-1]: words[0] for words in lines}


def test_cpio_reads_what_we_write(tmp_path: Path) -> None:
    tree = skeleton()
    tree.file("init", b"#!/bin/sh\n", 0o755)
    tree.file("etc/odd", b"12345")
    tree.link("usr/bin/sh", "dash")
    modes = listing(initramfs(tree))
    assert modes["init"] == "-rwxr-xr-x"
    assert modes["usr/bin/sh"].startswith("l")
    assert modes["tmp"] == "drwxrwxrwt"
    assert any(mode.startswith("c") for mode in modes.values())

    plain = Tree({path: e for path, e in tree.entries.items() if not stat.S_ISCHR(e.mode)})
    subprocess.run(["cpio", "-id", "--quiet"], input=initramfs(plain), cwd=tmp_path, check=True)
    assert (tmp_path / "etc/odd").read_bytes() == b"12345"
    assert (tmp_path / "bin").readlink() == Path("usr/bin")


def test_order_of_additions_does_not_matter() -> None:
    one, two = Tree(), Tree()
    one.file("a/b", b"1")
    one.file("c", b"2")
    two.file("c", b"2")
    two.file("a/b", b"1")
    assert initramfs(one) == initramfs(two)


def test_directories_come_before_what_they_hold() -> None:
    tree = Tree()
    tree.file("usr/lib/modules/6.1/a.ko", b"")
    paths = [path for path, _entry in tree.sorted()]
    assert paths == sorted(paths, key=lambda path: path.split("/"))
    assert tree.entries["usr/lib/modules"] == Entry(stat.S_IFDIR | 0o755)


def test_archive_and_its_parts_are_aligned() -> None:
    tree = Tree()
    tree.file("x", b"abc")
    for chunk in cpio.archive(tree):
        assert len(chunk) % 4 == 0


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("./bin/busybox", "usr/bin/busybox"),
        ("./lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("./lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"),
        ("./usr/bin/ip", "usr/bin/ip"),
        ("./libexec/x", "libexec/x"),
        ("./lib", "lib"),
        ("./", ""),
    ],
)
def test_packages_land_in_the_merged_usr(name: str, path: str) -> None:
    assert merged_path(name) == path


def test_patterns_match_whole_paths() -> None:
    matches = matcher(["usr/share/*", "*.pyc"])
    assert matches("usr/share/doc/x")
    assert matches("usr/lib/a.pyc")
    assert not matches("x/usr/share/doc")
    assert not matcher([])("anything")


def test_rootfs_is_copied_with_its_links(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root")
    (tmp_path / "init").write_text("#!/bin/sh")
    (tmp_path / "init").chmod(0o700)
    (tmp_path / "link").symlink_to("init")
    tree = Tree()
    tree.copy_from(tmp_path)
    # The modes of a checkout depend on the umask of who made it; only the x bit is kept.
    assert tree.entries["init"].mode == stat.S_IFREG | 0o755
    assert tree.entries["etc/passwd"].mode == stat.S_IFREG | 0o644
    assert tree.entries["link"].data == b"init"
