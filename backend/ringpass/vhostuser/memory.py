# SPDX-License-Identifier: BSD-2-Clause
"""Guest memory as its front end described it: which descriptions are allowed."""

from collections.abc import Sequence
from typing import NamedTuple

from ringpass.dataplane import MemorySlot
from ringpass.vhostuser.connection import Fd
from ringpass.vhostuser.messages import ProtocolError

#: What to do about a front end that sends no descriptors of its guest's memory.
SHARE_MEMORY = (
    "start QEMU with -object memory-backend-memfd,id=mem,size=SIZE,share=on "
    "-machine memory-backend=mem"
)


class Region(NamedTuple):
    """A piece of guest memory and its file, kept to map it again: the port may change hands."""

    slot: MemorySlot
    fd: Fd


class Log(NamedTuple):
    """A bitmap of pages: `size` bytes from `offset` of a file."""

    fd: Fd
    offset: int
    size: int


def check_slot(slot: MemorySlot, others: Sequence[MemorySlot]) -> None:
    """Refuse a piece of memory that is empty, wraps around, or shares an address with another."""
    name = _describe(slot)
    if slot.size == 0:
        raise ProtocolError(f"{name} is empty")
    for start in (slot.guest_addr, slot.user_addr, slot.mmap_offset):
        if start + slot.size > 1 << 64:
            raise ProtocolError(f"{name} goes beyond the end of the address space")
    for other in others:
        if _overlap(slot.guest_addr, slot.size, other.guest_addr, other.size) or _overlap(
            slot.user_addr, slot.size, other.user_addr, other.size
        ):
            raise ProtocolError(f"{name} overlaps {_describe(other)}")


def _overlap(start: int, size: int, other_start: int, other_size: int) -> bool:
    return start < other_start + other_size and other_start < start + size


def _describe(slot: MemorySlot) -> str:
    return f"the memory region of {slot.size:#x} bytes at guest address {slot.guest_addr:#x}"
