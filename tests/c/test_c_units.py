# SPDX-License-Identifier: BSD-2-Clause
"""Every csrc/tests/test_*.c, as it is installed and under the address and undefined sanitizers."""

from pathlib import Path

import pytest

from tests.support.cbuild import INSTALLED, SANITIZED, CBuild, c_tests, run

UNITS = c_tests("test_*")


@pytest.fixture(scope="module", params=[INSTALLED, SANITIZED], ids=lambda build: build.name)
def programs(request: pytest.FixtureRequest) -> dict[str, Path]:
    """Return the programs of one build: stem -> path."""
    build: CBuild = request.param
    return build.programs(UNITS)


@pytest.mark.parametrize("unit", UNITS)
def test_unit(programs: dict[str, Path], unit: str) -> None:
    run([programs[unit]], timeout=120)
