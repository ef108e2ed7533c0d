# SPDX-License-Identifier: BSD-2-Clause
"""What callgrind wrote becomes instructions of parts; tests/perf/test_instructions.py counts."""

import pytest

from ringpass.bench.instructions import BATCHES, BOUNDS, PARTS, Part, costs, count
from ringpass.errors import RingpassError

#: `switch` calls `pull`, which calls `copy` twice; one line of `switch` is from a header.
DUMP = """\
# callgrind format
positions: line
events: Ir
summary: 100

fl=switch.c
fn=switch
10 7
cfi=ring.c
cfn=pull
calls=3 20
11 60
fi=switch.h
12 3
fe=switch.c

fl=ring.c
fn=pull
20 15
cfn=copy
calls=1 30
21 25
calls=1 30
22 20

fl=copy.c
fn=copy
30 45

totals: 100
"""


def test_a_function_costs_what_its_lines_and_its_calls_cost() -> None:
    assert costs(DUMP) == {"switch": 70, "pull": 60, "copy": 45}


def test_a_part_is_without_what_belongs_to_others() -> None:
    part = Part("switch", "netmap", ["switch"], ["pull"])
    assert part.of(costs(DUMP)) == 10


def test_every_part_has_a_bound_for_every_batch() -> None:
    assert {part.name for part in PARTS} == BOUNDS.keys()
    assert {len(bounds) for bounds in BOUNDS.values()} == {len(BATCHES)}


def test_without_valgrind_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(RingpassError, match="apt install valgrind"):
        count()
