# SPDX-License-Identifier: BSD-2-Clause
"""Rates are what two looks differ by: also when rings, workers and daemons come and go."""

import pytest

from ringpass.observe.counters import Life, RingCounters, WorkerCounters
from ringpass.observe.health import Health, Thread
from ringpass.observe.rates import Amounts, Look, rates
from ringpass.observe.watch import History

S = 10**9


def ring(
    port: str, frames: int = 0, *, tx: bool = True, broken: str = "", **drops: int
) -> RingCounters:
    return RingCounters(
        port, tx, 0, broken, frames, 60 * frames, frames // 4, 1, 2, 0, 0, 0, 0, 5, 0, drops
    )


def look(
    at_s: float,
    *rings: RingCounters,
    started: float = 0,
    worker: WorkerCounters | None = None,
    thread: Thread | None = None,
) -> Look:
    life = Life(7, 0, int(started * S), 0)
    workers = () if worker is None else ((worker, thread),)
    return Look(1000 + at_s, int(at_s * S), Health("running"), life, rings, workers)


def test_the_first_look_has_numbers_but_no_rates() -> None:
    shown = rates(None, look(5, ring("a", 100)))
    assert shown.interval_s is None
    assert shown.ports[0].tx is None
    assert shown.ports[0].tx_totals.frames == 100


def test_rates_are_by_the_time_that_passed() -> None:
    shown = rates(look(1, ring("a", 100, full=2)), look(3, ring("a", 500, full=8, mtu=1)))
    (port,) = shown.ports
    assert shown.interval_s == 2
    assert port.tx == Amounts(frames=200, bytes=12000, batches=50, drops={"full": 3.0, "mtu": 0.5})
    assert port.tx.dropped == 3.5
    assert port.rx == Amounts()


def test_reasons_that_did_not_come_up_meanwhile_are_left_out() -> None:
    shown = rates(look(1, ring("a", full=8)), look(2, ring("a", full=8)))
    assert shown.ports[0].tx == Amounts()
    assert shown.ports[0].tx_totals.drops == {"full": 8}


def test_a_port_that_is_new_or_made_anew_counts_from_nothing() -> None:
    shown = rates(look(1, ring("a", 100)), look(2, ring("a", 40), ring("b", 30)))
    assert {port.port: port.tx and port.tx.frames for port in shown.ports} == {"a": 40, "b": 30}


def test_a_port_that_went_is_shown_no_more() -> None:
    assert rates(look(1, ring("a", 100)), look(2)).ports == []


def test_a_restarted_daemon_counts_from_its_start() -> None:
    shown = rates(look(1, ring("a", 100)), look(5, ring("a", 200), started=3))
    assert shown.interval_s == 2
    assert shown.ports[0].tx is not None
    assert shown.ports[0].tx.frames == 100


def test_broken_ports_come_first_then_the_busiest() -> None:
    before = look(1, *(ring(name) for name in "abcd"))
    after = look(2, ring("a", 1), ring("b", 5), ring("c", 0, broken="noise"), ring("d", full=9))
    shown = rates(before, after).ports
    assert [port.port for port in shown] == ["c", "d", "b", "a"]
    assert [port.broken for port in shown] == ["noise", "", "", ""]


def worker(loops: int, busy: int = 0, sleeps: int = 0, tid: int = 70) -> WorkerCounters:
    return WorkerCounters(0, 0, -1, tid, loops, busy, sleeps, 0)


def thread(state: str, cpu_ns: int = 0) -> Thread:
    return Thread(state, cpu_ns, 0)


@pytest.mark.parametrize(
    ("now", "state", "doing"),
    [
        (worker(200, 60), "R", "works"),
        (worker(200, 50), "R", "spins"),
        (worker(101, 50, 1), "S", "sleeps"),
        (worker(100, 50), "S", "sleeps"),
        (worker(100, 50), "R", "stuck"),
        (worker(100, 50), "D", "stuck"),
        (worker(100, 50), "T", "stopped"),
        (worker(5, tid=71), "R", ""),
    ],
)
def test_what_a_worker_does_is_told_by_its_loops_and_its_thread(
    now: WorkerCounters, state: str, doing: str
) -> None:
    before = look(1, worker=worker(100, 50), thread=thread("S"))
    (found,) = rates(before, look(2, worker=now, thread=thread(state))).workers
    assert found.doing == doing


def test_the_share_of_a_core_is_told_where_it_is_known() -> None:
    before = look(1, worker=worker(100), thread=thread("R", 5 * S))
    after = look(3, worker=worker(300), thread=thread("R", 6 * S))
    (found,) = rates(before, after).workers
    assert (found.cpu, found.loops) == (0.5, 100)
    (found,) = rates(before, look(3, worker=worker(300))).workers
    assert found.cpu is None


def history(*frames: int, records: int = 100) -> History:
    history = History(records)
    for at, number in enumerate(frames):
        history.add(look(at, ring("a", number)))
    return history


def frames(history: History) -> float | None:
    tx = history.shown().ports[0].tx
    return None if tx is None else tx.frames


def test_history_follows_until_it_is_held() -> None:
    seen = history(0, 1, 11)
    assert (frames(seen), seen.held, seen.age()) == (10, False, 0)
    seen.hold()
    seen.add(look(3, ring("a", 111)))
    assert (frames(seen), seen.held, seen.age()) == (10, True, 1)
    seen.hold()
    assert (frames(seen), seen.held) == (100, False)


def test_history_goes_back_and_forth() -> None:
    seen = history(0, 1, 11, 111)
    seen.move(-1)
    assert (frames(seen), seen.held, seen.age()) == (10, True, 1)
    seen.move(-5)
    assert (frames(seen), seen.age()) == (1, 2)
    seen.move(1)
    assert frames(seen) == 10
    seen.move(1)
    assert (frames(seen), seen.held) == (100, False)


def test_history_forgets_its_beginning() -> None:
    seen = history(0, 1, 11, 111, records=6)
    seen.move(-3)
    seen.hold()
    seen.move(-3)
    assert frames(seen) == 10
    for at in range(10):
        seen.add(look(10 + at, ring("a", 1111)))
    assert frames(seen) is None
