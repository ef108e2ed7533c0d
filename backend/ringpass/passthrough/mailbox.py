# SPDX-License-Identifier: BSD-2-Clause
"""A guest's mailbox: requests come in its record, and a doorbell says so.

A guest that asks, or rings, more often than a driver would, or for what takes long, is slowed down:
others have their turn.
"""

import asyncio
import os
import time
from collections.abc import Callable

from ringpass.dataplane import DataPlane, GuestRequest, RegionId
from ringpass.errors import RingpassError
from ringpass.netmap.session import refused
from ringpass.passthrough.pairs import drain

#: Doorbells that are answered at once, and how many a second after that.
BURST = 256
RATE = 256
#: Of the event loop's time that one guest may have.
SHARE = 0.1
#: Seconds that a guest waits for what one request took, at most. Its driver has more patience.
MAX_DEBT_S = 5.0


class Mailbox:
    """Requests from the record `record` of a region. It lives in an event loop.

    `answer` does a request; `on_nonsense` is told of what is none.
    """

    def __init__(
        self,
        plane: DataPlane,
        region: RegionId,
        record: int,
        answered: int,
        answer: Callable[[GuestRequest], bytes],
        on_nonsense: Callable[[RingpassError], None],
    ) -> None:
        self.answered = answered
        """The number of the last request that has its answer."""
        self._plane = plane
        self._region = region
        self._record = record
        self._answer = answer
        self._on_nonsense = on_nonsense
        self._pace = Pace(BURST, RATE, SHARE)
        self._timer: asyncio.TimerHandle | None = None
        self._doorbell = -1
        self._bell = -1

    def open(self, doorbell: int, vector: int) -> None:
        """Serve the requests that `doorbell` announces; answers are announced by `vector`."""
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._relay = self._plane.add_relay(self._bell, vector)
        except RingpassError:
            os.close(self._bell)
            raise
        self._doorbell = doorbell
        asyncio.get_running_loop().add_reader(doorbell, self._rung)

    def close(self) -> None:
        """Answer no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        asyncio.get_running_loop().remove_reader(self._doorbell)
        self._plane.remove_relay(self._relay)
        os.close(self._bell)

    def look(self) -> None:
        """Answer a request whose doorbell may have been heard before we came."""
        self._serve()

    def ring(self) -> None:
        """Tell the guest that its record has something new."""
        os.eventfd_write(self._bell, 1)

    def _rung(self) -> None:
        drain(self._doorbell)
        if pause := self._pace.wait(time.monotonic()):
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._doorbell)
            self._timer = loop.call_later(pause, self._resume)
        else:
            self._serve()

    def _resume(self) -> None:
        self._timer = None
        asyncio.get_running_loop().add_reader(self._doorbell, self._rung)
        self._serve()

    def _serve(self) -> None:
        """Answer the request that is there, if one is. It is paid for by those to come."""
        began = time.monotonic()
        self._answer_one()
        self._pace.charge(time.monotonic() - began)

    def _answer_one(self) -> None:
        request = self._plane.take_request(self._region, self._record, self.answered)
        if request is None:
            return
        if request.nonsense is None:
            answer = self._answer(request)
        else:
            self._on_nonsense(request.nonsense)
            answer = refused(request.nonsense).data
        self._plane.answer_request(self._region, self._record, request.sent, answer)
        self.answered = request.sent
        self.ring()


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
        if now > self._at:
            self._left = min(self._left + (now - self._at) * self._rate, self._burst)
            self._at = now
        self._left -= 1
        return max(-self._left, 0) / self._rate

    def charge(self, seconds: float) -> None:
        """Note how long the last one took."""
        self._left -= min(seconds / self._share, MAX_DEBT_S) * self._rate
