# SPDX-License-Identifier: BSD-2-Clause
"""The notification protocol in all its interleavings: nobody sleeps who has something to do.

spin checks models of the two kinds of ring, on memory as x86 has it. That each fence and each
recheck is needed is shown by taking it out; a fence, moreover, is missed only on such memory.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
#: A small ring, enough frames to go around it twice, and stores that may wait for a while.
SIZES = ("-DSLOTS=3", "-DFRAMES=7", "-DDEPTH=3")
PATIENCE_S = 60

TX_RING, PIPE, RX_RING = ("tx_ring.pml",), ("rx_ring.pml",), ("rx_ring.pml", "-DWORKER")

FENCES = (
    "NO_FENCE_IN_SENDER_PUBLISH",
    "NO_FENCE_IN_SENDER_ARM",
    "NO_FENCE_IN_RECEIVER_PUBLISH",
    "NO_FENCE_IN_RECEIVER_ARM",
)
RECHECKS = ("NO_RECHECK_IN_SENDER", "NO_RECHECK_IN_RECEIVER")
#: A worker never sleeps for want of room, so nobody has to wake it.
WORKERS_NEEDS = ("NO_FENCE_IN_SENDER_PUBLISH", "NO_FENCE_IN_RECEIVER_ARM", "NO_RECHECK_IN_RECEIVER")

BROKEN = [
    *((model, without) for model in (TX_RING, PIPE) for without in FENCES + RECHECKS),
    *((RX_RING, without) for without in WORKERS_NEEDS),
]


def errors(directory: Path, model: tuple[str, ...], *defines: str) -> int:
    """Return how many of all interleavings of `model` go wrong; spin stops at the first one."""
    assert shutil.which("spin"), "spin is missing: make packages-test"
    for source in (model[0], "tso.pml"):
        shutil.copy(HERE / source, directory)
    _run(directory, "spin", *SIZES, *model[1:], *defines, "-a", model[0])
    _run(directory, "cc", "-DSAFETY", "-o", "pan", "pan.c")
    said = _run(directory, "./pan", "-m100000")
    assert "search depth too small" not in said
    found = re.search(r"errors: (\d+)", said)
    assert found, said
    return int(found.group(1))


def _run(directory: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("model", [TX_RING, PIPE, RX_RING], ids="-".join)
def test_no_wake_up_is_lost(model: tuple[str, ...], tmp_path: Path) -> None:
    assert errors(tmp_path, model) == 0


@pytest.mark.parametrize(("model", "without"), BROKEN)
def test_each_fence_and_each_recheck_is_needed(
    model: tuple[str, ...], without: str, tmp_path: Path
) -> None:
    assert errors(tmp_path, model, f"-D{without}") == 1


def test_a_kick_of_an_earlier_round_is_not_pending(tmp_path: Path) -> None:
    assert errors(tmp_path, TX_RING, "-DNO_FORGETTING_OF_KICKS") == 1


@pytest.mark.parametrize("model", [TX_RING, PIPE], ids="-".join)
def test_a_missing_fence_shows_only_with_store_buffers(
    model: tuple[str, ...], tmp_path: Path
) -> None:
    without_fences = [f"-D{fence}" for fence in FENCES]
    assert errors(tmp_path, model, *without_fences, "-DSEQUENTIAL") == 0
