# SPDX-License-Identifier: BSD-2-Clause
"""Slots as vectors: hundreds of frames in a few operations of numpy.

A swap of two slots is one of their first eight bytes, which hold buf_idx, len and flags: as numbers
of 64 bits these are buf_idx + (len << 32) + (flags << 48).
"""

import errno
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ringport import abi
from ringport.errors import Error
from ringport.ring import different_regions

if TYPE_CHECKING:
    from ringport.ring import Ring

Words8: TypeAlias = npt.NDArray[np.uint8]
Words16: TypeAlias = npt.NDArray[np.uint16]
Words32: TypeAlias = npt.NDArray[np.uint32]
Words64: TypeAlias = npt.NDArray[np.uint64]
Index: TypeAlias = npt.NDArray[np.intp]
Mask: TypeAlias = npt.NDArray[np.bool_]
SlotArray: TypeAlias = npt.NDArray[np.void]
#: Bytes that numpy gathers and scatters as a whole, whatever they mean.
Column: TypeAlias = npt.NDArray[np.void]

#: A slot as numpy sees it.
SLOT = np.dtype([("buf_idx", "<u4"), ("len", "<u2"), ("flags", "<u2"), ("ptr", "<u8")])

# Arrays without dimensions: an operation with one does not have to find out what kind of number
# it is. Of the flags of a frame that is handed on only MOREFRAG means the same in the next ring.
_INDEX_BITS = np.array(0xFFFF_FFFF, dtype="<u8")
_KEPT_BITS = np.array(0xFFFF_FFFF_FFFF | abi.NS_MOREFRAG << 48, dtype="<u8")
_CHANGED = np.array(abi.NS_BUF_CHANGED << 48, dtype="<u8")


class Arrays:
    """A ring's memory as arrays."""

    def __init__(self, ring: "Ring", slots: memoryview) -> None:
        self.slots: SlotArray = np.frombuffer(slots, SLOT)
        self.parts: dict[str, npt.NDArray[Any]] = {
            name: self.slots[name] for name in SLOT.names or ()
        }
        """What slots consist of, each by its name."""
        self.words: Words64 = np.frombuffer(slots, "<u8")[::2]
        """The first eight bytes of each slot."""
        self.ptr: Words64 = np.frombuffer(slots, "<u8")[1::2]
        self.bytes: Words8 = np.frombuffer(ring.buffer_memory, np.uint8)
        self.buffers: Words8 = self.bytes.reshape(ring.num_bufs, ring.buf_size)
        self.order: Index = np.resize(np.arange(ring.num_slots), 2 * ring.num_slots)
        """Slot numbers, twice: any batch is a slice of it."""
        self.columns: dict[tuple[int, int], Column] = {}
        """So many bytes at some offset of each buffer."""

    def batch(self, ring: "Ring", start: int, count: int) -> "Batch":
        """Return `count` slots from the slot `start` on."""
        return Batch(ring, self, start, count)


class Batch:
    """Consecutive slots of a ring, as vectors with an entry for each slot.

    Reading `buf_idx`, `lengths`, `flags`, `ptr` gives copies, so that what was checked is what is
    used, even if somebody else writes the region; assigning to them writes the slots. The payload
    is read and written by `field`, `rows`, ... A batch that crosses the ring's end is like any
    other. It is of use until its ring is advanced.
    """

    __slots__ = ("_arrays", "_count", "_start", "ring")

    def __init__(self, ring: "Ring", arrays: Arrays, start: int, count: int) -> None:
        self.ring = ring
        self._arrays = arrays
        self._start = start
        self._count = count

    def __len__(self) -> int:
        return self._count

    @property
    def index(self) -> Index:
        """The numbers of the slots, (n,): not to be written."""
        return self._arrays.order[self._start : self._start + self._count]

    @property
    def parts(self) -> tuple[SlotArray, ...]:
        """The slots themselves: one array to be written, two if the batch crosses the ring's end.

        Each has the fields buf_idx, len, flags and ptr.
        """
        end = self._start + self._count
        slots, last = self._arrays.slots, self.ring.num_slots
        if end <= last:
            return (slots[self._start : end],)
        return slots[self._start :], slots[: end - last]

    @property
    def slots(self) -> SlotArray:
        """A copy of the slots, (n,), with the fields buf_idx, len, flags and ptr."""
        parts = self.parts
        return parts[0].copy() if len(parts) == 1 else np.concatenate(parts)

    @property
    def buf_idx(self) -> Words32:
        """Buffer indexes, (n,) of uint32."""
        return self._read("buf_idx")

    @buf_idx.setter
    def buf_idx(self, values: npt.ArrayLike) -> None:
        self._write("buf_idx", values)

    @property
    def lengths(self) -> Words16:
        """Bytes in each slot, (n,) of uint16."""
        return self._read("len")

    @lengths.setter
    def lengths(self, values: npt.ArrayLike) -> None:
        self._write("len", values)

    @property
    def flags(self) -> Words16:
        """`NS_*`, (n,) of uint16."""
        return self._read("flags")

    @flags.setter
    def flags(self, values: npt.ArrayLike) -> None:
        self._write("flags", values)

    @property
    def ptr(self) -> Words64:
        """Offsets or addresses, (n,) of uint64."""
        return self._read("ptr")

    @ptr.setter
    def ptr(self, values: npt.ArrayLike) -> None:
        self._write("ptr", values)

    @property
    def first(self) -> Mask:
        """Which slots begin a frame, (n,) of bool; the batch begins with one."""
        first = np.empty(self._count, np.bool_)
        first[:1] = True
        first[1:] = self.flags[:-1] & abi.NS_MOREFRAG == 0
        return first

    @property
    def frame_lengths(self) -> npt.NDArray[np.int64]:
        """Bytes of each frame, (frames,): of all its slots in the batch."""
        lengths = self.lengths.astype(np.int64)
        return np.add.reduceat(lengths, np.flatnonzero(self.first)) if self._count else lengths

    def of_frames(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return for each slot what `values`, (n,), has for the first slot of its frame."""
        first = self.first
        return values[np.flatnonzero(first)][np.cumsum(first) - 1] if self._count else values

    def field(self, offset: int, dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
        """Return what is at byte `offset` of each slot's data, (n,), as numbers of type `dtype`.

        `">u2"` at 12 is the Ethernet type. It is not looked at `lengths`: bytes behind the data
        are whatever the buffer held. Raises Error(EFAULT) for a slot whose buffer does not exist,
        Error(EINVAL) for an offset outside the buffers.
        """
        kind = np.dtype(dtype)
        if self.ring.offset_mask:
            return self._scattered(offset, kind.itemsize)[0].view(kind)[:, 0]
        return self._gather(self._column(offset, kind.itemsize)).view(kind)

    def set_field(
        self, offset: int, values: npt.ArrayLike, dtype: npt.DTypeLike = np.uint8
    ) -> None:
        """Write `values`, (n,) or one for all, where `field` reads."""
        kind = np.dtype(dtype)
        if self.ring.offset_mask:
            wanted = np.empty(self._count, kind)
            wanted[:] = values
            places = self._scattered(offset, kind.itemsize)[1]
            self._arrays.bytes[places] = wanted.view(np.uint8).reshape(self._count, kind.itemsize)
        else:
            wanted = np.asarray(values, kind)
            self._scatter(self._column(offset, kind.itemsize), wanted)

    def rows(self, start: int = 0, stop: int | None = None) -> Words8:
        """Return a copy of the bytes `start` to `stop` of each slot's data, (n, stop - start).

        Without `stop`: as far as the longest slot of the batch goes. See `field`.
        """
        if stop is None:
            stop = max(int(self.lengths.max(initial=0)), start)
        self._check_extent(start, stop - start)
        if self.ring.offset_mask or start == stop:
            return self._scattered(start, stop - start)[0]
        rows = self._gather(self._new_column(start, stop - start))
        return rows.view(np.uint8).reshape(self._count, stop - start)

    def set_rows(self, values: npt.ArrayLike, start: int = 0) -> None:
        """Write the rows of `values`, (n, width) or (width,) for all, at byte `start`."""
        rows = np.asarray(values, np.uint8)
        stop = start + rows.shape[-1]
        self._check_extent(start, stop - start)
        if self.ring.offset_mask or start == stop:
            self._arrays.bytes[self._scattered(start, stop - start)[1]] = rows
        else:
            column = self._new_column(start, stop - start)
            self._scatter(column, np.ascontiguousarray(rows).view(column.dtype)[..., 0])

    def advance(self, slots: int | None = None) -> None:
        """Advance the ring over the batch, or over its first `slots` slots."""
        self.ring.advance(self._count if slots is None else slots)

    def move(self, to: "Ring", keep: Mask | None = None) -> int:
        """Hand the frames on to the tx ring `to` by swapping buffers, and advance both rings.

        Only those for which `keep`, (n,) of bool, is true; the others are given back unsent, and
        a frame of several slots is kept if its first slot is. Returns how many slots of the
        batch are done with, kept or not: all, unless `to` has not enough room. A frame is moved
        whole. Raises Error(EXDEV) if the rings are of different regions.
        """
        ring = self.ring
        if ring.region is not to.region and ring.region.key != to.region.key:
            raise different_regions()
        if keep is not None:
            return self._move_kept(to, keep)
        done = self._whole(min(self._count, to.space))
        self._swap(to, done)
        to.advance(done)
        ring.advance(done)
        return done

    def copy(self, to: "Ring", keep: Mask | None = None) -> int:
        """Hand the frames on to the tx ring `to` by copying them. Else as `move`.

        Raises Error(EMSGSIZE) for a frame that needs more slots than `to` has, once it is the first
        of the batch.
        """
        lengths = self.lengths
        most = int(lengths.max(initial=0))
        if self.ring.offset_mask or to.offset_mask or most > min(to.buf_size, self.ring.buf_size):
            return self._copy_one_by_one(to, keep)
        chosen, done = self._choose(to, keep)
        target = to.batch(len(chosen))
        if len(chosen):
            # Whole cache lines, as far as both buffers go.
            width = min((most + 63) // 64 * 64, to.buf_size, self.ring.buf_size)
            rows = self._gather(self._new_column(0, width), chosen)
            target._scatter(target._new_column(0, width), rows)  # noqa: SLF001
            target.lengths = lengths[chosen]
            target.flags = self.flags[chosen] & abi.NS_MOREFRAG
        target.advance()
        self.advance(done)
        return done

    def _swap(self, to: "Ring", count: int) -> None:
        """Swap the first `count` slots with those at the head of `to`."""
        ring, arrays = self.ring, self._arrays
        others = to._arrays or to._make_arrays()  # noqa: SLF001  one unit with its rings
        here, there = self._start, to.head
        while count:
            some = min(count, ring.num_slots - here, to.num_slots - there)
            mine = arrays.words[here : here + some]
            theirs = others.words[there : there + some]
            free = np.bitwise_and(theirs, _INDEX_BITS)
            np.bitwise_and(mine, _KEPT_BITS, theirs)
            np.bitwise_or(theirs, _CHANGED, theirs)
            np.bitwise_or(free, _CHANGED, mine)
            if ring.offset_mask or to.offset_mask:
                mine, theirs = arrays.ptr[here : here + some], others.ptr[there : there + some]
                mine[:], theirs[:] = theirs.copy(), mine.copy()
            here = (here + some) % ring.num_slots
            there = (there + some) % to.num_slots
            count -= some

    def _move_kept(self, to: "Ring", keep: Mask) -> int:
        ring, arrays = self.ring, self._arrays
        others = to._arrays or to._make_arrays()  # noqa: SLF001
        chosen, done = self._choose(to, keep)
        here, there = self.index[chosen], to.batch(len(chosen)).index
        _swap_words(arrays.words, here, others.words, there)
        if ring.offset_mask or to.offset_mask:
            mine, theirs = arrays.ptr[here], others.ptr[there]
            others.ptr[there], arrays.ptr[here] = mine, theirs
        to.advance(len(chosen))
        ring.advance(done)
        return done

    def _choose(self, to: "Ring", keep: Mask | None) -> tuple[Index, int]:
        """Return which slots `to` has room for, and how many slots are done with thereby."""
        room = to.space
        if keep is None:
            done = self._whole(min(self._count, room))
            return np.arange(done), done
        if keep.shape != (self._count,):
            raise Error(
                errno.EINVAL,
                "cannot choose frames of a batch",
                f"keep has shape {keep.shape}, the batch {self._count} slots",
            )
        if self._any_more():
            keep = self.of_frames(keep)
        chosen = keep.nonzero()[0]
        if len(chosen) <= room:
            done = self._whole(self._count)
            return (chosen if done == self._count else chosen[chosen < done]), done
        done = self._whole(int(chosen[room]))
        return chosen[chosen < done], done

    def _any_more(self) -> bool:
        """Tell whether some frame has several slots."""
        end, last, words = self._start + self._count, self.ring.num_slots, self._arrays.words
        bits = int(np.bitwise_or.reduce(words[self._start : end]))
        if end > last:
            bits |= int(np.bitwise_or.reduce(words[: end - last]))
        return bool(bits >> 48 & abi.NS_MOREFRAG)

    def _whole(self, count: int) -> int:
        """Return how many of the first `count` slots are in whole frames.

        A frame that began in this batch and does not end in it is cut if it is all there is.
        """
        flags, slots = self.ring._u16, self.ring.num_slots  # noqa: SLF001
        whole = count
        while whole and flags[8 * ((self._start + whole - 1) % slots) + 3] & abi.NS_MOREFRAG:
            whole -= 1
        return self._count if whole == 0 and count == self._count else whole

    def _copy_one_by_one(self, to: "Ring", keep: Mask | None) -> int:
        """Copy frames that do not fit into as many slots as they came in."""
        wanted = None if keep is None else self.of_frames(keep)
        done, left = 0, self._whole(self._count)
        while left:
            pieces = []
            for slot in self.ring[:left]:
                pieces.append(bytes(slot.data))
                if not slot.more:
                    break
            try:
                if (wanted is None or wanted[done]) and not to.put(b"".join(pieces)):
                    break
            except Error:
                # The caller has to know of the frames that are done with.
                if done:
                    break
                raise
            self.ring.advance(len(pieces))
            done += len(pieces)
            left -= len(pieces)
        return done

    def _read(self, name: str) -> npt.NDArray[Any]:
        end = self._start + self._count
        values, last = self._arrays.parts[name], self.ring.num_slots
        if end <= last:
            return values[self._start : end].copy()
        return np.concatenate((values[self._start :], values[: end - last]))

    def _write(self, name: str, values: npt.ArrayLike) -> None:
        end = self._start + self._count
        if end <= self.ring.num_slots:  # a slice is cheaper than a vector of indexes
            self._arrays.parts[name][self._start : end] = values
        else:
            self._arrays.parts[name][self.index] = values

    def _gather(self, column: Column, chosen: Index | None = None) -> Column:
        """Return what `column` has for each slot's buffer, or for those of the slots `chosen`."""
        buffers = self._buffers()
        try:
            found: Column = column[buffers if chosen is None else buffers[chosen]]
        except IndexError:
            raise self._no_buffer(buffers) from None
        return found

    def _scatter(self, column: Column, values: npt.NDArray[Any]) -> None:
        """Write `values`, (n,) or one for all, to where `_gather` reads."""
        buffers = self._buffers()
        try:
            column[buffers] = values.view(column.dtype)
        except IndexError:  # nothing has been written
            raise self._no_buffer(buffers) from None

    def _buffers(self) -> Index:
        """Return the buffer indexes, as numpy wants them; whether these exist is not known."""
        end = self._start + self._count
        if end <= self.ring.num_slots:
            return self._arrays.parts["buf_idx"][self._start : end].astype(np.intp)
        return self.buf_idx.astype(np.intp)

    def _no_buffer(self, buffers: Index) -> Error:
        return self.ring.no_buffer(int(buffers.max()))

    def _check_extent(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.ring.buf_size:
            raise Error(
                errno.EINVAL,
                f"cannot use {size} bytes at offset {offset} of a slot's data",
                f"its buffer has {self.ring.buf_size} bytes",
            )

    def _column(self, offset: int, size: int) -> Column:
        """Return the bytes at `offset` of all buffers, `size` of each, as a view."""
        columns, key = self._arrays.columns, (offset, size)
        found = columns.get(key)
        if found is None:
            found = columns[key] = self._new_column(offset, size)
        return found

    def _new_column(self, offset: int, size: int) -> Column:
        self._check_extent(offset, size)
        ring = self.ring
        kind = np.dtype((np.void, size))
        return np.ndarray(ring.num_bufs, kind, ring.buffer_memory, offset, (ring.buf_size,))

    def _scattered(self, offset: int, size: int) -> tuple[Words8, Index]:
        """Return `size` bytes at `offset` behind each slot's own offset, and their places."""
        ring = self.ring
        inside = (self.ptr & np.uint64(ring.offset_mask)).astype(np.intp) + offset
        if self._count:
            self._check_extent(int(inside.max()), size)
        buffers = self._buffers()
        if self._count and int(buffers.max()) >= ring.num_bufs:
            raise self._no_buffer(buffers)
        at = buffers * ring.buf_size + inside
        places = at[:, np.newaxis] + np.arange(size)
        return self._arrays.bytes[places], places


def _swap_words(mine: Words64, here: Index, theirs: Words64, there: Index) -> None:
    """Swap the slots of rx frames with free ones of a tx ring; see the module's first lines."""
    sent, free = mine[here], theirs[there]
    sent &= _KEPT_BITS
    sent |= _CHANGED
    free &= _INDEX_BITS
    free |= _CHANGED
    theirs[there] = sent
    mine[here] = free
