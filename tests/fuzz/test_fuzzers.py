# SPDX-License-Identifier: BSD-2-Clause
"""Every csrc/tests/fuzz_*.c runs a while under libFuzzer, the address and undefined sanitizers.

RINGPASS_FUZZ_SECONDS says how long each runs (default 5): long runs are for a night, short ones
find what a change has just broken.
"""

import os
from pathlib import Path

import pytest

from tests.support.cbuild import FUZZING, c_tests, run

FUZZERS = c_tests("fuzz_*")
SECONDS = int(os.environ.get("RINGPASS_FUZZ_SECONDS", "5"))


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    """Return the fuzzers: stem -> path."""
    return FUZZING.programs(FUZZERS)


@pytest.mark.timeout(SECONDS + 600)
@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_fuzzer_finds_nothing(programs: dict[str, Path], fuzzer: str, tmp_path: Path) -> None:
    run(
        [
            programs[fuzzer],
            f"-max_total_time={SECONDS}",
            "-timeout=10",  # an input that takes longer is an unbounded loop
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
            f"-artifact_prefix={tmp_path}/",
        ],
        timeout=SECONDS + 60,
    )
