# SPDX-License-Identifier: BSD-2-Clause
"""Replaying: from a capture file to the tx ring of a port."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ringpass.capture.reading import Packet
from ringpass.errors import RingpassError
from ringport import Port, Ring
from ringport.abi import MAX_FRAGS

#: Frames that are due are sent together, at most so many.
BATCH = 256
#: A sleep ends so often, to see whether to go on at all; seconds.
LOOK_S = 0.1
#: Shorter waits are spent looking at the clock: a sleep takes longer than that.
SPIN_NS = 100_000


class Pace(NamedTuple):
    """How fast: `rate` frames a second, or 0, at once; None: with the gaps that the file has."""

    rate: float | None = None


class Replayed(NamedTuple):
    """What became of a replay."""

    packets: int
    bytes: int
    skipped: int
    """Frames that the port can't send: longer than its ring takes."""
    empty: int
    """Frames without a byte, which a file can hold and no port can send."""


class Clock:
    """Says when the next frame is due, in nanoseconds of the monotonic clock."""

    def __init__(self, pace: Pace) -> None:
        self._rate = pace.rate
        self._start = time.monotonic_ns()
        self._first: int | None = None
        self._number = 0

    def due(self, packet: Packet) -> int:
        """Return when to send `packet`, the next one. Frames out of order are late, and go now."""
        if self._first is None:
            self._first = packet.time_ns
        if self._rate is None:
            return self._start + packet.time_ns - self._first
        self._number += 1
        gap = 0 if not self._rate else (self._number - 1) * 1_000_000_000 / self._rate
        return self._start + int(gap)


def replay(
    packets: Iterable[Packet], port: Port, pace: Pace, go_on: Callable[[], bool] = lambda: True
) -> Replayed:
    """Send `packets` on the first tx ring of `port`; return when they have left the ring.

    What `packets` raises says how many frames have been sent by then.
    """
    ring = port.tx[0]
    clock = Clock(pace)
    sent = size = skipped = empty = waiting = 0
    try:
        for packet in packets:
            due = clock.due(packet)
            if waiting and (waiting == BATCH or due > time.monotonic_ns()):
                port.txsync()
                waiting = 0
            if not sleep_until(due, go_on):
                break
            if not packet.frame:
                empty += 1
                continue
            if not fits(packet.frame, ring):
                skipped += 1
                continue
            if not put(packet.frame, port, go_on):
                break
            sent += 1
            size += len(packet.frame)
            waiting += 1
    except RingpassError as error:
        if sent:
            port.txsync()
            error.why += f"; the {sent} frames before that have been sent"
        raise
    port.txsync()
    return Replayed(sent, size, skipped, empty)


def fits(frame: bytes, ring: Ring) -> bool:
    """Tell whether a ring can ever hold a frame."""
    longest: int = ring.buf_size * min(MAX_FRAGS, ring.num_slots - 1)
    return len(frame) <= longest


def put(frame: bytes, port: Port, go_on: Callable[[], bool]) -> bool:
    """Put a frame into the first tx ring as soon as there is room; False if `go_on` said no."""
    while not port.tx[0].put(frame):
        if not go_on():
            return False
        port.wait_writable(LOOK_S)
    return True


def sleep_until(due_ns: int, go_on: Callable[[], bool]) -> bool:
    """Wait until the monotonic clock says `due_ns`; False if `go_on` said no before that."""
    while (left := due_ns - time.monotonic_ns()) > 0:
        if not go_on():
            return False
        if left > SPIN_NS:
            time.sleep(min((left - SPIN_NS) / 1_000_000_000, LOOK_S))
    return True
