# SPDX-License-Identifier: BSD-2-Clause
"""How many instructions a frame takes: the one figure that does not depend on the weather.

A frame of 60 bytes goes from ring to ring on one core: written, through txsync and rxsync, checked.
Budgets are a tenth above what was counted when they were set; who lowers a count lowers its budget.
"""

import re
import sys
from pathlib import Path

import pytest

from tests.support.cbuild import run

pytestmark = pytest.mark.slow

FRAMES = 50_000


@pytest.mark.parametrize(("batch", "budget"), [(1, 1265), (32, 275), (256, 247)])
def test_a_frame_takes_no_more_instructions_than_before(
    batch: int, budget: int, tmp_path: Path
) -> None:
    said = run(
        [
            *("valgrind", "--tool=callgrind", f"--callgrind-out-file={tmp_path / 'out'}"),
            "--toggle-collect=port_one",  # the loop, without Python and the start of the backend
            *(sys.executable, "-m", "ringpass.bench.switch", "--size", "60"),
            *("--batch", str(batch), "--frames", str(FRAMES)),
        ]
    )
    collected = re.search(r"Collected : (\d+)", said)
    frames = re.search(r"^(\d+) frames", said, re.MULTILINE)
    assert collected is not None
    assert frames is not None
    assert int(frames[1]) >= FRAMES
    instructions = int(collected[1]) / int(frames[1])
    assert 20 < instructions <= budget
