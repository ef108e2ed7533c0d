# SPDX-License-Identifier: BSD-2-Clause
"""A guest's mailbox: requests come in its record, and a doorbell says so."""

import asyncio
import os
from collections.abc import Callable

from ringpass.dataplane import DataPlane, GuestRequest, RegionId
from ringpass.errors import RingpassError
from ringpass.netmap.session import refused
from ringpass.passthrough.account import Account, Claim
from ringpass.passthrough.pairs import drain


class Mailbox:
    """Requests from the record `record` of a region. It lives in an event loop.

    `answer` does a request and returns the answer; None: it did a part, and is to be called again.
    `on_nonsense` is told of what is none. `account` is who pays.
    """

    def __init__(
        self,
        plane: DataPlane,
        region: RegionId,
        record: int,
        answered: int,
        account: Account,
        answer: Callable[[GuestRequest], bytes | None],
        on_nonsense: Callable[[RingpassError], None],
    ) -> None:
        self.answered = answered
        """The number of the last request that has its answer."""
        self._plane = plane
        self._region = region
        self._record = record
        self._answer = answer
        self._on_nonsense = on_nonsense
        self._claim = Claim(account, self._serve)
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
        self._listen()

    def close(self) -> None:
        """Answer no more."""
        self._claim.withdraw()
        asyncio.get_running_loop().remove_reader(self._doorbell)
        self._plane.remove_relay(self._relay)
        os.close(self._bell)

    def look(self) -> None:
        """Answer a request whose doorbell may have been heard before we came."""
        self._claim.wait()

    def ring(self) -> None:
        """Tell the guest that its record has something new."""
        os.eventfd_write(self._bell, 1)

    def _listen(self) -> None:
        asyncio.get_running_loop().add_reader(self._doorbell, self._rung)

    def _rung(self) -> None:
        """Hear no more until it was served: a doorbell may ring all the time."""
        drain(self._doorbell)
        asyncio.get_running_loop().remove_reader(self._doorbell)
        self._claim.wait()

    def _serve(self) -> bool:
        """Answer the request that is there, if one is; return whether there is more of it."""
        self._listen()
        # Read anew, and checked, for each part: it may be another one meanwhile.
        request = self._plane.take_request(self._region, self._record, self.answered)
        if request is None:
            return False
        if request.nonsense is None:
            answer = self._answer(request)
        else:
            self._on_nonsense(request.nonsense)
            answer = refused(request.nonsense).data
        if answer is None:
            return True
        self._plane.answer_request(self._region, self._record, request.sent, answer)
        self.answered = request.sent
        self.ring()
        return False
