# SPDX-License-Identifier: BSD-2-Clause
"""Who may run while others do, among processes that run tests in parallel."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


class Turnstile:
    """A room for any number of tests, or for one that is alone in it, in front of it a turnstile.

    Both are locks on files of `directory`, which the processes share. Whoever waits for the room
    stands in the turnstile: nobody enters meanwhile, so one who must be alone waits no longer
    than for those who are in.
    """

    def __init__(self, directory: Path) -> None:
        self._turnstile = directory / "turnstile.lock"
        self._room = directory / "room.lock"

    @contextlib.contextmanager
    def entered(self, *, alone: bool) -> Iterator[None]:
        """Be in the room, `alone` or with others who are not alone."""
        with self._room.open("a") as room:
            with self._turnstile.open("a") as turnstile:
                fcntl.flock(turnstile, fcntl.LOCK_EX)
                fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield
