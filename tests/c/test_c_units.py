# SPDX-License-Identifier: BSD-2-Clause
"""Every csrc/tests/test_*.c, as it is installed and under the sanitizers."""

from pathlib import Path

import pytest

from tests.support.cbuild import INSTALLED, SANITIZED, THREADED, CBuild, c_tests, run

UNITS = c_tests("test_*")

# They change memory under the data plane on purpose, which is a race by any definition.
RACES_ON_PURPOSE = {"test_offload", "test_scribble"}
QUIET = [unit for unit in UNITS if unit not in RACES_ON_PURPOSE]


@pytest.fixture(scope="module", params=[INSTALLED, SANITIZED], ids=lambda build: build.name)
def programs(request: pytest.FixtureRequest) -> dict[str, Path]:
    """Return the programs of one build: stem -> path."""
    build: CBuild = request.param
    return build.programs(UNITS)


@pytest.mark.parametrize("unit", UNITS)
def test_unit(programs: dict[str, Path], unit: str) -> None:
    run([programs[unit]], timeout=120)


@pytest.fixture(scope="module")
def threaded_programs() -> dict[str, Path]:
    """Return the programs of the thread sanitizer's build: stem -> path."""
    return THREADED.programs(QUIET)


@pytest.mark.slow
@pytest.mark.parametrize("unit", QUIET)
def test_unit_has_no_race(threaded_programs: dict[str, Path], unit: str) -> None:
    # setarch -R: the sanitizer's shadow memory has no place where addresses are randomized widely.
    run(["setarch", "-R", threaded_programs[unit]], timeout=240)
