# SPDX-License-Identifier: BSD-2-Clause
"""Every csrc/tests/test_*.c under the sanitizers of addresses and of undefined behaviour."""

from pathlib import Path

import pytest

from tests.support.cbuild import SANITIZED, c_tests, run

UNITS = c_tests("test_*")


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    """Return the programs: stem -> path."""
    return SANITIZED.programs(UNITS)


@pytest.mark.parametrize("unit", UNITS)
def test_unit(programs: dict[str, Path], unit: str) -> None:
    run([programs[unit]], timeout=600)
