# SPDX-License-Identifier: BSD-2-Clause
"""Descriptors that belong together, with a document that says what they are.

An entry's descriptors have the names KIND.NUMBER.PART. Its document comes last, so an entry is
there with all its parts or not at all, whenever the daemon was killed.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from ringpass.errors import RingpassError
from ringpass.keeper.document import Document
from ringpass.keeper.link import Held, Link, Nobody

log = logging.getLogger(__name__)

_DOCUMENT = "document"


@dataclass(eq=False)
class Entry:
    """Descriptors, which stay the caller's, under the names of their parts."""

    kind: str
    number: int
    fds: dict[str, int]
    document: Document
    watched: frozenset[str] = field(default_factory=frozenset)
    """Parts that are let go when their other end hangs up."""
    failed: bool = False
    """Whether the document could not be written the last time, and says what was before."""

    @property
    def data(self) -> bytes:
        """What the document says."""
        return self.document.text.partition(b"\n")[2]

    def write(self, data: bytes) -> None:
        """Replace what the document says."""
        try:
            self.document.write(" ".join(self.fds).encode() + b"\n" + data)
            self.failed = False
        except OSError as error:
            if not self.failed:
                why = str(error)
                log.error("event=keeper-failed entry=%s.%d why=%r", self.kind, self.number, why)
            self.failed = True

    def name(self, part: str) -> str:
        """Return what a part is called where it is held."""
        return f"{self.kind}.{self.number}.{part}"


class Entries:
    """What a daemon has held for the next one, and what it found of the one before."""

    def __init__(self, link: Link | None = None) -> None:
        self._link = link or Nobody()
        self._live: list[Entry] = []
        self._found: list[Entry] = []
        self._last = 0
        try:
            held = self._link.take()
        except (OSError, ValueError) as error:
            log.error("event=keeper-failed why=%r", f"nothing could be taken over: {error}")
            held = []
        self._sort(held)

    def found(self, kind: str) -> list[bytes]:
        """Return the documents of an earlier daemon's entries that nobody took yet."""
        return [entry.data for entry in self._found if entry.kind == kind]

    def take(self, kind: str, wanted: Callable[[bytes], bool]) -> Entry | None:
        """Return an entry of an earlier daemon whose document is `wanted`.

        Its descriptors are the caller's, and stay held.
        """
        for entry in self._found:
            if entry.kind == kind and wanted(entry.data):
                self._found.remove(entry)
                self._live.append(entry)
                return entry
        return None

    def add(
        self, kind: str, fds: Mapping[str, int], data: bytes, watched: Collection[str] = ()
    ) -> Entry:
        """Let `fds` be held until `remove`: so long they are to be open.

        `watched` are those that are of no use any more when their other end hangs up.
        """
        self._last += 1
        entry = Entry(kind, self._last, dict(fds), Document(), frozenset(watched))
        entry.write(data)
        self._live.append(entry)
        self._try_to_store([entry])
        return entry

    def remove(self, entry: Entry) -> None:
        """Let an entry be held no more. Its descriptors stay open here."""
        self._live.remove(entry)
        self._forget(entry)

    def drop_found(self) -> None:
        """Close what an earlier daemon left and nobody took."""
        while self._found:
            entry = self._found.pop()
            log.info("event=keeper-dropped entry=%s.%d", entry.kind, entry.number)
            for fd in entry.fds.values():
                os.close(fd)
            self._forget(entry)

    def ready(self) -> None:
        """Tell who started us that we serve."""
        try:
            self._link.ready()
        except OSError as error:
            log.warning("event=keeper-failed why=%r", f"nobody hears that we are ready: {error}")

    def abandon(self) -> None:
        """Leave everything to another daemon: from now on nothing changes in what is held."""
        self._link = Nobody()

    def close(self) -> None:
        """Let nothing be held any more: the daemon ends, and there is nothing to go on with."""
        self.drop_found()
        self._link.end()
        for entry in self._live:
            entry.document.close()
        self._live.clear()

    def _sort(self, held: list[Held]) -> None:
        """Find the entries in what was held."""
        parts: defaultdict[tuple[str, int], dict[str, int]] = defaultdict(dict)
        for name, fd in held:
            kind, _, rest = name.partition(".")
            number, _, part = rest.partition(".")
            if not number.isdecimal() or part in parts[kind, int(number)]:
                os.close(fd)
                continue
            parts[kind, int(number)][part] = fd
        for (kind, last), fds in parts.items():
            self._last = max(self._last, last)
            document = Document(fds.pop(_DOCUMENT, None))
            entry = Entry(kind, last, fds, document)
            wanted = document.text.partition(b"\n")[0].decode(errors="replace").split()
            if document.text and set(wanted) == fds.keys():
                self._found.append(entry)
                continue
            for fd in fds.values():
                os.close(fd)
            self._forget(entry)

    def _try_to_store(self, entries: list[Entry]) -> None:
        """Store `entries`; if their keeper is gone, everything with a new one."""
        try:
            self._store(entries)
        except (OSError, RingpassError) as error:
            log.warning("event=keeper-lost why=%r", str(error))
            try:
                self._store(self._live)
            except (OSError, RingpassError) as again:
                log.error("event=keeper-failed why=%r", str(again))

    def _store(self, entries: list[Entry]) -> None:
        for entry in entries:
            for part, fd in {**entry.fds, _DOCUMENT: entry.document.fd}.items():
                poll = "" if part in entry.watched else "\nFDPOLL=0"
                self._link.send(f"FDSTORE=1\nFDNAME={entry.name(part)}{poll}", [fd])

    def _forget(self, entry: Entry) -> None:
        for part in (_DOCUMENT, *entry.fds):
            try:
                self._link.send(f"FDSTOREREMOVE=1\nFDNAME={entry.name(part)}")
            except (OSError, RingpassError) as error:
                log.warning("event=keeper-lost why=%r", str(error))
                break
        entry.document.close()
