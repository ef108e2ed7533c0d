# SPDX-License-Identifier: BSD-2-Clause
"""Does the series compile in the newest QEMU of Debian? Whoever asks twice is told the same."""

import hashlib
import json
import os
import re
import sys
import tempfile
from pathlib import Path

from ringpass.image.lock import locked
from ringpass.paths import cache_dir
from ringpass.qemu import build, series, source
from ringpass.qemu.source import NotInTheArchive

SUITES = ("sid", "testing", "stable")
"""Newest first. The archive may list a version whose files it does not serve (any more)."""


def compiled() -> str:
    """Return which version of QEMU it is, and how many files of it compiled with the series.

    The newest version that the archive serves; why it is none of a newer suite is said, too, and
    such a suite is asked for again by whoever asks next. Fails with the compiler's words. What has
    passed is remembered for its suite, under a hash of the patches.
    """
    missed, key = "", _key()
    with locked(cache_dir() / "qemu" / "newest.lock"):
        for suite in SUITES:
            place = cache_dir() / "qemu" / f"newest-{suite}-{key}"
            try:
                if not place.exists():
                    place.write_text(_compile(source.source("qemu", suite), suite))
            except NotInTheArchive as error:
                missed += f"; not {suite}'s: {error.why}"
            else:
                return place.read_text() + missed
    raise AssertionError(f"the archive serves no source of QEMU{missed}")


def _key() -> str:
    files = [*series.patches(), *series.patches("newer"), *series.headers(), build.devices_file()]
    files += [Path(series.__file__), Path(__file__)]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]


def _compile(description: Path, suite: str) -> str:
    with tempfile.TemporaryDirectory(dir=cache_dir() / "qemu") as directory:
        tree = source.unpack(description, Path(directory))
        patches = series.apply(tree)
        # That QEMU wants a newer meson than Debian 12 has: the one of our own environment.
        # Its sources come without firmware.
        options = [f"--python={sys.executable}", "--disable-install-blobs"]
        out = build.configure(tree, lambda _text, _fraction: None, *options)
        objects = _objects(out, {path for patch in patches for path in _touched(patch)})
        assert objects
        build.compile_all(out, objects, lambda _text, _fraction: None)
        version = series.version(tree)
    return f"QEMU {version}, {suite}: {len(objects)} files compiled"


def _touched(patch: Path) -> list[str]:
    return re.findall(r"^\+\+\+ b/(\S+\.c)$", patch.read_text(), re.MULTILINE)


def _objects(out: Path, files: set[str]) -> list[str]:
    """Return what ninja calls the objects of `files`. Fails if one is not compiled at all."""
    commands = json.loads((out / "compile_commands.json").read_text())
    found = {
        os.path.relpath(out / command["file"], out.parent): command["output"]
        for command in commands
    }
    missing = files - found.keys()
    assert not missing, f"not part of the build: {sorted(missing)}"
    return sorted(found[file] for file in files)
