# SPDX-License-Identifier: BSD-2-Clause
"""Netmap programs of tests/netmap/programs in a guest, which has a real /dev/netmap."""

import gzip
import re
import shlex
from pathlib import Path

from ringpass.vm.guest import Guest
from tests.support.cbuild import ROOT, run
from tests.support.netmap_programs import INCLUDE
from tests.support.netmap_run import PROGRAMS

_CHECK = ROOT / "csrc" / "tests"
_TEST = re.compile(r"^TEST\((\w+)\)", re.MULTILINE)


def tests_of(stem: str) -> list[str]:
    """Return the names of the tests in tests/netmap/programs/STEM.c."""
    return _TEST.findall((PROGRAMS / f"{stem}.c").read_text())


def install(guest: Guest, stem: str, place: Path) -> str:
    """Compile tests/netmap/programs/STEM.c, put it into the guest; return its path there."""
    source = PROGRAMS / f"{stem}.c"
    harness = [_CHECK / "check.c"] if '"ports.h"' in source.read_text() else []
    flags = ["-std=c11", "-D_GNU_SOURCE", "-Os", "-s", "-Wall", "-Wextra", "-Werror", "-pthread"]
    binary = place / stem
    run(["cc", *flags, f"-I{INCLUDE}", f"-I{_CHECK}", source, *harness, "-o", binary])
    path = f"/tmp/{stem}"
    guest.write_file(f"{path}.gz", gzip.compress(binary.read_bytes(), mtime=0))
    guest.check(f"gunzip {shlex.quote(path)}.gz && chmod +x {shlex.quote(path)}")
    return path
