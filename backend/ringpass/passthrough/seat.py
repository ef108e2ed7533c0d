# SPDX-License-Identifier: BSD-2-Clause
"""A QEMU that has a port: all that is there for it, and what of it outlives the daemon."""

import logging
import socket
from contextlib import ExitStack
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from ringpass.keeper.entries import Entries, Entry
from ringpass.netmap.regions import Region
from ringpass.passthrough.guest import Guest, SavedGuest
from ringpass.passthrough.mailbox import Mailbox
from ringpass.passthrough.pairs import Pairs
from ringpass.passthrough.transport import Transport, Way
from ringpass.passthrough.wires import Wires

log = logging.getLogger(__name__)

_KIND = "guest"
_CONNECTION, _DOORBELL, _VECTOR = "connection", "doorbell", "vector"

#: Of `SavedSeat` and all that is in it: it goes up with each change of a field.
_SAVED_VERSION = 4


class SavedSeat(Struct):
    """A seat, for the daemon after this one."""

    version: int
    port: str
    way: Way
    memory: int
    """The number of what is held of the region that it maps."""
    record: int
    peer: int
    epoch: int
    answered: int
    """The last request that has its answer, which may not have arrived:"""
    answer: bytes
    guest: SavedGuest


@dataclass
class Seat:
    """A QEMU that has the port, and all that is there for it."""

    peer: int
    transport: Transport
    pairs: Pairs
    guest: Guest
    wires: Wires
    mailbox: Mailbox
    undo: ExitStack
    entry: Entry | None = None
    """What is held of it while the daemon is not there."""
    lost: bool = False
    """Whether an earlier daemon left it, and what it had open is closed."""
    not_kept: str | None = ""
    """Why what it handed back was not taken; None: it was; empty: it had nothing."""

    def hold(self, entries: Entries, saved: SavedSeat) -> None:
        """Let everything that the QEMU has be held from now on."""
        fds = {_CONNECTION: self.transport.fileno()}
        fds |= {f"{_DOORBELL}{i}": fd for i, fd in enumerate(self.pairs.doorbells)}
        fds |= {f"{_VECTOR}{i}": fd for i, fd in enumerate(self.pairs.vectors)}
        self.entry = entries.add(_KIND, fds, msgspec.json.encode(saved), {_CONNECTION})

    def write(self, saved: SavedSeat) -> None:
        """Replace what is known of it, if something is held."""
        if self.entry is not None:
            self.entry.write(msgspec.json.encode(saved))


@dataclass
class Left:
    """A QEMU that an earlier daemon left, whose descriptors are the holder's."""

    saved: SavedSeat
    entry: Entry
    pairs: Pairs
    connected: socket.socket


def saved_seat(
    port: str, region: Region, record: int, epoch: int, seat: Seat, answered: int, answer: bytes
) -> SavedSeat:
    """Return what the daemon after this one needs; `answered` and `answer` are the mailbox's."""
    return SavedSeat(
        _SAVED_VERSION,
        port,
        seat.transport.way,
        memory_of(region),
        record,
        seat.peer,
        epoch,
        answered,
        answer,
        seat.guest.save(),
    )


def take_left(entries: Entries, port: str) -> Left | None:
    """Return the QEMU that an earlier daemon left on a port, if it did."""

    def is_ours(data: bytes) -> bool:
        saved = _decoded(data)
        return saved is not None and saved.port == port

    entry = entries.take(_KIND, is_ours)
    saved = None if entry is None else _decoded(entry.data)
    if entry is None or saved is None:
        return None
    pairs = Pairs(_numbered(entry, _DOORBELL), _numbered(entry, _VECTOR))
    return Left(saved, entry, pairs, socket.socket(fileno=entry.fds[_CONNECTION]))


def saved_records(entries: Entries, region: Region) -> dict[str, int]:
    """Return which records of a region earlier guests have that nobody took up yet, by port."""
    memory = memory_of(region)
    found = map(_decoded, entries.found(_KIND))
    return {saved.port: saved.record for saved in found if saved and saved.memory == memory}


def warn_of_unreadable(entries: Entries) -> None:
    """Tell which guests of an earlier daemon nobody can go on with, whatever the configuration."""
    for data in entries.found(_KIND):
        if _decoded(data) is None:
            why = "another version of ringpass wrote what it had; start its QEMU again"
            log.error("event=resume-failed why=%r", why)


def memory_of(region: Region) -> int:
    """Return the number of what is held of a region; 0: nothing."""
    return 0 if region.entry is None else region.entry.number


def _decoded(data: bytes) -> SavedSeat | None:
    """Return what a document says; None: another version wrote it."""
    try:
        saved = msgspec.json.decode(data, type=SavedSeat)
    except msgspec.DecodeError:
        return None
    return saved if saved.version == _SAVED_VERSION else None


def _numbered(entry: Entry, part: str) -> list[int]:
    """Return the descriptors of an entry that have this name and a number, in their order."""
    count = sum(name.startswith(part) for name in entry.fds)
    return [entry.fds[f"{part}{i}"] for i in range(count)]
