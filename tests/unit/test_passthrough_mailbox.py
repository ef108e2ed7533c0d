# SPDX-License-Identifier: BSD-2-Clause
"""A mailbox in an event loop, beside a data plane that a test plays."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from ringpass.dataplane import DataPlane, GuestRequest, RegionId
from ringpass.errors import RingpassError
from ringpass.history import History
from ringpass.passthrough.account import Account, Turns
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
    answer: Callable[[GuestRequest], bytes | None],
) -> list[RingpassError]:
    """Run a trial with a mailbox; its second argument sends a request. Return the nonsense."""
    nonsense: list[RingpassError] = []

    async def run() -> None:
        plane, doorbell = Plane(), os.eventfd(0, os.EFD_NONBLOCK)
        account = Account(Turns(), History())
        box = Mailbox(cast(DataPlane, plane), RegionId(0), 0, 0, account, answer, nonsense.append)
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


def test_a_request_is_done_in_parts() -> None:
    parts: list[int] = []

    def in_three(request: GuestRequest) -> bytes | None:
        parts.append(request.sent)
        return b"done" if len(parts) == 3 else None

    async def trial(plane: Plane, send: Callable[[GuestRequest], Awaitable[None]]) -> None:
        await send(GuestRequest(1, 1, 0, 0, b""))
        assert plane.answers == [(1, b"done")]

    assert served(trial, in_three) == []
    assert parts == [1, 1, 1]


def test_a_request_may_be_another_one_before_it_is_done() -> None:
    seen: list[int] = []

    def answer(request: GuestRequest) -> bytes | None:
        seen.append(request.op)
        return b"done" if request.op == 2 else None

    async def trial(plane: Plane, send: Callable[[GuestRequest], Awaitable[None]]) -> None:
        await send(GuestRequest(1, 1, 0, 0, b""))
        assert plane.answers == []
        await send(GuestRequest(7, 2, 0, 0, b""))
        assert plane.answers == [(7, b"done")]

    assert served(trial, answer) == []
    assert set(seen) == {1, 2}


def test_nonsense_is_answered_once() -> None:
    bad = RingpassError("cannot take a request", "it has 4000 bytes", errno=errno.EPROTO)

    async def trial(plane: Plane, send: Callable[[GuestRequest], Awaitable[None]]) -> None:
        for _ in range(3):
            await send(GuestRequest(7, 2, 0, 0, b"", bad))
        ((sent, answer),) = plane.answers
        assert (sent, parse(answer).error) == (7, errno.EPROTO)

    assert served(trial, lambda _: pytest.fail("it was done")) == [bad]
