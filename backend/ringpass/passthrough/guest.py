# SPDX-License-Identifier: BSD-2-Clause
"""What a guest has open, and the requests of its driver: csrc/abi/rp_guest.h.

A driver begins with HELLO and a number of its own, its generation. Another generation means that
the guest rebooted, or loaded its driver again: nothing that was open before is.
"""

import errno
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct as Layout
from typing import NamedTuple

from msgspec import Struct

from ringpass.dataplane import DataPlane, GuestRequest, Kind
from ringpass.errors import RingpassError
from ringpass.keeper.entries import Entries
from ringpass.netmap import attach
from ringpass.netmap.abi import Flag, Mode, Register
from ringpass.netmap.attach import Attachment
from ringpass.netmap.call import Device
from ringpass.netmap.peer import Peer
from ringpass.netmap.port import Port, Registration
from ringpass.netmap.session import Answer, Session, done, refused, registering
from ringpass.passthrough.blocks import Blocks, SavedBlocks
from ringpass.passthrough.netdev_messages import Open, OpenFlag
from ringpass.passthrough.offloads import HEADER_BYTES
from ringpass.passthrough.wires import OpenWires, Wires

MAX_OPENS = 64
#: The number of QEMU's own open, which no driver can name.
_OWN = MAX_OPENS
#: Of the request that registered rings, if a restart is to be survived.
MAX_SAVED_BYTES = 1024
MAX_ANSWER_BYTES = 3840
_OFFLOADS = Layout("<Q")


class Op(IntEnum):
    """`enum rp_guest_op`."""

    HELLO = 1
    CALL = 2
    CLOSE = 3
    RESET = 4
    OFFLOADS = 5


class SavedOpen(Struct):
    """An open, for the daemon after this one."""

    number: int
    header: int
    """Bytes before each frame that its user wants,"""
    features: int
    """and offloads."""
    registering: bytes
    """The request that registered its rings; empty: it has none."""
    nifp_offset: int
    """Of its netmap_if; 0: it has no rings."""
    pairs: list[int]
    """Of its rings."""
    rings: list[int]
    """Their numbers in the region."""
    blocks: SavedBlocks | None
    """Where its rings have their communication blocks, if not in the region."""
    lost: bool
    """Whether it cannot be opened again where it was."""


class OpenedRings(NamedTuple):
    """All rings of a port."""

    nifp_offset: int
    number: int
    rings: bytes
    """Each as `struct rp_nm_ring`; what are descriptors there are numbers of pairs."""


class SavedGuest(Struct):
    """A guest, for the daemon after this one."""

    generation: int | None = None
    opens: list[SavedOpen] = []
    header: int = 0
    """Bytes before each frame of its port,"""
    features: int = 0
    """and the offloads that are agreed on."""


@dataclass
class _Open:
    session: Session
    wires: OpenWires
    header: int = 0
    """Bytes before each frame that the user wants; 0: what others said stays."""
    features: int = 0
    """Offloads that it wants."""
    registering: bytes = b""
    """The request that registered its rings."""
    rings: list[int] = field(default_factory=list)
    """Their numbers in the region."""
    blocks: Blocks | None = None
    """Where they have their communication blocks, if not in the region."""

    @property
    def nifp_offset(self) -> int:
        registration = self.session.registration
        return 0 if registration is None else registration.nifp_offset

    def note(self, registering: bytes, plane: DataPlane) -> None:
        """Remember the request that registered its rings just now."""
        assert self.session.registration is not None
        found = plane.port_rings(self.session.registration.port.id)
        self.registering = registering
        self.rings = [ring.csb for ring in (*found.tx, *found.rx)]

    def save(self, number: int) -> SavedOpen:
        """Return what the daemon after this one needs of it.

        How much that is must not be the guest's to say: it is written at each request.
        """
        registration = self.session.registration
        lost = len(self.registering) > MAX_SAVED_BYTES
        if registration is not None:
            # A monitor's words are its givers', and what is in flight stands in its own offsets.
            lost |= registration.port.is_monitor or registration.port.offsets is not None
        return SavedOpen(
            number,
            self.header,
            self.features,
            b"" if lost else self.registering,
            self.nifp_offset,
            self.wires.pairs,
            self.rings,
            None if self.blocks is None else self.blocks.save(),
            lost=lost,
        )

    def close(self) -> None:
        try:
            self.wires.close()
        finally:
            self.session.close()
            if self.blocks is not None:
                self.blocks.close()


class Guest:
    """A guest that is connected."""

    def __init__(
        self,
        device: Device,
        peer: Peer,
        own: Port,
        wires: Wires,
        offered: int,
        entries: Entries,
    ) -> None:
        """`own` is the port that it is the guest of, `offered` are offloads that it may have."""
        self.peer = peer
        self.generation: int | None = None
        """None: its driver has not said hello."""
        self._device = device
        self._own = own
        self._wires = wires
        self._offered = offered
        self._entries = entries
        self._opens: dict[int, _Open] = {}

    def save(self) -> SavedGuest:
        """Return what `resume` needs."""
        opens = [each.save(number) for number, each in self._opens.items()]
        status = self._device.plane.port_status(self._own.id)
        return SavedGuest(self.generation, opens, status.net_header, status.features)

    def resume(self, saved: SavedGuest) -> None:
        """Open again what a guest had open. Raises RingpassError: nothing is open then."""
        if any(each.lost for each in saved.opens):
            raise _lost("it has a monitor, offsets, or an open by a long request")
        self.generation = saved.generation
        try:
            for each in saved.opens:
                self._reopen(each)
            if saved.header:
                self._device.plane.vnet(self._own.id, saved.header, saved.features)
        except RingpassError:
            self.close()
            raise

    @property
    def opens(self) -> int:
        """How many it has, with or without rings."""
        return len(self._opens)

    @property
    def registrations(self) -> list[Registration]:
        """What is registered on them."""
        found = [each.session.registration for each in self._opens.values()]
        return [registration for registration in found if registration is not None]

    def close(self) -> None:
        """End all opens and forget the driver."""
        self.generation = None
        self._end_all()
        self._set_header(0, 0)

    def open_rings(self, wanted: Open, fds: list[int]) -> OpenedRings:
        """Open all rings of the port for QEMU itself, and nothing else.

        What was open is closed, and the driver has to say hello again. `fds` are of the memory that
        the communication blocks are to be in; they are taken out of the list. Raises RingpassError,
        OSError.
        """
        self._check_rings(wanted.header_bytes, wanted.features)
        self.close()
        opened = self._opens[_OWN] = self._new_open()
        opened.header, opened.features = wanted.header_bytes, wanted.features
        try:
            return self._open_own(opened, wanted, fds)
        except (OSError, RingpassError):
            self.close_rings()
            raise

    def _open_own(self, opened: _Open, wanted: Open, fds: list[int]) -> OpenedRings:
        flags = Flag.ACCEPT_VNET_HDR if opened.header else 0
        answer = self._call(_OWN, registering("rp0", Register(mode=Mode.ALL_NIC, flags=flags)))
        if answer.error:
            raise RingpassError("the rings cannot be opened", answer.text, errno=answer.error)
        if wanted.flags & OpenFlag.GUEST_CSB:
            opened.blocks = Blocks.hold(self._entries, fds, wanted.atok_offset, wanted.ktoa_offset)
            fds.clear()
            go_on = bool(wanted.flags & OpenFlag.GO_ON)
            self._device.plane.place_csb(self._own.id, opened.blocks.places, go_on=go_on)
        return OpenedRings(opened.nifp_offset, len(opened.rings), answer.rings)

    def close_rings(self) -> None:
        """Close what `open_rings` opened, if it is still open."""
        if (gone := self._opens.pop(_OWN, None)) is not None:
            self._end(gone)

    def _check_rings(self, header: int, features: int) -> None:
        if self._own.kind is not Kind.VALE:
            raise RingpassError(
                f"QEMU cannot have the rings of {self._own.name}",
                "it is the end of a pipe: its ends swap buffers, and the backend takes no part",
                "let the guest's ringpass driver open it, or take a port of a switch",
                errno=errno.EOPNOTSUPP,
            )
        if header not in (0, HEADER_BYTES) or (features and not header):
            raise _bad(errno.EINVAL, f"a header of {header} bytes, with offloads {features:#x}")
        self._check_offered(features)

    def _check_offered(self, features: int) -> None:
        if features & ~self._offered:
            raise _bad(errno.EOPNOTSUPP, f"offloads {features:#x}; {self._offered:#x} are offered")

    def _end(self, opened: _Open) -> None:
        """End an open. The header of the port's frames goes with the last who registered it."""
        had_rings = bool(self._own.registrations)
        opened.close()
        if had_rings and not self._own.registrations:
            self._set_header(0, 0)

    def _end_all(self) -> None:
        while self._opens:
            self._end(self._opens.popitem()[1])

    def answer(self, request: GuestRequest) -> bytes | None:
        """Do what the driver asks for; return the answer. None: do it again, for there is more.

        What ends all opens ends one each time, as others want to have their turn.
        """
        try:
            if self._opens and self._ends_all(request):
                self._end(self._opens.popitem()[1])
                return None
            return self._answer(request).data
        except RingpassError as error:
            return refused(error).data

    def _ends_all(self, request: GuestRequest) -> bool:
        return request.op == Op.HELLO or (
            request.op == Op.RESET and request.generation == self.generation
        )

    def _answer(self, request: GuestRequest) -> Answer:
        if request.op == Op.HELLO:
            self.close()
            self.generation = request.generation
            return done(b"")
        if request.generation != self.generation:
            raise RingpassError(
                "a request is refused",
                "its driver has not said hello, or another one did later",
                "say hello",
                errno=errno.ESTALE,
            )
        match request.op:
            case Op.CALL:
                self._open(request.open)
                return self._call(request.open, request.data)
            case Op.CLOSE:
                if (gone := self._opens.pop(request.open, None)) is not None:
                    self._end(gone)
            case Op.RESET:
                pass  # nothing is open any more
            case Op.OFFLOADS:
                self._set_offloads(request)
            case _:
                raise _bad(errno.EPROTO, f"there is no operation {request.op}")
        return done(b"")

    def _call(self, number: int, data: bytes) -> Answer:
        """Do a request of netmap's on the open `number`, which is there."""
        opened = self._opens[number]
        had_rings = opened.session.registration is not None
        answer = self._ask(opened, data)
        if not had_rings and opened.session.registration is not None:
            opened.note(data, self._device.plane)
        if len(answer.data) > MAX_ANSWER_BYTES:
            self._end(self._opens.pop(number))
            raise _bad(errno.EMSGSIZE, f"its answer has {len(answer.data)} bytes; the open ends")
        return answer

    def _ask(self, opened: _Open, data: bytes) -> Answer:
        """Let the open's session answer.

        Frames begin with a header if an open that wants one registers the port first. What a
        program says by PORT_HDR_SET is left alone otherwise.
        """
        if not opened.header or self._own.registrations:
            return opened.session.answer(data)
        self._set_header(opened.header, opened.features)
        answer = opened.session.answer(data)
        if not self._own.registrations:
            self._set_header(0, 0)
        return answer

    def _open(self, number: int) -> _Open:
        """Return an open, which begins if it is not there."""
        if number >= MAX_OPENS:
            raise _bad(errno.EMFILE, f"opens are numbered 0 to {MAX_OPENS - 1}")
        if number not in self._opens:
            self._opens[number] = self._new_open()
        return self._opens[number]

    def _set_header(self, header: int, features: int) -> None:
        """Let frames of the guest's port begin with a header of so many bytes, for offloads."""
        if self._own.kind is Kind.VALE:
            self._device.plane.vnet(self._own.id, header, features)

    def _reopen(self, saved: SavedOpen) -> None:
        opened = self._opens[saved.number] = self._new_open(saved.nifp_offset, saved.pairs)
        opened.header, opened.features = saved.header, saved.features
        if saved.registering:
            self._call(saved.number, saved.registering)
        if saved.blocks is not None:
            opened.blocks = Blocks.take(self._entries, saved.blocks)
            if opened.blocks is None:
                raise _lost("nobody held its communication blocks")
            self._device.plane.place_csb(self._own.id, opened.blocks.places)
        if opened.save(saved.number) != saved:
            raise _lost(f"open {saved.number} is not what it was")

    def _new_open(self, nifp_offset: int = 0, pairs: Iterable[int] = ()) -> _Open:
        wires = OpenWires(self._wires, pairs)

        def describe(registration: Registration) -> Attachment:
            try:
                return attach.describe(
                    self._device.plane, self._device.regions, registration, wires
                )
            except BaseException:
                wires.close()
                raise

        return _Open(Session(self._device, self.peer, describe, nifp_offset), wires)

    def _set_offloads(self, request: GuestRequest) -> None:
        if len(request.data) != _OFFLOADS.size:
            raise _bad(errno.EPROTO, f"offloads of {len(request.data)} bytes")
        (features,) = _OFFLOADS.unpack(request.data)
        self._check_offered(features)
        if features and self._own.registrations:
            raise _bad(errno.EBUSY, "the port is open, and its frames are as they are")
        opened = self._open(request.open)
        opened.header, opened.features = HEADER_BYTES if features else 0, features


def _lost(why: str) -> RingpassError:
    return RingpassError("a guest cannot go on", why, "its driver says hello again")


def _bad(number: int, why: str) -> RingpassError:
    return RingpassError("a request is refused", why, "use a driver of this version", errno=number)
