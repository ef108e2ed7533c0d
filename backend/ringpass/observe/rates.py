# SPDX-License-Identifier: BSD-2-Clause
"""What happens a second: the difference between two looks at the counters."""

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from msgspec import Struct

from ringpass.observe.counters import Life, RingCounters, WorkerCounters
from ringpass.observe.health import Health, Thread


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a daemon at one moment."""

    at: float
    """Seconds since the epoch."""
    at_ns: int
    """The same moment on the clock `time.monotonic_ns`."""
    health: Health
    life: Life
    rings: tuple[RingCounters, ...]
    workers: tuple[tuple[WorkerCounters, Thread | None], ...]


class Amounts(Struct, frozen=True):
    """Counters of a ring or of several, as numbers or, divided by a time, as rates a second."""

    frames: float = 0
    bytes: float = 0
    batches: float = 0
    kicks: float = 0
    calls: float = 0
    sleeps: float = 0
    copied: float = 0
    holds: float = 0
    checksums: float = 0
    segments: float = 0
    truncated: float = 0
    drops: dict[str, float] = {}

    @classmethod
    def of(cls, ring: RingCounters) -> Self:
        """Return the counters of a ring."""
        return cls(**{name: getattr(ring, name) for name in _NUMBERS}, drops=dict(ring.drops))

    @classmethod
    def sum(cls, amounts: Iterable[Self]) -> Self:
        """Return the sum of `amounts`."""
        total = cls()
        for some in amounts:
            total = total._with(some, operator.add)
        return total

    def since(self, before: Self) -> Self:
        """Return what was added since `before`. Counters that shrank began anew meanwhile."""
        if any(getattr(self, name) < getattr(before, name) for name in _NUMBERS):
            return self
        return self._with(before, operator.sub)

    def per(self, seconds: float) -> Self:
        """Return the rates, if these amounts came up in `seconds`."""
        rates = {name: getattr(self, name) / seconds for name in _NUMBERS}
        drops = {reason: count / seconds for reason, count in self.drops.items()}
        return type(self)(**rates, drops=drops)

    @property
    def dropped(self) -> float:
        """Frames that were not delivered, for whatever reason."""
        return sum(self.drops.values())

    def _with(self, other: Self, operation: Callable[[float, float], float]) -> Self:
        drops = {
            reason: operation(self.drops.get(reason, 0), other.drops.get(reason, 0))
            for reason in self.drops | other.drops
        }
        return type(self)(
            **{name: operation(getattr(self, name), getattr(other, name)) for name in _NUMBERS},
            drops={reason: count for reason, count in drops.items() if count},
        )


_NUMBERS = [field for field in Amounts.__struct_fields__ if field != "drops"]


class RingRates(Struct, frozen=True):
    """A ring; `rates` are None at the first look."""

    port: str
    dir: str
    """tx: from the front end; rx: to it."""
    ring: int
    rates: Amounts | None
    totals: Amounts


class PortRates(Struct, frozen=True):
    """A port, with the sums of its rings' counters; rates are None at the first look."""

    port: str
    broken: str
    tx: Amounts | None
    rx: Amounts | None
    tx_totals: Amounts
    rx_totals: Amounts
    rings: list[RingRates]


class WorkerRates(Struct, frozen=True):
    """A worker, a second; numbers are None at the first look."""

    worker: int
    tid: int
    pinned_to: int | None
    doing: str
    """works, spins, sleeps, stopped, or stuck: it runs, or waits in the kernel, within a loop."""
    cpu: float | None
    """The share of a core that it uses, where the kernel lets us see it."""
    loops: float | None
    busy: float | None
    sleeps: float | None
    wakes: float | None


class Rates(Struct, frozen=True):
    """A daemon between two looks."""

    at: float
    """Seconds since the epoch, at the second one."""
    interval_s: float | None
    """Between the two; None: there was one."""
    pid: int
    state: str
    why: str
    ports: list[PortRates]
    """The broken ones first, then the busiest."""
    workers: list[WorkerRates]


def rates(before: Look | None, after: Look) -> Rates:
    """Return what happened a second between two looks at a daemon, or at one and its successor."""
    if before is not None and before.life != after.life and _restarted(before.life, after.life):
        before = _beginning(after.life, before)
    seconds = None if before is None else max(after.at_ns - before.at_ns, 1) / 1e9
    known = {} if before is None else {_key(ring): Amounts.of(ring) for ring in before.rings}
    rings: dict[str, list[RingRates]] = {}
    broken: dict[str, str] = {}
    for ring in after.rings:
        totals = Amounts.of(ring)
        rings.setdefault(ring.port, []).append(
            RingRates(
                ring.port,
                "tx" if ring.tx else "rx",
                ring.ring,
                # A ring that is new to us was made since the look before.
                totals.since(known.get(_key(ring), Amounts())).per(seconds) if seconds else None,
                totals,
            )
        )
        broken[ring.port] = broken.get(ring.port) or ring.broken
    ports = [_port(name, broken[name], found) for name, found in rings.items()]
    return Rates(
        at=after.at,
        interval_s=seconds,
        pid=after.life.pid,
        state=after.health.state,
        why=after.health.why,
        ports=sorted(ports, key=_first_things_first),
        workers=_workers(before, after, seconds),
    )


def _restarted(one: Life, other: Life) -> bool:
    return (one.pid, one.started_ns) != (other.pid, other.started_ns)


def _beginning(life: Life, before: Look) -> Look:
    """Return what a look would have shown when a daemon began, or at `before` if that is later."""
    return Look(before.at, max(before.at_ns, life.started_ns), before.health, life, (), ())


def _key(ring: RingCounters) -> tuple[str, bool, int]:
    return ring.port, ring.tx, ring.ring


def _port(name: str, broken: str, rings: list[RingRates]) -> PortRates:
    def total(direction: str) -> Amounts:
        return Amounts.sum(ring.totals for ring in rings if ring.dir == direction)

    def rate(direction: str) -> Amounts | None:
        found = [ring.rates for ring in rings if ring.dir == direction]
        return None if None in found else Amounts.sum(some for some in found if some is not None)

    ordered = sorted(rings, key=lambda ring: (ring.dir != "tx", ring.ring))
    return PortRates(name, broken, rate("tx"), rate("rx"), total("tx"), total("rx"), ordered)


def _first_things_first(port: PortRates) -> tuple[bool, float, str]:
    busy = sum(some.frames + some.dropped for some in (port.tx, port.rx) if some is not None)
    return not port.broken, -busy, port.port


def _workers(before: Look | None, after: Look, seconds: float | None) -> list[WorkerRates]:
    known = {} if before is None else {row.worker: (row, thread) for row, thread in before.workers}
    found = []
    for row, thread in after.workers:
        was, was_thread = known.get(row.worker, (None, None))
        if was is None or was.tid != row.tid or was.loops > row.loops:
            was = was_thread = None
        found.append(
            WorkerRates(
                worker=row.worker,
                tid=row.tid,
                pinned_to=None if row.cpu < 0 else row.cpu,
                doing=_doing(was, row, thread),
                cpu=(
                    (thread.cpu_ns - was_thread.cpu_ns) / 1e9 / seconds
                    if thread and was_thread and seconds
                    else None
                ),
                loops=(row.loops - was.loops) / seconds if was and seconds else None,
                busy=(row.busy - was.busy) / seconds if was and seconds else None,
                sleeps=(row.sleeps - was.sleeps) / seconds if was and seconds else None,
                wakes=(row.wakes - was.wakes) / seconds if was and seconds else None,
            )
        )
    return found


def _doing(was: WorkerCounters | None, now: WorkerCounters, thread: Thread | None) -> str:
    if thread is not None and thread.state in "Tt":
        return "stopped"
    if was is None:
        return ""
    if now.busy != was.busy:
        return "works"
    if now.loops != was.loops:
        return "spins" if now.sleeps == was.sleeps else "sleeps"
    return "stuck" if thread is not None and thread.state in "RD" else "sleeps"
