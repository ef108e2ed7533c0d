# SPDX-License-Identifier: BSD-2-Clause
"""The benchmark of ringport: its bridges deliver what they are given, and it notices if not."""

from collections.abc import Callable

import pytest

from ringpass.bench.measure import Options
from ringpass.bench.ringport import BATCHES, CASES, SIZE, measure, path
from ringpass.dataplane.relay import Relay
from ringpass.errors import RingpassError


def test_all_cases_are_measured_beside_their_references() -> None:
    said: list[str] = []
    rows = measure(Options(runs=1, seconds=0.002), said.append)
    assert [row.case for row in rows] == [f"{case}/batch-{n}" for case in CASES for n in BATCHES]
    assert {row.ref for row in rows} == {"swap of bare slots", "a bridge in C"}
    assert [row.limit_ns for row in rows] == [None, None, 40, 25, None, None]
    assert all(row.cores == 1 and row.ns > 0 for row in rows)
    assert len(said) == len(rows)


def test_what_is_not_wanted_is_not_prepared() -> None:
    assert measure(Options(runs=1, seconds=1, sizes=[1500]), pytest.fail) == []


@pytest.mark.parametrize("how", ["c", "bridge", "filter"])
def test_bridges_deliver_all_frames_in_order(how: str) -> None:
    with path() as pipes:
        relay = Relay(*pipes.places, SIZE)
        steps: dict[str, Callable[[int], object]] = {
            "c": relay.step,
            "bridge": pipes.bridge,
            "filter": pipes.filter,
        }
        for frames in (1, 512, 300, 512, 512, 512, 512, 7):  # around the rings' end
            relay.feed(frames)
            steps[how](512)
            relay.take(frames)


def test_a_bridge_that_keeps_a_frame_is_noticed() -> None:
    with path() as pipes:
        relay = Relay(*pipes.places, SIZE)
        relay.feed(10)
        pipes.bridge(9)
        with pytest.raises(RingpassError, match="did not deliver what it was given"):
            relay.take(10)


def test_more_than_there_is_room_for_is_refused() -> None:
    with path() as pipes, pytest.raises(RingpassError, match="cannot be fed"):
        Relay(*pipes.places, SIZE).feed(2048)
