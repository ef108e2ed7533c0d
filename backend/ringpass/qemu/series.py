# SPDX-License-Identifier: BSD-2-Clause
"""The patches of `qemu-patches/`: which there are, and how they are applied to a tree of QEMU's.

They are written for QEMU 7.2, and applied to it as they are. QEMU renames things treewide: newer
trees get the same patches with the new names, which `adapted` finds by looking into the tree.
"""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from ringpass.errors import RingpassError
from ringpass.image.recipe import images_dir

BASE = "7.2"
"""The version of QEMU that the patches are written for."""

FUZZ = 2
"""Lines of a hunk's context that may differ in a newer tree, of three."""


def patches_dir() -> Path:
    """Return the directory of the series: beside images/, in the source tree or installed."""
    return images_dir().parent / "qemu-patches"


def patches(tree_version: str = BASE) -> list[Path]:
    """Return the patches for a tree of that version, in the order in which they are applied."""
    directory = patches_dir()
    if not is_base(tree_version):
        directory /= "newer"
    lines = (line.partition("#")[0].strip() for line in (directory / "series").open())
    return [(directory / line).resolve() for line in lines if line]


def headers() -> list[Path]:
    """Return the headers of csrc/ that QEMU is compiled with, and those that they include."""
    csrc = images_dir().parent / "csrc"
    texts = [patch.read_text() for patch in patches()]
    names = {name for text in texts for name in included(text) if name.startswith("abi/")}
    wanted = [csrc / name for name in sorted(names)]
    for header in wanted:  # grows while we look
        beside = (header.parent / name for name in included(header.read_text()))
        wanted += [path for path in beside if path.exists() and path not in wanted]
    return wanted


def included(text: str) -> list[str]:
    return re.findall(r'^\+?\s*#\s*include "([^"]+)"', text, re.MULTILINE)


def new_files() -> list[str]:
    """Return the paths of the files that the series adds to QEMU."""
    return [
        path
        for patch in patches()
        for path in re.findall(r"^--- /dev/null\n\+\+\+ b/(\S+)", patch.read_text(), re.MULTILINE)
    ]


def version(tree: Path) -> str:
    """Return the version of a tree of QEMU's. Raises RingpassError if it is none."""
    if not (tree / "qapi/net.json").exists():
        raise RingpassError(
            "cannot apply the patches",
            f"{tree} is no source tree of QEMU",
            "give the directory that has QEMU's configure and VERSION",
        )
    return (tree / "VERSION").read_text().strip()


def is_base(tree_version: str) -> bool:
    return tree_version.startswith(f"{BASE}.") or tree_version == BASE


def apply(tree: Path) -> list[Path]:
    """Apply the series to the sources in `tree`, and return its patches.

    Raises RingpassError, and leaves what was applied until then, at the first that does not fit.
    """
    tree_version = version(tree)
    applied = patches(tree_version)
    fuzz = 0 if is_base(tree_version) else FUZZ
    for patch in applied:
        done = subprocess.run(
            ["patch", "-p1", "--batch", "--forward", "--no-backup-if-mismatch", f"--fuzz={fuzz}"],
            cwd=tree,
            input=adapted(patch.read_text(), tree),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RingpassError(
                f"{patch.name} does not apply to QEMU {tree_version}",
                done.stdout.strip() or done.stderr.strip(),
                f"use the sources of Debian's QEMU {BASE}",
            )
    return applied


def adapted(patch: str, tree: Path) -> str:
    """Return the patch with the names that `tree` has for what QEMU has renamed since `BASE`."""
    head, separator, body = patch.partition("\n---\n")
    for old, new in renames(tree):
        body = re.sub(old, new, body, flags=re.MULTILINE)
    return (
        head
        + separator
        + re.sub(r'(?<=^[+ ]#include ")[^"]+', moved_in(tree), body, flags=re.MULTILINE)
    )


def renames(tree: Path) -> Iterator[tuple[str, str]]:
    """Yield a pattern and what takes its place, for all that does not go by its old name."""
    if not mentions(tree / "hw/net/meson.build", "softmmu_ss"):
        yield r"\bsoftmmu_ss\b", "system_ss"
    if not mentions(tree / "include/hw/qdev-properties.h", "DEFINE_PROP_END_OF_LIST"):
        # As many lines as before: the patch counts them.
        yield r"^\+ *DEFINE_PROP_END_OF_LIST\(\),$", "+"
        yield r"^\+static Property ", "+static const Property "
    if not mentions(tree / "meson.build", r"\btargetos\b"):
        yield r"^(\+.*)\btargetos\b", r"\1host_os"
    if mentions(tree / "include/net/net.h", r"\(SetOffload\)\(NetClientState \*(, int){7}\)"):
        # Segmentation of UDP over IPv4 and IPv6, which nobody is offered.
        yield r"^(\+.* int ufo)\)", r"\1, int uso4, int uso6)"
    if mentions(tree / "include/hw/qdev-core.h", "device_class_set_legacy_reset"):
        yield r"^(\+ *)dc->reset = (\w+);$", r"\1device_class_set_legacy_reset(dc, \2);"
    if mentions(tree / "include/migration/blocker.h", r"migrate_add_blocker\(Error \*\*"):
        yield r"^(\+.*\bmigrate_(?:add|del)_blocker\()", r"\1&"
    if (tree / "include/hw/pci/pci_device.h").exists():
        yield r'^(\+#include "hw/pci/)pci\.h"$', r'\1pci_device.h"'
    if any(mentions(header, "fd_offset") for header in tree.glob("include/*/ramblock.h")):
        # A memory backend may begin behind the beginning of its file.
        yield r"^(\+.* = (section)\.offset_within_region)", r"\1 + \2.mr->ram_block->fd_offset"
    if mentions(tree / "qapi/net.json", r"\.\. qmp-example::"):
        yield r"^\+# Example:$", "+# .. qmp-example::"
    if mentions(tree / "include/qom/object.h", r"class_init\)\(ObjectClass \*klass, const void"):
        yield r"^(\+.*class_init\(ObjectClass \*\w+, )void \*", r"\1const void *"


def mentions(file: Path, pattern: str) -> bool:
    return re.search(pattern, file.read_text()) is not None


def moved_in(tree: Path) -> Callable[[re.Match[str]], str]:
    """Return a function that finds out where a header of QEMU's is in `tree`."""
    include = tree / "include"

    def place(found: re.Match[str]) -> str:
        name = found[0]
        candidates = [name, *(f"{home}/{Path(name).name}" for home in ("system", "qobject"))]
        return next((path for path in candidates if (include / path).exists()), name)

    return place
