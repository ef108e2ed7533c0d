# SPDX-License-Identifier: BSD-2-Clause
"""csrc/tests/test_*.c that have threads and race not on purpose, under the thread sanitizer."""

import re
from pathlib import Path

import pytest

from tests.support.cbuild import ROOT, THREADED, c_tests, run

pytestmark = pytest.mark.slow

# They change memory under the data plane on purpose, which is a race by any definition. Who gives
# slots to a zero-copy monitor looks at a ring that may be gone, and then whether it is.
RACES_ON_PURPOSE = {"test_offload", "test_scribble", "test_trials", "test_zcopy"}
STARTS_THREADS = re.compile(r"\b(world_open|rp_worker_add|pthread_create)\(")


def starts_threads(unit: str) -> bool:
    """Whether a unit has threads: its own, or a worker. Without any there is no race."""
    source = ROOT / "csrc" / "tests" / f"{unit}.c"
    return STARTS_THREADS.search(source.read_text()) is not None


UNITS = [
    unit for unit in c_tests("test_*") if unit not in RACES_ON_PURPOSE and starts_threads(unit)
]


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    """Return the programs: stem -> path."""
    return THREADED.programs(UNITS)


@pytest.mark.parametrize("unit", UNITS)
def test_unit_has_no_race(programs: dict[str, Path], unit: str) -> None:
    # setarch -R: the sanitizer's shadow memory has no place where addresses are randomized widely.
    run(["setarch", "-R", programs[unit]], timeout=600)
