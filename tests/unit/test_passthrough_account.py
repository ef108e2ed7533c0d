# SPDX-License-Identifier: BSD-2-Clause
"""Whose turn it is among guests, and what they pay for what they cost."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from ringpass.history import History
from ringpass.passthrough import account
from ringpass.passthrough.account import BURST, MAX_DEBT_S, RATE, SHARE, Account, Claim, Pace, Turns


class Clock:
    """What the module takes the time from: no time passes but what a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.used = 0.0
        fake = SimpleNamespace(monotonic=lambda: self.now, thread_time=lambda: self.used)
        monkeypatch.setattr(account, "time", fake)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock that stands still."""
    return Clock(monkeypatch)


def in_a_loop(trial: Callable[[], Awaitable[None]]) -> None:
    """Run a trial in an event loop, with a limit."""
    asyncio.run(asyncio.wait_for(trial(), 30))


async def turns_of_the_loop(count: int) -> None:
    """Let the loop turn so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("clock")
def test_between_two_turns_of_the_loop_one_request_is_done() -> None:
    """However many guests flood their mailboxes, others have their turn after each request."""
    turns, done = Turns(), 0

    async def trial() -> None:
        claims: list[Claim] = []

        def serve(i: int) -> bool:
            nonlocal done
            done += 1
            asyncio.get_running_loop().call_soon(claims[i].wait)  # it asks again at once
            return i % 2 == 0

        for i in range(20):
            each = Claim(Account(turns, History()), lambda i=i: serve(i))  # type: ignore[misc]
            claims.append(each)
            each.wait()
        await turns_of_the_loop(5)
        for _ in range(100):
            before = done
            await turns_of_the_loop(1)
            assert done == before + 1

    in_a_loop(trial)


@pytest.mark.usefixtures("clock")
def test_guests_are_served_in_turn() -> None:
    """One that has much to do gets no more turns than one that has little."""
    turns, order = Turns(), []

    async def trial() -> None:
        def parts(name: str, count: int) -> Callable[[], bool]:
            def serve() -> bool:
                nonlocal count
                order.append(name)
                count -= 1
                return count > 0

            return serve

        for name, count in (("a", 4), ("b", 1), ("c", 2)):
            claim = Claim(Account(turns, History()), parts(name, count))
            claim.wait()
            claim.wait()  # waits already
        await turns_of_the_loop(20)

    in_a_loop(trial)
    assert "".join(order) == "abcacaa"


def test_who_cost_much_waits_and_that_is_counted(clock: Clock) -> None:
    history = History()
    paying = Account(Turns(), history)
    assert paying.wait() == 0
    with paying.charged():
        clock.used += 0.2
    pause = paying.wait()
    assert pause == pytest.approx(2.0 + 2 / RATE - BURST / RATE)
    assert (history.delays, history.delayed_s) == (1, pause)
    assert paying.debt == pytest.approx(pause)
    clock.now += pause
    assert paying.debt == 0
    assert paying.wait() == pytest.approx(1 / RATE), "it has paid, and saved nothing"


def test_to_wait_for_the_machine_costs_nothing(clock: Clock) -> None:
    paying = Account(Turns(), History())
    with paying.charged():
        clock.now += 100
    assert paying.wait() == 0


def test_a_claim_is_served_when_its_account_has_paid(clock: Clock) -> None:
    async def trial() -> None:
        loop, paying = asyncio.get_running_loop(), Account(Turns(), History())
        served = asyncio.Event()

        def serve() -> bool:
            served.set()
            return False

        claim = Claim(paying, serve)
        with paying.charged():
            clock.used += (BURST + 9) / RATE * SHARE
        pause, began = 10 / RATE, loop.time()
        claim.wait()
        await served.wait()
        assert loop.time() - began >= pause

    in_a_loop(trial)


def test_a_claim_that_is_withdrawn_is_not_served(clock: Clock) -> None:
    async def trial() -> None:
        for used in (0.0, (BURST + 1) / RATE * SHARE):
            paying = Account(Turns(), History())
            with paying.charged():
                clock.used += used
            claim = Claim(paying, lambda: pytest.fail("it was served"))
            claim.wait()
            claim.withdraw()
        await asyncio.sleep(3 / RATE)

    in_a_loop(trial)


def test_a_request_that_fails_is_paid_for_and_others_have_their_turn(clock: Clock) -> None:
    turns, done, crashes = Turns(), [], []

    async def trial() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: crashes.append(what))

        def crash() -> bool:
            clock.used += 1.0
            raise ValueError

        def serve() -> bool:
            done.append(1)
            return False

        failing = Account(turns, History())
        Claim(failing, crash).wait()
        Claim(Account(turns, History()), serve).wait()
        await turns_of_the_loop(5)
        assert failing.debt == MAX_DEBT_S

    in_a_loop(trial)
    assert done == [1]
    assert len(crashes) == 1


def test_the_pace_is_a_burst_and_a_rate() -> None:
    pace = Pace(4, 2.0, 0.1)
    assert [pace.wait(100.0) for _ in range(6)] == [0, 0, 0, 0, 0.5, 1.0]
    assert pace.wait(101.0) == 0.5
    assert pace.debt(101.0) == 0.5
    assert pace.wait(200.0) == 0
    assert pace.debt(200.0) == 0


def test_who_asks_for_what_takes_long_waits_longer() -> None:
    pace = Pace(4, 2.0, 0.1)
    assert pace.wait(100.0) == 0
    pace.charge(100.0, 0.25)
    assert pace.wait(100.0) == 1.5, "2.5 s, of which 1.5 s were saved and 0.5 s are this one's"
    pace = Pace(4, 2.0, 0.1)
    assert pace.wait(100.0) == 0
    for _ in range(3):
        pace.charge(100.0, 1000.0)
    assert pace.wait(100.0) == MAX_DEBT_S + 0.5, "no driver loses its patience"
