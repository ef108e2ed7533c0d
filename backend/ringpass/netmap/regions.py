# SPDX-License-Identifier: BSD-2-Clause
"""The memory that ports live in.

A port has a private region unless its name asks for another one: by number (`@3`, or `@share`,
which looks the number up), or because it is a pipe or a zero-copy monitor, which live where their
parent does. Regions of the configuration are there for everybody who may connect.
"""

import errno
import logging
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import msgspec
from msgspec import structs

from ringpass import config
from ringpass.dataplane import DataPlane, Pools, RegionId, RegionSpec
from ringpass.errors import RingpassError
from ringpass.keeper.entries import Entries, Entry
from ringpass.netmap.peer import Owner, Peer

#: Guests that may map a region which ports share.
SEATS = 16


log = logging.getLogger(__name__)

_MEMORY, _BOOK = "memory", "book"


@dataclass(eq=False)
class Region:
    """A region that is there."""

    id: RegionId
    name: str
    config: config.Region
    owner: Owner | None
    """Whose it is; None: anybody's who may connect."""
    configured: bool
    """Whether it stays without users."""
    guests: int
    """Records for guests that map it."""
    spec: RegionSpec
    """How the data plane was told to make it."""
    users: int = 0
    seats: set[int] = field(default_factory=set)
    """Records that guests' ports have."""
    entry: Entry | None = None
    """What is held of it, so that guests can go on with it."""

    @property
    def setting(self) -> str:
        """What says in the configuration how large it is."""
        if self.guests and not self.configured:
            return f"extra_rings or extra_buffers of the ports of {self.name}"
        return f"it in [region.{self.name if self.configured else config.PRIVATE}]"


class Regions:
    """Numbers and names to regions. One that is not configured lasts as long as its users."""

    def __init__(self, plane: DataPlane, entries: Entries | None = None) -> None:
        self._plane = plane
        self._entries = entries or Entries()
        self._live: dict[RegionId, Region] = {}
        self.private = config.Region()
        """What private regions are like."""

    def __iter__(self) -> Iterator[Region]:
        return iter(list(self._live.values()))

    def configured(self) -> dict[str, config.Region]:
        """Return those of the configuration, the private ones' description included if it is not
        the default.
        """
        found = {each.name: each.config for each in self if each.configured}
        if self.private != config.Region():
            found[config.PRIVATE] = self.private
        return found

    def configure(self, name: str, wanted: config.Region) -> None:
        """Make a region that stays, or say what private ones are like from now on."""
        if name == config.PRIVATE:
            self.private = wanted
        else:
            self._add(name, wanted, None, configured=True, guests=SEATS)

    def forget(self, name: str) -> None:
        """Remove a region of the configuration. Raises RingpassError while ports are in it."""
        if name == config.PRIVATE:
            self.private = config.Region()
            return
        region = self.named(name)
        if region.users:
            raise RingpassError(
                f"cannot remove region {name}",
                f"{region.users} ports are in it",
                "close them first; ringpass port ls shows them",
                errno=errno.EBUSY,
            )
        self._remove(region)

    def named(self, name: str) -> Region:
        """Return the region `name` of the configuration, which has one."""
        return next(each for each in self if each.configured and each.name == name)

    def numbered(self, mem_id: int, peer: Peer) -> Region:
        """Return the region that `peer` names `@mem_id`. Raises RingpassError (EINVAL, EACCES)."""
        region = self._live.get(RegionId(mem_id))
        if region is None:
            raise RingpassError(
                f"there is no region {mem_id}",
                "no port and no [region.NAME] of the configuration has this number",
                "ringpass status shows the regions; leave @NUMBER out for a private one",
                errno=errno.EINVAL,
            )
        what = f"cannot use region {mem_id}"
        peer.check_memory(what, region.id)
        if region.id != peer.home:
            peer.check_owner(what, region.owner)
        return region

    def make(self, name: str, buffers: int, owner: Owner | None) -> Region:
        """Make a private region for the port `name`, with room for at least `buffers` buffers."""
        wanted = structs.replace(self.private, buffers=max(buffers, self.private.buffers))
        return self._add(name, wanted, owner, configured=False)

    def make_for_guests(self, name: str, wanted: config.Region, guests: int) -> Region:
        """Make a region that as many guests may map; the first port in it has the name."""
        return self._add(name, wanted, name, configured=False, guests=guests)

    def take_seat(
        self, region: Region, wanted: int | None = None, others: Collection[int] = ()
    ) -> int:
        """Return the number of a guest's record, `wanted` if it is free; `give_seat` it back.

        `others` are taken last: they belong to guests that may still come. Raises RingpassError.
        """
        seats = sorted(range(region.guests), key=lambda seat: (seat != wanted, seat in others))
        free = next((seat for seat in seats if seat not in region.seats), None)
        if free is None:
            raise RingpassError(
                f"no more guests can map region {region.name}",
                f"{region.guests} of their ports are in it",
                "let their ports be in another region",
                errno=errno.ENOSPC,
            )
        region.seats.add(free)
        if region.entry is None:
            self._hold(region)
        return free

    def hand_back(self, region: Region, fd: int) -> None:
        """Let a region be in memory of an earlier daemon's, which a guest has mapped: a memfd.

        Its contents are made new. Raises RingpassError: the region is as it was.
        """
        self._plane.hand_back_region(region.id, fd)
        if region.entry is not None:
            self._entries.remove(region.entry)
        self._hold(region)

    def _hold(self, region: Region) -> None:
        """Let the memory of a region outlive the daemon."""
        pools = self.pools(region)
        region.entry = self._entries.add(
            "region", {_MEMORY: pools.fd, _BOOK: pools.book_fd}, _encoded(region.spec)
        )

    def give_seat(self, region: Region, seat: int) -> None:
        """Note that a record is nobody's any more."""
        region.seats.remove(seat)

    def make_exact(self, name: str, size: int, wanted: config.Region, owner: Owner) -> Region:
        """Make a region of `size` bytes, as external memory asks for.

        It gets as many buffers as fit, `wanted.buffers` at most. Raises RingpassError (ENOMEM).
        """
        trial = self._add(name, structs.replace(wanted, buffers=1), owner, configured=False)
        pool = self.pools(trial).buffers
        self._remove(trial)
        reserved = pool.total - 1
        fit = max(size - pool.offset, 0) // pool.size - reserved
        if fit < 1:
            raise RingpassError(
                f"{size} bytes of memory cannot hold port {name}",
                f"its rings alone need {pool.offset} bytes",
                "give it more, or ask for fewer or smaller rings (ring-num, ring-size)",
                errno=errno.ENOMEM,
            )
        fitting = structs.replace(wanted, buffers=min(fit, wanted.buffers))
        return self._add(name, fitting, owner, configured=False, size=size)

    def hold(self, region: Region) -> None:
        """Note one more user of `region`."""
        region.users += 1

    def drop(self, region: Region) -> None:
        """Note one user less; the last one takes a region along that is not configured."""
        region.users -= 1
        if not region.users and not region.configured:
            self._remove(region)

    def pools(self, region: Region) -> Pools:
        """Return where things are in `region`."""
        return self._plane.region_pools(region.id)

    def _add(
        self,
        name: str,
        wanted: config.Region,
        owner: Owner | None,
        *,
        configured: bool,
        size: int = 0,
        guests: int = 0,
    ) -> Region:
        spec = RegionSpec(
            name=name,
            size=size,
            buf_bytes=wanted.buf_size,
            slots_max=wanted.slots,
            if_max=wanted.interfaces,
            ring_max=wanted.rings,
            buf_max=wanted.buffers,
            common=configured,
            guests=guests,
        )
        found, entry = self._resume(spec)
        if found is None:
            found = self._plane.add_region(spec)
        region = Region(found, name, wanted, owner, configured, guests, spec, entry=entry)
        self._live[region.id] = region
        return region

    def _resume(self, spec: RegionSpec) -> tuple[RegionId | None, Entry | None]:
        """Go on with the region that an earlier daemon made by `spec`, if it left one."""
        text = _encoded(spec)
        entry = self._entries.take("region", lambda data: data == text) if spec.guests else None
        if entry is None:
            return None, None
        left = dict(entry.fds)
        try:
            region = self._plane.resume_region(spec, left[_MEMORY], left[_BOOK])
        except RingpassError as error:
            log.error("event=resume-failed region=%s why=%r", spec.name, error.why)
            self._entries.remove(entry)
            return None, None
        finally:
            for fd in left.values():
                os.close(fd)
        pools = self._plane.region_pools(region)
        entry.fds = {_MEMORY: pools.fd, _BOOK: pools.book_fd}
        return region, entry

    def _remove(self, region: Region) -> None:
        if region.entry is not None:
            self._entries.remove(region.entry)
        self._plane.remove_region(region.id)
        del self._live[region.id]


def _encoded(spec: RegionSpec) -> bytes:
    return msgspec.json.encode(spec._asdict())
