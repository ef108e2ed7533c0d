# SPDX-License-Identifier: BSD-2-Clause
"""A ring and its slots, with nothing but the standard library."""

import errno
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, overload

from ringport import abi
from ringport.errors import Error
from ringport.region import Region, RingPlace

if TYPE_CHECKING:
    from ringport.batch import Arrays, Batch, SlotArray, Words8

_HEAD, _CUR, _TAIL, _FLAGS = range(4)


class Ring(Sequence["Slot"]):
    """A ring: a sequence of the slots that its user owns, from `head` up to `tail`.

    On an rx ring these hold received frames, on a tx ring they are free to be filled. `len(ring)`
    counts them, `ring[0]` is the one at `head`; `advance` gives the first ones away, and the next
    sync tells the other side. `batch` has the same slots as numpy vectors.

    A ring belongs to one thread at a time.
    """

    def __init__(
        self, region: Region, place: RingPlace, sync: "Callable[[Ring], None] | None" = None
    ) -> None:
        what = f"{'tx' if place.tx else 'rx'} ring {place.number}"
        at = place.offset
        fixed = region.at(at, abi.RING_SLOTS_AT, what)
        buf_ofs, self.num_slots, self.buf_size, _, _ = abi.RING.unpack(fixed[: abi.RING.size])
        if self.num_slots < 2 or self.buf_size < 1:
            why = f"it has {self.num_slots} slots with buffers of {self.buf_size} bytes"
            raise Error(errno.EFAULT, f"cannot use {what}", why, "open the port again")
        slots = region.at(at + abi.RING_SLOTS_AT, abi.SLOT.size * self.num_slots, what)
        self.region = region
        self.place = place
        self.offset_mask: int = fixed[abi.RING_OFFSET_MASK_AT :].cast("Q")[0]
        """Which bits of a slot's `ptr` say where in its buffer the data begins; 0: at its start."""
        bufs_at = at + buf_ofs
        self.num_bufs = max(len(region.memory) - bufs_at, 0) // self.buf_size
        self.buffer_memory = region.at(bufs_at, self.num_bufs * self.buf_size, "the buffers")
        self._sync = sync
        self._fixed = fixed
        self._cursors = fixed[abi.RING_CURSORS : abi.RING_CURSORS + 16].cast("I")
        self._u16 = slots.cast("H")
        self._u32 = slots.cast("I")
        self._u64 = slots.cast("Q")
        self._slots = slots
        self._arrays: Arrays | None = None

    @property
    def is_tx(self) -> bool:
        """Whether frames leave through it."""
        return self.place.tx

    @property
    def is_host(self) -> bool:
        """Whether its other side is the host's network stack."""
        return self.place.host

    @property
    def number(self) -> int:
        """Which it is among the rings of its direction, host rings counted apart."""
        return self.place.number

    @property
    def head(self) -> int:
        """The first slot that the user owns."""
        return self._cursors[_HEAD]

    @head.setter
    def head(self, slot: int) -> None:
        self._cursors[_HEAD] = slot

    @property
    def cur(self) -> int:
        """Where the user looks next: a wait ends when `tail` is not there. From head to tail."""
        return self._cursors[_CUR]

    @cur.setter
    def cur(self, slot: int) -> None:
        self._cursors[_CUR] = slot

    @property
    def tail(self) -> int:
        """The first slot that the user does not own; only a sync moves it."""
        return self._cursors[_TAIL]

    @property
    def flags(self) -> int:
        """`NR_TIMESTAMP`, `NR_FORWARD`."""
        return self._cursors[_FLAGS]

    @flags.setter
    def flags(self, flags: int) -> None:
        self._cursors[_FLAGS] = flags

    @property
    def time_ns(self) -> int:
        """When the ring was last synced: nanoseconds since 1970, to a microsecond."""
        at = self._fixed[abi.RING_TIME_AT : abi.RING_TIME_AT + abi.RING_TIME.size]
        seconds, microseconds = abi.RING_TIME.unpack(at)
        return int(seconds * 1_000_000_000 + microseconds * 1000)

    @property
    def lost(self) -> int:
        """How many frames a monitor's rx ring had no room for, as ringpass counts them."""
        at = self._fixed[abi.RING_LOST_AT : abi.RING_LOST_AT + 8]
        return at.cast("Q")[0]

    @property
    def space(self) -> int:
        """How many slots the user owns. Raises Error(EFAULT) if the cursors are damaged."""
        head, _, tail, _ = cursors = self._cursors
        slots = self.num_slots
        if head >= slots or tail >= slots:
            raise self._damaged(cursors)
        return tail - head if tail >= head else tail - head + slots

    def __len__(self) -> int:
        return self.space

    @overload
    def __getitem__(self, item: int) -> "Slot": ...
    @overload
    def __getitem__(self, item: slice) -> "list[Slot]": ...
    def __getitem__(self, item: int | slice) -> "Slot | list[Slot]":
        """Return the slot that is `item` behind `head`; a negative one counts from `tail`."""
        space, head, slots = self.space, self.head, self.num_slots
        if isinstance(item, slice):
            return [Slot(self, (head + i) % slots) for i in range(*item.indices(space))]
        behind = item + space if item < 0 else item
        if not 0 <= behind < space:
            raise IndexError(f"slot {item} of the {space} that the user owns")
        return Slot(self, (head + behind) % slots)

    def __iter__(self) -> "Iterator[Slot]":
        head, slots = self.head, self.num_slots
        return (Slot(self, (head + i) % slots) for i in range(self.space))

    def slot(self, index: int) -> "Slot":
        """Return the slot number `index`, whoever owns it."""
        if not 0 <= index < self.num_slots:
            raise IndexError(f"slot {index} of a ring of {self.num_slots}")
        return Slot(self, index)

    def advance(self, slots: int = 1) -> None:
        """Give the first `slots` slots away: move `head` and `cur` over them.

        Raises Error(EINVAL) if the user does not own so many.
        """
        space = self.space
        if not 0 <= slots <= space:
            raise Error(
                errno.EINVAL,
                f"cannot advance {'tx' if self.is_tx else 'rx'} ring {self.number} by {slots}",
                f"its user owns {space} slots",
                "look at len(ring) first",
            )
        head = self._cursors[_HEAD] + slots
        if head >= self.num_slots:
            head -= self.num_slots
        self._cursors[_CUR] = head
        self._cursors[_HEAD] = head

    def sync(self) -> None:
        """Do a txsync or an rxsync of this ring. Raises Error."""
        if self._sync is None:
            raise Error(errno.EBADF, "cannot sync a ring", "it is of no open port")
        self._sync(self)

    def buffer(self, buf_idx: int) -> memoryview:
        """Return all bytes of a buffer. Raises Error(EFAULT) if there is none of this index."""
        if not abi.BUFS_RESERVED <= buf_idx < self.num_bufs:
            raise self.no_buffer(buf_idx)
        at = buf_idx * self.buf_size
        return self.buffer_memory[at : at + self.buf_size]

    def no_buffer(self, buf_idx: int) -> Error:
        """Return the error that there is no buffer `buf_idx`."""
        return Error(
            errno.EFAULT,
            "cannot use a slot's buffer",
            f"index {buf_idx} is not within {abi.BUFS_RESERVED} to {self.num_bufs - 1}",
            "the other side wrote it: close the port",
        )

    def put(self, frame: "bytes | bytearray | memoryview") -> bool:
        """Copy a frame into the next slots, as many as it needs, and advance over them.

        Returns False, and does nothing, if there is no room for it. Raises Error(EMSGSIZE) if the
        ring can never hold it.
        """
        room = self.buf_size - self._initial_offset()
        needed = max(-(-len(frame) // room), 1)
        if needed > min(abi.MAX_FRAGS, self.num_slots - 1):
            why = f"it needs {needed} slots of {room} bytes"
            raise Error(errno.EMSGSIZE, f"cannot send a frame of {len(frame)} bytes", why)
        if self.space < needed:
            return False
        for i, slot in enumerate(self[:needed]):
            slot.data = frame[i * room : (i + 1) * room]
            slot.flags = abi.NS_MOREFRAG if i + 1 < needed else 0
        self.advance(needed)
        return True

    def get(self) -> bytes | None:
        """Return the next frame, its pieces joined, and advance over it; None if there is none."""
        pieces = []
        for slot in self:
            pieces.append(bytes(slot.data))
            if not slot.more:
                self.advance(len(pieces))
                return b"".join(pieces)
        return None

    def batch(self, most: int | None = None) -> "Batch":
        """Return the first slots that the user owns, at most `most`, as vectors.

        Raises Error(ENOTSUP) where numpy is not installed.
        """
        space = self.space
        arrays = self._arrays or self._make_arrays()
        return arrays.batch(self, self._cursors[_HEAD], space if most is None else min(most, space))

    @property
    def slot_array(self) -> "SlotArray":
        """All slots: a numpy array (num_slots,) with the fields buf_idx, len, flags and ptr."""
        return (self._arrays or self._make_arrays()).slots

    @property
    def buffers(self) -> "Words8":
        """All buffers of the region: a numpy array (num_bufs, buf_size) of uint8, by buf_idx."""
        return (self._arrays or self._make_arrays()).buffers

    def _initial_offset(self) -> int:
        """Return where data begins in the slot at head, which those behind it agree with."""
        return self._u64[2 * self.head + 1] & self.offset_mask if self.offset_mask else 0

    def _make_arrays(self) -> "Arrays":
        try:
            from ringport.batch import Arrays
        except ModuleNotFoundError as error:
            if error.name != "numpy":
                raise
            raise Error(
                errno.ENOTSUP,
                "cannot make vectors of a ring",
                "numpy is not installed",
                "install it, or go through the slots one by one",
            ) from None
        self._arrays = Arrays(self, self._slots[:])
        return self._arrays

    def _release(self) -> None:
        """Let go of the memory, as far as nobody else holds views of it."""
        self._arrays = None
        self._sync = None
        views = (self._cursors, self._u16, self._u32, self._u64, self._fixed, self._slots)
        for view in (*views, self.buffer_memory):
            view.release()
        closed: Any = _Closed()
        self._cursors = self._u16 = self._u32 = self._u64 = closed
        self._fixed = self._slots = self.buffer_memory = closed

    def _damaged(self, cursors: memoryview) -> Error:
        return Error(
            errno.EFAULT,
            f"cannot use {'tx' if self.is_tx else 'rx'} ring {self.number}",
            f"its head {cursors[_HEAD]} or tail {cursors[_TAIL]} is not one of its "
            f"{self.num_slots} slots",
            "whoever maps its region wrote it: close the port",
        )


class _Closed:
    """What takes the place of a ring's memory when its port is closed: any use raises Error."""

    def __getitem__(self, _: object) -> NoReturn:
        raise Error(errno.EBADF, "cannot use a ring", "its port was closed")

    def __setitem__(self, at: object, _: object) -> None:
        self[at]

    def __iter__(self) -> Iterator[NoReturn]:
        return iter(self[0])


class Slot:
    """One slot of a ring; what is set here is in the ring at once."""

    __slots__ = ("index", "ring")

    def __init__(self, ring: Ring, index: int) -> None:
        self.ring = ring
        self.index = index

    @property
    def buf_idx(self) -> int:
        """The buffer that the slot holds."""
        return self.ring._u32[4 * self.index]  # noqa: SLF001  a slot is a part of its ring

    @buf_idx.setter
    def buf_idx(self, buf_idx: int) -> None:
        self.ring._u32[4 * self.index] = buf_idx  # noqa: SLF001

    @property
    def len(self) -> int:
        """Bytes of data in the buffer."""
        return self.ring._u16[8 * self.index + 2]  # noqa: SLF001

    @len.setter  # noqa: A003  netmap's name of it
    def len(self, size: int) -> None:
        self.ring._u16[8 * self.index + 2] = size  # noqa: SLF001

    @property
    def flags(self) -> int:
        """`NS_*`; what is left of them after a swap is `NS_BUF_CHANGED` and `NS_MOREFRAG`."""
        return self.ring._u16[8 * self.index + 3]  # noqa: SLF001

    @flags.setter
    def flags(self, flags: int) -> None:
        self.ring._u16[8 * self.index + 3] = flags  # noqa: SLF001

    @property
    def ptr(self) -> int:
        """An address for `NS_INDIRECT`, an offset where the ring has an `offset_mask`."""
        return self.ring._u64[2 * self.index + 1]  # noqa: SLF001

    @ptr.setter
    def ptr(self, ptr: int) -> None:
        self.ring._u64[2 * self.index + 1] = ptr  # noqa: SLF001

    @property
    def more(self) -> bool:
        """Whether the frame goes on in the next slot."""
        return bool(self.flags & abi.NS_MOREFRAG)

    @property
    def offset(self) -> int:
        """Where in the buffer the data begins."""
        ring = self.ring
        return self.ptr & ring.offset_mask if ring.offset_mask else 0

    @property
    def buffer(self) -> memoryview:
        """All bytes of the buffer. Raises Error(EFAULT) if `buf_idx` is none."""
        return self.ring.buffer(self.buf_idx)

    @property
    def data(self) -> memoryview:
        """The `len` bytes of data, fewer if the buffer is shorter; to be changed in place."""
        offset = self.offset
        return self.buffer[offset : offset + self.len]

    @data.setter
    def data(self, data: "bytes | bytearray | memoryview") -> None:
        """Copy `data` into the buffer and set `len`. Raises Error(EMSGSIZE) if it is too long."""
        offset = self.offset
        if offset + len(data) > self.ring.buf_size:
            raise Error(
                errno.EMSGSIZE,
                f"cannot put {len(data)} bytes into a slot",
                f"its buffer has {self.ring.buf_size} bytes from offset {offset} on",
                "spread the frame over several slots: Ring.put",
            )
        self.buffer[offset : offset + len(data)] = data
        self.len = len(data)

    def swap(self, other: "Slot") -> None:
        """Swap the buffers of two slots whose rings are in one region, and say so in their flags.

        Raises Error(EXDEV) if they are not.
        """
        if self.ring.region.key != other.ring.region.key:
            raise different_regions()
        self.buf_idx, other.buf_idx = other.buf_idx, self.buf_idx
        self.flags |= abi.NS_BUF_CHANGED
        other.flags |= abi.NS_BUF_CHANGED

    def __repr__(self) -> str:
        return f"Slot({self.index}: buf_idx={self.buf_idx}, len={self.len}, flags={self.flags:#x})"


def different_regions() -> Error:
    """Return the error of a swap between rings that have no region in common."""
    return Error(
        errno.EXDEV,
        "cannot swap buffers",
        "the two rings are in different regions",
        "copy the frames, or open one port in the other's region with @share or @N",
    )
