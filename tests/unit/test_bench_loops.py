# SPDX-License-Identifier: BSD-2-Clause
"""The timed loops: they deliver every frame in order, and notice when one is wrong."""

import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

import pytest

from ringpass.bench import processes
from ringpass.bench.senders import meeting
from ringpass.bench.switch import path
from ringpass.dataplane import DataPlane, FrontEndKind, Full, PortSpec, RegionInfo
from ringpass.dataplane.loops import Loop, Loops
from ringpass.errors import RingpassError

CPUS = sorted(os.sched_getaffinity(0))


@pytest.fixture
def loops() -> Iterator[Loops]:
    with path() as made:
        yield made


def run(loops: Loops, loop: Loop, **changed: int) -> int:
    """Run `loop` for 100 000 frames; return how many arrived."""
    what = {"size": 60, "batch": 256, "frames": 100_000, **changed}
    cpus = (CPUS[0], CPUS[-1])
    return loops.run(loop, seconds=60, cpus=cpus, **what).frames


@pytest.mark.parametrize("batch", [1, 32, 256, 511])
@pytest.mark.parametrize("size", [22, 60, 1500, 2048])
@pytest.mark.parametrize("loop", Loop)
def test_every_frame_arrives(loops: Loops, loop: Loop, size: int, batch: int) -> None:
    for _ in range(2):  # the second finds the rings as the first has left them
        arrived = run(loops, loop, size=size, batch=batch)
        assert arrived % batch == 0
        assert 100_000 <= arrived < 100_000 + batch


def test_loops_take_turns_on_the_same_rings(loops: Loops) -> None:
    for _ in range(3):
        for loop in Loop:
            assert run(loops, loop) >= 100_000


@pytest.mark.parametrize("full", Full)
def test_any_number_of_senders_lose_nothing_that_is_not_counted(full: Full) -> None:
    # Each run checks every frame, and each sender's order; see Meeting.run().
    with meeting(full, (-1, -1)) as ports:
        for senders in (1, 3, 8):
            assert ports.run(senders, 60, 0.005) > 0
        assert full is Full.DROP or ports.lost == 0


@pytest.mark.parametrize("batch", [1, 256, 512])
def test_every_frame_reaches_the_other_process(batch: int) -> None:
    with processes.path(CPUS[-1]) as made:
        for _ in range(2):
            done = made.run(size=60, batch=batch, seconds=60, cpu=CPUS[0], frames=20 * batch)
            assert (done.frames, done.lost) == (20 * batch, 0)


@pytest.mark.parametrize("changed", [{"size": 21}, {"size": 2049}, {"batch": 0}, {"batch": 513}])
def test_what_processes_rings_cannot_do_is_refused(changed: dict[str, int]) -> None:
    with processes.path(CPUS[-1]) as made, pytest.raises(RingpassError, match="do not fit"):
        made.run(**{"size": 60, "batch": 256, **changed}, seconds=1, cpu=CPUS[0])


def test_a_run_ends_when_its_time_is_up(loops: Loops) -> None:
    for loop in Loop:
        done = loops.run(loop, size=60, batch=256, seconds=0.05, cpus=(CPUS[0], CPUS[-1]))
        assert 0.05e9 <= done.ns < 5e9
        assert done.lost == 0


@pytest.mark.parametrize("changed", [{"size": 21}, {"size": 2049}, {"batch": 0}, {"batch": 512}])
def test_what_the_rings_cannot_do_is_refused(loops: Loops, changed: dict[str, int]) -> None:
    for loop in Loop:
        with pytest.raises(RingpassError, match="is not within"):
            run(loops, loop, **changed)


def test_a_cpu_that_does_not_exist_is_refused(loops: Loops) -> None:
    with pytest.raises(RingpassError, match="CPU 4095"):
        loops.run(Loop.PORT_TWO, size=60, batch=1, seconds=1, cpus=(CPUS[0], 4095))


def test_a_frame_that_changes_on_its_way_is_noticed() -> None:
    with TemporaryFile() as counters, DataPlane(counters.fileno()) as dataplane:
        switch = dataplane.add_switch("vale0")
        sender, receiver = (
            dataplane.add_port(
                PortSpec(f"vale0:{name}", front_end=FrontEndKind.RINGS, switch=switch)
            )
            for name in "ab"
        )
        with (
            Loops(dataplane, sender, receiver) as loops,
            spoiled(dataplane.port_region(receiver)),
            pytest.raises(RingpassError, match="wrong frames"),
        ):
            loops.run(Loop.PORT_ONE, size=60, batch=256, seconds=1, cpus=(CPUS[0], CPUS[-1]))


@contextmanager
def spoiled(region: RegionInfo) -> Iterator[None]:
    """Keep changing the source address in all buffers, as no peer could."""
    stop = threading.Event()
    addresses = range(region.bufs_offset + 6, region.bytes, region.buf_bytes)

    def spoil() -> None:
        with mmap.mmap(region.fd, region.bytes) as memory:
            while not stop.is_set():
                for at in addresses:
                    memory[at] ^= 1

    thread = threading.Thread(target=spoil)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
