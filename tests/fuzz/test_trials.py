# SPDX-License-Identifier: BSD-2-Clause
"""A guest that writes what it likes into its region, for a while, under the sanitizers.

RINGPASS_FUZZ_SECONDS says how long, as for the fuzzers; csrc/tests/test_trials.c what it does. An
hour finds what seconds don't: `RINGPASS_FUZZ_SECONDS=3600 pytest tests/fuzz -k trials`.
"""

import os

import pytest

from tests.support.cbuild import SANITIZED, run

SECONDS = int(os.environ.get("RINGPASS_FUZZ_SECONDS", "10"))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
def test_random_trials_harm_nobody() -> None:
    program = SANITIZED.programs(["test_trials"])["test_trials"]
    run([program], timeout=SECONDS + 120, environ={"RINGPASS_TRIAL_SECONDS": str(SECONDS)})
