# SPDX-License-Identifier: BSD-2-Clause
"""What batches do, slot by slot: for a Python without numpy."""

from collections.abc import Callable

from ringport import abi
from ringport.ring import Ring, Slot


def forward(
    source: Ring, sink: Ring, most: int | None = None, keep: Callable[[Slot], bool] | None = None
) -> int:
    """Hand whole frames on from an rx ring to a tx ring, at most `most` slots; return how many.

    Those whose first slot `keep` refuses are dropped, and count. Buffers are swapped where both
    rings are in one region, else frames are copied. Raises Error(EMSGSIZE) for a frame that the
    sink can never hold.
    """
    same_region = source.region.key == sink.region.key
    received = source[:most]
    room = iter(sink[: len(received)])
    left = sink.space
    done = sent = 0
    try:
        for end, slot in enumerate(received, start=1):
            if slot.more:
                continue
            frame = received[done:end]
            if keep is None or keep(frame[0]):
                if not same_region:
                    if not sink.put(b"".join(bytes(piece.data) for piece in frame)):
                        break
                elif left - sent < len(frame):
                    break
                else:
                    for piece in frame:
                        hand_over(piece, next(room))
                    sent += len(frame)
            done = end
    finally:
        sink.advance(sent)
        source.advance(done)
    return done


def hand_over(slot: Slot, free: Slot) -> None:
    """Swap a piece of a frame into a free slot of the same region."""
    slot.buf_idx, free.buf_idx = free.buf_idx, slot.buf_idx
    if slot.ring.offset_mask or free.ring.offset_mask:
        slot.ptr, free.ptr = free.ptr, slot.ptr
    free.len = slot.len
    free.flags = abi.NS_BUF_CHANGED | slot.flags & abi.NS_MOREFRAG
    slot.flags = abi.NS_BUF_CHANGED
