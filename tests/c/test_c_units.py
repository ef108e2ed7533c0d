# SPDX-License-Identifier: BSD-2-Clause
"""Every csrc/tests/test_*.c, as it is installed and under the address and undefined sanitizers."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "csrc" / "tests").glob("test_*.c"))

# Build directory -> what `meson setup` is told. The first is the one that the package runs from.
BUILDS = {
    "cp311": [],
    "sanitize": [
        "-Dbuildtype=debugoptimized",
        "-Db_sanitize=address,undefined",
        "-Dc_args=-fno-sanitize-recover=all -fno-omit-frame-pointer",
    ],
}


@pytest.fixture(scope="module", params=BUILDS)
def built(request: pytest.FixtureRequest) -> Path:
    """Return the directory of the C tests in one build, all of them up to date."""
    name: str = request.param
    directory = ROOT / "build" / name
    if not (directory / "build.ninja").exists():
        run(["meson", "setup", *BUILDS[name], directory, ROOT])
    run(["ninja", "-C", directory, *(f"csrc/tests/{source.stem}" for source in SOURCES)])
    return directory / "csrc" / "tests"


def run(command: list[str | Path], timeout: float = 600) -> None:
    """Run `command` and fail the test with all that it printed, unless it succeeds."""
    environ = os.environ | {
        "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
        env=environ,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"{command[0]} returned {done.returncode}:\n{done.stdout}", pytrace=False)


@pytest.mark.parametrize("name", [source.stem for source in SOURCES])
def test_unit(built: Path, name: str) -> None:
    run([built / name], timeout=120)
