# SPDX-License-Identifier: BSD-2-Clause
"""Communication blocks in memory of a guest, which its QEMU names by descriptors and offsets.

The data plane maps them while the port is open. The descriptors stay, and are held for the daemon
after this one, as the guest knows nothing of daemons.
"""

import errno
from typing import Self

from msgspec import Struct

from ringpass import descriptors
from ringpass.dataplane import CsbPlaces
from ringpass.errors import RingpassError
from ringpass.keeper.entries import Entries, Entry

_KIND = "blocks"
_ATOK, _KTOA = "atok", "ktoa"


class SavedBlocks(Struct):
    """Blocks, for the daemon after this one."""

    number: int
    """Of what is held of them."""
    atok_offset: int
    ktoa_offset: int


class Blocks:
    """Both arrays of a port's rings. The descriptors are its own; `close` it."""

    def __init__(self, entries: Entries, entry: Entry, atok_offset: int, ktoa_offset: int) -> None:
        fds = entry.fds
        self.places = CsbPlaces(fds[_ATOK], atok_offset, fds[_KTOA], ktoa_offset)
        self._entries = entries
        self._entry = entry

    @classmethod
    def hold(cls, entries: Entries, fds: list[int], atok_offset: int, ktoa_offset: int) -> Self:
        """Return blocks that are held from now on; both `fds` are theirs.

        Raises OSError; RingpassError while memory of others cannot be closed.
        """
        if descriptors.common.full:
            raise RingpassError(
                "the communication blocks cannot be had",
                "memory that other guests had cannot be closed: its file system does not answer",
                "keep guests' memory in memory-backend-memfd, and try again",
                errno=errno.EBUSY,
            )
        entry = entries.add(_KIND, dict(zip((_ATOK, _KTOA), fds, strict=True)), b"")
        entry.write(str(entry.number).encode())
        return cls(entries, entry, atok_offset, ktoa_offset)

    @classmethod
    def take(cls, entries: Entries, saved: SavedBlocks) -> Self | None:
        """Return those that an earlier daemon had; None: they are gone."""
        text = str(saved.number).encode()
        entry = entries.take(_KIND, lambda data: data == text)
        if entry is None:
            return None
        return cls(entries, entry, saved.atok_offset, saved.ktoa_offset)

    def save(self) -> SavedBlocks:
        """Return what `take` needs."""
        places = self.places
        return SavedBlocks(self._entry.number, places.atok_offset, places.ktoa_offset)

    def close(self) -> None:
        """Let go of the memory, which the data plane does not use any more."""
        self._entries.remove(self._entry)
        for fd in self._entry.fds.values():
            descriptors.common.close(fd)
