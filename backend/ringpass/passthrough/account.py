# SPDX-License-Identifier: BSD-2-Clause
"""Whose turn it is: guests, and what they cost the event loop that all of them share.

Of all that guests ask for, the loop does one thing in each of its turns. Between two of them it
does what others wait for, the control socket above all: how long that takes to answer depends on
what one request costs, and not on how many guests there are. One that asks, or rings, more often
than a driver would, or for what takes long, is slowed down besides.

    doorbell -> Claim -> Pace of its Account: now, or later -> Turns -> served, and charged for
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ringpass.history import History

#: Requests that are done at once, and how many a second after that.
BURST = 256
RATE = 256
#: Of the event loop's time that one guest may have.
SHARE = 0.1
#: Seconds that a guest waits for what it has cost, at most. Its driver has more patience.
MAX_DEBT_S = 5.0


class Pace:
    """Lets so many pass at once, and `rate` a second on the average.

    What takes time counts as many: all of them together get `share` of it in the long run.
    """

    def __init__(self, burst: int, rate: float, share: float) -> None:
        self._burst = burst
        self._rate = rate
        self._share = share
        self._left = float(burst)
        self._at = 0.0

    def wait(self, now: float) -> float:
        """Return for how many seconds the next one has to wait; 0: it passes."""
        self._spend(now, 1)
        return self.debt(now)

    def debt(self, now: float) -> float:
        """Return for how many seconds nothing should come."""
        return max(-self._saved(now), 0) / self._rate

    def charge(self, now: float, seconds: float) -> None:
        """Note how long the last one took."""
        self._spend(now, seconds / self._share * self._rate)
        self._left = max(self._left, -MAX_DEBT_S * self._rate)

    def _spend(self, now: float, count: float) -> None:
        self._left = self._saved(now) - count
        self._at = max(now, self._at)

    def _saved(self, now: float) -> float:
        return min(self._left + max(now - self._at, 0) * self._rate, self._burst)


class Turns:
    """Those who wait to be served, in the order in which they came. It lives in an event loop."""

    def __init__(self) -> None:
        self._waiting: dict[Callable[[], None], None] = {}
        self._coming = False

    def wait(self, serve: Callable[[], None]) -> None:
        """Let `serve` be called in its turn: once, however often it waits until then."""
        self._waiting.setdefault(serve)
        self._come()

    def leave(self, serve: Callable[[], None]) -> None:
        """Let `serve` wait no more."""
        self._waiting.pop(serve, None)

    def _come(self) -> None:
        if self._waiting and not self._coming:
            asyncio.get_running_loop().call_soon(self._next)
            self._coming = True

    def _next(self) -> None:
        """Serve the first; the second when the loop has looked after everybody else."""
        self._coming = False
        if self._waiting:
            serve = next(iter(self._waiting))
            del self._waiting[serve]
            self._come()
            serve()


class Account:
    """What one guest has cost; it outlives the QEMU that the guest runs in."""

    def __init__(self, turns: Turns, history: History) -> None:
        self.turns = turns
        self._history = history
        self._pace = Pace(BURST, RATE, SHARE)

    def wait(self) -> float:
        """Return for how many seconds one more request has to wait; count it if it has to."""
        pause = self._pace.wait(time.monotonic())
        if pause:
            self._history.delays += 1
            self._history.delayed_s += pause
        return pause

    @property
    def debt(self) -> float:
        """For how many seconds it should not come again."""
        return self._pace.debt(time.monotonic())

    @contextmanager
    def charged(self) -> Iterator[None]:
        """What is done meanwhile is this guest's to pay for: the time of our thread on a CPU.

        That the machine is busy with others, and we wait for it, is not its fault.
        """
        began = time.thread_time()
        try:
            yield
        finally:
            self._pace.charge(time.monotonic(), time.thread_time() - began)


class Claim:
    """What wants to be served for an account, time and again.

    `serve` does a request, or a part of it, and returns whether there is more of it to do.
    """

    def __init__(self, account: Account, serve: Callable[[], bool]) -> None:
        self.account = account
        self._do = serve
        self._waits = False
        self._timer: asyncio.TimerHandle | None = None

    def wait(self) -> None:
        """Let it be served as soon as it is its turn. One that waits already waits on."""
        if self._waits:
            return
        self._waits = True
        if pause := self.account.wait():
            self._timer = asyncio.get_running_loop().call_later(pause, self._due)
        else:
            self.account.turns.wait(self._serve)

    def withdraw(self) -> None:
        """Let it be served no more."""
        self._waits = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.account.turns.leave(self._serve)

    def _due(self) -> None:
        self._timer = None
        self.account.turns.wait(self._serve)

    def _serve(self) -> None:
        self._waits = False
        with self.account.charged():
            more = self._do()
        if more:
            self._waits = True
            self.account.turns.wait(self._serve)
