# SPDX-License-Identifier: BSD-2-Clause
"""Recording: from the rings of a monitor to a pcapng file."""

import time
from collections.abc import Callable
from typing import NamedTuple

from ringpass.capture.pcapng import INBOUND, OUTBOUND, Writer
from ringport import Port, Ring
from ringport.abi import NS_MOREFRAG, NS_REPORT, NS_TXMON

#: A wait ends so often, to see whether it should go on at all; seconds.
LOOK_S = 0.1
#: The longest that a frame may have been, for the file's field of 32 bits: a slot's ptr has 64.
LONGEST = 2**32 - 1


class Limits(NamedTuple):
    """When a recording is over; None: that is no reason."""

    packets: int | None = None
    seconds: float | None = None


class Summary(NamedTuple):
    """What became of a recording."""

    packets: int
    dropped: int


def record(
    monitor: Port, writer: Writer, limits: Limits, go_on: Callable[[], bool] = lambda: True
) -> Summary:
    """Write what `monitor` shows, until `limits` are reached or `go_on` says no.

    Raises ringport.Error when the port has gone; the file is complete then, too.

    A monitor that nobody reads in time loses the oldest frames; how many, the statistics at the
    end of the file tell.
    """
    until = None if limits.seconds is None else time.monotonic() + limits.seconds
    packets = dropped = 0
    try:
        while go_on() and packets != limits.packets:
            wait = LOOK_S if until is None else min(LOOK_S, until - time.monotonic())
            if wait < 0:
                break
            if not monitor.wait_readable(wait):
                continue
            for ring in monitor.rx:
                left = None if limits.packets is None else limits.packets - packets
                packets += write_ring(ring, writer, left)
            writer.flush()
    finally:
        # Even if the port has gone.
        dropped = sum(ring.lost for ring in monitor.rx)
        writer.statistics(time.time_ns(), packets + dropped, dropped)
        writer.flush()
    return Summary(packets, dropped)


def write_ring(ring: Ring, writer: Writer, most: int | None) -> int:
    """Write the frames that are in a ring, `most` at most, and give them back; return how many.

    A frame in several slots is written as one.
    """
    fallback_ns = time.time_ns()
    parts: list[memoryview] = []
    packets = slots = 0
    first_ns = 0
    for slot in ring:
        flags = slot.flags
        if not parts:
            first_ns = 0 if ring.offset_mask else slot.ptr
        parts.append(slot.data)
        slots += 1
        if flags & NS_MOREFRAG:
            continue
        writer.packet(
            first_ns or fallback_ns,
            parts[0] if len(parts) == 1 else b"".join(parts),
            OUTBOUND if flags & NS_TXMON else INBOUND,
            min(slot.ptr, LONGEST) if flags & NS_REPORT else None,
        )
        parts.clear()
        packets += 1
        if packets == most:
            break
    ring.advance(slots - len(parts))
    return packets
