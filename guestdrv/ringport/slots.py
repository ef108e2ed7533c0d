# SPDX-License-Identifier: BSD-2-Clause
"""What batches do, slot by slot: for a Python without numpy."""

from collections.abc import Callable
from itertools import islice

from ringport import abi
from ringport.ring import Ring, Slot


def frame_at(ring: Ring, most: int) -> list[Slot]:
    """Return the slots of the ring's first frame, if it is complete within `most`; else none."""
    slots = []
    for slot in islice(ring, most):
        slots.append(slot)
        if not slot.more:
            return slots
    return []


def forward(
    source: Ring, sink: Ring, most: int | None = None, keep: Callable[[Slot], bool] | None = None
) -> int:
    """Hand whole frames on from an rx ring to a tx ring, at most `most` slots; return how many.

    Those whose first slot `keep` refuses are dropped, and count. Buffers are swapped where both
    rings are in one region, else frames are copied. Raises Error(EMSGSIZE) for a frame that the
    sink can never hold.
    """
    left = source.space if most is None else min(most, source.space)
    done = 0
    while slots := frame_at(source, left - done):
        kept = keep is None or keep(slots[0])
        if kept and not send(slots, sink):
            break
        source.advance(len(slots))
        done += len(slots)
    return done


def send(slots: list[Slot], sink: Ring) -> bool:
    """Put a frame into the next slots of a tx ring; return False if there is no room."""
    if slots[0].ring.region.key != sink.region.key:
        return sink.put(b"".join(bytes(slot.data) for slot in slots))
    room = sink[: len(slots)]
    if len(room) < len(slots):
        return False
    for free, slot in zip(room, slots, strict=True):
        free.swap(slot)
        free.len = slot.len
        free.flags = abi.NS_BUF_CHANGED | slot.flags & abi.NS_MOREFRAG
        if sink.offset_mask or slot.ring.offset_mask:
            free.ptr, slot.ptr = slot.ptr, free.ptr
    sink.advance(len(slots))
    return True
