# SPDX-License-Identifier: BSD-2-Clause
"""Every csrc/tests/test_*.c, as it is installed."""

from pathlib import Path

import pytest

from tests.support.cbuild import INSTALLED, c_tests, run

UNITS = c_tests("test_*")


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    """Return the programs: stem -> path."""
    return INSTALLED.programs(UNITS)


@pytest.mark.parametrize("unit", UNITS)
def test_unit(programs: dict[str, Path], unit: str) -> None:
    run([programs[unit]], timeout=600)
