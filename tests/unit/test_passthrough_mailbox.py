# SPDX-License-Identifier: BSD-2-Clause
"""A mailbox in an event loop, beside a data plane that a test plays."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import cast

import pytest

from ringpass.dataplane import DataPlane, GuestRequest, RegionId
from ringpass.errors import RingpassError
from ringpass.passthrough import mailbox
from ringpass.passthrough.mailbox import Mailbox
from tests.support.netmap import parse


class Plane:
    """A record: the request that is in it, and the answers that it got."""

    def __init__(self) -> None:
        self.request: GuestRequest | None = None
        self.answers: list[tuple[int, bytes]] = []

    def take_request(self, _region: int, _record: int, answered: int) -> GuestRequest | None:
        """Return the request that has no answer yet."""
        new = self.request is not None and self.request.sent != answered
        return self.request if new else None

    def answer_request(self, _region: int, _record: int, sent: int, answer: bytes) -> None:
        """Note an answer."""
        self.answers.append((sent, answer))

    def add_relay(self, _from: int, _to: int) -> int:
        """Pass nothing on."""
        return 0

    def remove_relay(self, _relay: int) -> None:
        """Do nothing."""


def served(
    trial: Callable[[Plane, Callable[[GuestRequest], Awaitable[None]]], Awaitable[None]],
    answer: Callable[[GuestRequest], bytes],
) -> list[RingpassError]:
    """Run a trial with a mailbox; its second argument sends a request. Return the nonsense."""
    nonsense: list[RingpassError] = []

    async def run() -> None:
        plane, doorbell = Plane(), os.eventfd(0, os.EFD_NONBLOCK)
        box = Mailbox(cast(DataPlane, plane), RegionId(0), 0, 0, answer, nonsense.append)
        box.open(doorbell, -1)

        async def send(request: GuestRequest) -> None:
            plane.request = request
            os.eventfd_write(doorbell, 1)
            for _ in range(5):
                await asyncio.sleep(0)

        try:
            await trial(plane, send)
        finally:
            box.close()
            os.close(doorbell)

    asyncio.run(run())
    return nonsense


def test_a_request_that_took_long_delays_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0

    def slow(request: GuestRequest) -> bytes:
        nonlocal now
        now += 0.5 if request.op else 0.0
        return b"done"

    async def trial(plane: Plane, send: Callable[[GuestRequest], Awaitable[None]]) -> None:
        await send(GuestRequest(1, 0, 0, 0, b""))
        await send(GuestRequest(2, 1, 0, 0, b""))
        assert [sent for sent, _ in plane.answers] == [1, 2]
        await send(GuestRequest(3, 0, 0, 0, b""))
        assert [sent for sent, _ in plane.answers] == [1, 2], "others have their turn"

    monkeypatch.setattr(mailbox, "time", SimpleNamespace(monotonic=lambda: now))
    assert served(trial, slow) == []


def test_nonsense_is_answered_once() -> None:
    bad = RingpassError("cannot take a request", "it has 4000 bytes", errno=errno.EPROTO)

    async def trial(plane: Plane, send: Callable[[GuestRequest], Awaitable[None]]) -> None:
        for _ in range(3):
            await send(GuestRequest(7, 2, 0, 0, b"", bad))
        ((sent, answer),) = plane.answers
        assert (sent, parse(answer).error) == (7, errno.EPROTO)

    assert served(trial, lambda _: pytest.fail("it was done")) == [bad]
