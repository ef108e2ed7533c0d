# SPDX-License-Identifier: BSD-2-Clause
"""The timed loop of two drivers: it delivers every frame in order, with every kind of virtqueue."""

from collections.abc import Iterator

import pytest

from ringpass.bench.machine import one_cpu
from ringpass.bench.vhost import FORMATS, SLOTS, path
from ringpass.dataplane.loops import VhostLoops
from ringpass.errors import RingpassError

FRAMES = 20_000


@pytest.fixture(params=FORMATS)
def loops(request: pytest.FixtureRequest) -> Iterator[VhostLoops]:
    with path(FORMATS[request.param].features) as made:
        yield made


def test_every_frame_arrives(loops: VhostLoops) -> None:
    for batch in (1, 7, 32, SLOTS):
        for size in (22, 60, 1500, 2048):
            done = loops.run(size=size, batch=batch, seconds=60, cpu=one_cpu(), frames=FRAMES)
            assert FRAMES <= done.frames < FRAMES + batch
            assert done.lost == 0


def test_a_run_ends_when_its_time_is_up(loops: VhostLoops) -> None:
    done = loops.run(size=60, batch=32, seconds=0.05, cpu=one_cpu())
    assert 0.05e9 <= done.ns < 5e9


@pytest.mark.parametrize("changed", [{"size": 21}, {"size": 2049}, {"batch": 0}, {"batch": 257}])
def test_what_the_virtqueues_cannot_do_is_refused(
    loops: VhostLoops, changed: dict[str, int]
) -> None:
    what = {"size": 60, "batch": 1, **changed}
    with pytest.raises(RingpassError, match="is not within"):
        loops.run(seconds=1, cpu=one_cpu(), **what)
