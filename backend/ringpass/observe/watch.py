# SPDX-License-Identifier: BSD-2-Clause
"""Looks at a daemon, one after the other, and what is kept of them."""

import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from ringpass.errors import DaemonUnreachable, RingpassError
from ringpass.observe.counters import Counters, Life
from ringpass.observe.health import Health, examine, thread
from ringpass.observe.rates import Look, Rates, rates

_ABSENT = Health("absent", "no daemon runs there; ringpass up FILE.toml starts one")

#: Seconds in which a daemon that begins has long finished the head of its counters file.
_BEGINNING_S = 2.0


class Watch:
    """Looks at whatever daemon has its counters at `path`. Use it as a context manager.

    Daemons come and go: each has a counters file of its own.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counters: Counters | None = None
        self._file: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def look(self) -> Look:
        """Return what there is to be seen now; of no daemon, if there is none.

        Raises RingpassError if what is there cannot be read, or is something else.
        """
        self._follow()
        at, at_ns = time.time(), time.monotonic_ns()
        if self._counters is None:
            return Look(at, at_ns, _ABSENT, Life(0, 0, 0, 0), (), ())
        life = self._counters.life()
        workers = tuple((row, thread(life.pid, row.tid)) for row in self._counters.workers())
        return Look(at, at_ns, examine(life), life, tuple(self._counters.rings()), workers)

    def _follow(self) -> None:
        """Read the file that is there now."""
        try:
            found = self._path.stat()
            file = found.st_dev, found.st_ino
        except FileNotFoundError:
            self._close()
            return
        if file != self._file:
            self._close()
            try:
                self._counters = Counters(self._path)
            except DaemonUnreachable:
                return  # it went meanwhile
            except RingpassError:
                if time.time() - found.st_mtime < _BEGINNING_S:
                    return
                raise
            self._file = file

    def _close(self) -> None:
        if self._counters is not None:
            self._counters.close()
        self._counters = self._file = None


class History:
    """The last looks, as many as fit `records` of rings, and a place among them.

    The place is the last look, and moves with it, until it is held.
    """

    def __init__(self, records: int = 200_000) -> None:
        self._room = records
        self._looks: deque[Look] = deque()
        self._gone = 0
        self._held: int | None = None

    @property
    def held(self) -> bool:
        """Whether the place stays as looks are added."""
        return self._held is not None

    def add(self, look: Look) -> None:
        """Take a look in; the oldest ones go if there is no room."""
        self._looks.append(look)
        self._room -= len(look.rings) + 1
        while self._room < 0 and len(self._looks) > 2:
            self._room += len(self._looks.popleft().rings) + 1
            self._gone += 1

    def hold(self) -> None:
        """Stay at this place, or go on from it."""
        self._held = None if self.held else self._last()

    def move(self, looks: int) -> None:
        """Go back or forth and stay there; going past the last look goes on with it."""
        to = (self._last() if self._held is None else self._held) + looks
        self._held = max(to, self._gone + 1) if to < self._last() else None

    def shown(self) -> Rates:
        """Return what happened before the look at this place. There must be a look."""
        at = self._last() if self._held is None else max(self._held, self._gone)
        index = at - self._gone
        return rates(self._looks[index - 1] if index else None, self._looks[index])

    def age(self) -> float:
        """Return how many seconds the look at this place is older than the last one."""
        if self._held is None:
            return 0.0
        return self._looks[-1].at - self._looks[max(self._held - self._gone, 0)].at

    def _last(self) -> int:
        return self._gone + len(self._looks) - 1
