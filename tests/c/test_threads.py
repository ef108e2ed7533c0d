# SPDX-License-Identifier: BSD-2-Clause
"""Every csrc/tests/test_*.c that does not race on purpose, under the thread sanitizer."""

from pathlib import Path

import pytest

from tests.support.cbuild import THREADED, c_tests, run

pytestmark = pytest.mark.slow

# They change memory under the data plane on purpose, which is a race by any definition. Who gives
# slots to a zero-copy monitor looks at a ring that may be gone, and then whether it is.
RACES_ON_PURPOSE = {"test_offload", "test_scribble", "test_trials", "test_zcopy"}
UNITS = [unit for unit in c_tests("test_*") if unit not in RACES_ON_PURPOSE]


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    """Return the programs: stem -> path."""
    return THREADED.programs(UNITS)


@pytest.mark.parametrize("unit", UNITS)
def test_unit_has_no_race(programs: dict[str, Path], unit: str) -> None:
    # setarch -R: the sanitizer's shadow memory has no place where addresses are randomized widely.
    run(["setarch", "-R", programs[unit]], timeout=600)
