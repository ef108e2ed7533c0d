# SPDX-License-Identifier: BSD-2-Clause
"""Every csrc/tests/fuzz_*.c: what was found once is tried again, and some time is spent on more.

corpus/fuzz_NAME/ has inputs that reach far, named by what they do, and those that a fuzzer found a
bug with. A new finding goes there, under a name that says what was wrong.

RINGPASS_FUZZ_SECONDS says how long each fuzzer runs (default 6): long runs are for a night, short
ones find what a change has just broken.
"""

import os
from pathlib import Path

import pytest

from tests.support.cbuild import FUZZING, SANITIZED, c_tests, run

CORPUS = Path(__file__).parent / "corpus"
FUZZERS = c_tests("fuzz_*")
SECONDS = int(os.environ.get("RINGPASS_FUZZ_SECONDS", "6"))


@pytest.fixture(scope="module")
def replayers() -> dict[str, Path]:
    """Return programs that run the inputs they are given: stem -> path."""
    return SANITIZED.programs(FUZZERS)


@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_known_inputs_do_no_harm(replayers: dict[str, Path], fuzzer: str) -> None:
    inputs = sorted((CORPUS / fuzzer).iterdir())
    assert inputs
    run([replayers[fuzzer], *inputs], timeout=60)


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    """Return the fuzzers: stem -> path."""
    return FUZZING.programs(FUZZERS)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_fuzzer_finds_nothing(programs: dict[str, Path], fuzzer: str, tmp_path: Path) -> None:
    grown = tmp_path / "corpus"  # what it finds worth keeping goes into the first directory
    grown.mkdir()
    run(
        [
            programs[fuzzer],
            f"-max_total_time={SECONDS}",
            "-timeout=10",  # an input that takes longer is an unbounded loop
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
            f"-artifact_prefix={tmp_path}/",
            grown,
            CORPUS / fuzzer,
        ],
        timeout=SECONDS + 60,
    )
