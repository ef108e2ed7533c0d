# SPDX-License-Identifier: BSD-2-Clause
"""`bench passthrough`: its front ends lose nothing, and are called when they sleep."""

import json
import os

import pytest

from ringpass.bench.passthrough import SIZES, TRIPS, Trip, path
from ringpass.dataplane import Policy
from ringpass.dataplane.frontends import Between, ping_pong
from ringpass.errors import RingpassError
from tests.unit.test_bench_cli import ringpass

CPUS = (min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0)))


@pytest.mark.parametrize("batch", [1, 256])
@pytest.mark.parametrize("between", [Between.STEPS, Between.PIPE])
def test_one_thread_can_be_both_front_ends(between: Between, batch: int) -> None:
    with path(between) as ours:
        for _ in range(2):  # the second finds the rings as the first has left them
            sent = ours.ends.flood_one(size=60, batch=batch, seconds=0.002, cpu=CPUS[0])
            assert (sent.lost, sent.kicks, sent.calls) == (0, 0, 0)
            assert sent.frames > 0


@pytest.mark.parametrize("batch", [1, 256])
@pytest.mark.parametrize("between", [Between.WORKER, Between.PIPE, Between.RELAYED])
def test_front_ends_that_sleep_are_called(between: Between, batch: int) -> None:
    with path(between) as ours:
        for policy in (Policy.NOTIFY, Policy.ADAPTIVE):
            with ours.policy(policy, None):
                sent = ours.ends.flood_two(size=60, batch=batch, seconds=0.005, cpus=CPUS)
            assert sent.lost == 0
            # For a frame, and for room where it was; the last two: the run is over.
            assert 0 < sent.calls <= 2 * sent.frames + 2


@pytest.mark.parametrize("trip", TRIPS, ids=lambda trip: trip.name)
def test_a_frame_comes_back(trip: Trip) -> None:
    with path(trip.between) as ours, ours.policy(Policy.NOTIFY, None):
        for _ in range(2):
            took = ours.ends.round_trip(
                sleep=trip.sleep, through=trip.through, size=60, seconds=0.002, cpus=CPUS
            )
            assert took > 0


@pytest.mark.parametrize("lines", [0, 1, 2])
def test_what_is_told_beside_the_cursor_comes_with_it(lines: int) -> None:
    assert ping_pong(seconds=0.002, cpus=CPUS, lines=lines) > 0


def test_more_lines_than_a_frame_needs_are_refused() -> None:
    with pytest.raises(RingpassError, match="3 cache lines"):
        ping_pong(seconds=0.002, cpus=CPUS, lines=3)


@pytest.mark.parametrize("changed", [{"size": 21}, {"size": 2049}, {"batch": 0}, {"batch": 513}])
def test_what_the_rings_cannot_do_is_refused(changed: dict[str, int]) -> None:
    with path(Between.STEPS) as ours, pytest.raises(RingpassError, match="do not fit"):
        ours.ends.flood_one(**{"size": 60, "batch": 1, **changed}, seconds=0.001, cpu=CPUS[0])


def test_the_bench_yields_every_case() -> None:
    done = ringpass("bench", "passthrough", "--runs", "1", "--seconds", "0.002", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [(row["cores"], row["size"], row["case"]) for row in rows] == [
        *(
            (cores, size, f"{k}/flood")
            for cores in (1, 2)
            for k in ("vale", "pipe")
            for size in SIZES
        ),
        *((2, 60, trip.name) for trip in TRIPS),
        (1, 0, "vale/idle"),
    ]
    assert [row["case"] for row in rows if row["ref2_ns"]] == ["vale/rtt-spin", "pipe/rtt-spin"]
    for row in rows:
        assert (row["kicks"] is not None) == (row["cores"] == 2 and row["metric"] == "flood")
