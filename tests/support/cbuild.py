# SPDX-License-Identifier: BSD-2-Clause
"""Builds of the data plane that tests run programs from: as installed, sanitized, fuzzing."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ringpass.image.lock import locked

ROOT = Path(__file__).parents[2]
UBSAN_OPTIONS = "halt_on_error=1:print_stacktrace=1"
# meson and ninja of the environment that runs the tests come first: Debian's are too old.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


@dataclass(frozen=True)
class CBuild:
    """A meson build directory below build/: its name, and what `meson setup` is told."""

    name: str
    options: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)

    def build(self, *targets: str) -> Path:
        """Bring `targets` (paths below the build directory) up to date; return that directory.

        Fails the running test with the compiler's words if one cannot be built.
        """
        directory = ROOT / "build" / self.name
        with locked(directory.with_suffix(".lock")):
            if not (directory / "build.ninja").exists():
                run(["meson", "setup", *self.options, directory, ROOT], environ=self.environ)
            run(["ninja", "-C", directory, *targets])
        return directory

    def programs(self, stems: Sequence[str]) -> dict[str, Path]:
        """Build the programs of csrc/tests/STEM.c, return the path of each."""
        targets = {stem: f"csrc/tests/{stem}" for stem in stems}
        directory = self.build(*targets.values())
        return {stem: directory / target for stem, target in targets.items()}


_SANITIZERS = (
    "--werror",
    "-Dbuildtype=debugoptimized",
    "-Db_sanitize=address,undefined",
)

INSTALLED = CBuild("cp311")  # the one that the package runs from
# Arrays that end a struct have bounds, too; Clang has no word for that.
SANITIZED = CBuild("sanitize", (*_SANITIZERS, "-Dc_args=-fsanitize=bounds-strict"))
# GCC's thread sanitizer does not know fences, and says so at each. It needs none to see that no two
# threads race: data is handed over by acquire and release.
THREADED = CBuild(
    "thread", ("-Dbuildtype=debugoptimized", "-Db_sanitize=thread", "-Dc_args=-Wno-tsan")
)
FUZZING = CBuild("fuzz", (*_SANITIZERS, "-Dfuzzers=true"), {"CC": "clang"})


def c_tests(pattern: str) -> list[str]:
    """Return the stems of csrc/tests/`pattern`.c, sorted."""
    return sorted(source.stem for source in (ROOT / "csrc" / "tests").glob(f"{pattern}.c"))


def run(
    command: Sequence[str | Path], timeout: float = 600, environ: Mapping[str, str] | None = None
) -> str:
    """Run `command` for at most `timeout` seconds and return what it printed.

    Fails the running test with all of that, unless the command returns 0.
    """
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
        env={**os.environ, "PATH": PATH, "UBSAN_OPTIONS": UBSAN_OPTIONS, **(environ or {})},
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"{command[0]} returned {done.returncode}:\n{done.stdout}", pytrace=False)
    return done.stdout
