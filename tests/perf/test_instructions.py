# SPDX-License-Identifier: BSD-2-Clause
"""How many instructions a frame takes, part by part: the hot path must not grow unseen.

`ringpass bench instructions` counts and has the bounds; who makes a part cheaper lowers its bound.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ringpass.bench.instructions import BATCHES, PARTS, case_name

pytestmark = pytest.mark.slow

RINGPASS = str(Path(sys.executable).with_name("ringpass"))


@pytest.fixture(scope="module")
def rows() -> dict[str, Any]:
    command = [RINGPASS, "bench", "instructions", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return {row["case"]: row for row in json.loads(done.stdout)["rows"]}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("part", [part.name for part in PARTS])
def test_a_frame_takes_no_more_instructions_than_its_bound(
    part: str, batch: int, rows: dict[str, Any]
) -> None:
    row = rows[case_name(part, batch)]
    assert row["ns"] > 0
    assert row["met"], f"{row['ns']} instructions, bound {row['ref_ns']}"
