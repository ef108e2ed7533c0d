# SPDX-License-Identifier: BSD-2-Clause
"""A port that a guest maps: its socket, its record, its guest of the moment."""

import logging
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from ringpass import config
from ringpass.dataplane import GuestRecord, GuestRequest
from ringpass.errors import RingpassError
from ringpass.history import History
from ringpass.keeper.entries import Entries, Entry
from ringpass.listener import Listener
from ringpass.netmap.call import Device
from ringpass.netmap.port import Port
from ringpass.netmap.regions import Region
from ringpass.passthrough import ivshmem, peer
from ringpass.passthrough.guest import MAX_OPENS, Guest, SavedGuest
from ringpass.passthrough.ivshmem import Connection, PeerIds
from ringpass.passthrough.mailbox import Mailbox
from ringpass.passthrough.offloads import offered
from ringpass.passthrough.pairs import Pairs
from ringpass.passthrough.wires import Wires
from ringpass.sockets import Access, peer_pid

log = logging.getLogger(__name__)

#: Seconds that a port lets no QEMU come after one that left, or was turned away.
PAUSE_S = 0.01
#: Pairs of eventfds that are nobody's ring's.
_MAILBOX = 1


_CONNECTION, _DOORBELL, _VECTOR = "connection", "doorbell", "vector"

#: Of `SavedSeat` and all that is in it: it goes up with each change of a field.
_SAVED_VERSION = 3


class SavedSeat(Struct):
    """A seat, for the daemon after this one."""

    version: int
    port: str
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
    connection: Connection
    guest: Guest
    wires: Wires
    mailbox: Mailbox
    undo: ExitStack
    entry: Entry | None = None
    """What is held of it while the daemon is not there."""


class PassthroughPort:
    """The control side of a port whose rings a guest maps. It lives in an event loop.

    One QEMU at a time has the port. Its device cannot connect again: a QEMU that lost us, or that
    we put out, goes on without, and another one may come.
    """

    def __init__(
        self,
        name: str,
        wanted: config.Port,
        device: Device,
        port: Port,
        record: int,
        ids: PeerIds,
        access: Access,
        entries: Entries,
    ) -> None:
        assert wanted.path is not None
        assert port.region is not None
        self.name = name
        self.path = Path(wanted.path)
        self.history = History()
        self.port = port
        self.seat: Seat | None = None
        self._device = device
        self._wanted = wanted
        self._region = port.region
        self.record = record
        """Its number in the region."""
        self._ids = ids
        self._entries = entries
        self._listener = Listener(self.path, access, self._connected)
        self._epoch = 0
        self._answered = 0
        self._broken: str | None = None
        self._offered = offered(port.kind, wanted.offloads)

    @property
    def vectors(self) -> int:
        """Pairs of doorbell and vector that QEMU's device must have."""
        geometry = self.port.geometry
        return _MAILBOX + geometry.tx_rings + geometry.rx_rings + self._wanted.extra_rings

    def open(self) -> None:
        """Let a QEMU come. Raises RingpassError if the socket's path cannot be had."""
        ivshmem.check_size(self.name, self._device.regions.pools(self._region).size)
        self._resume()
        self._write_record()
        self._listener.open()

    def go_on(self) -> None:
        """Answer what the guest of an earlier daemon asked for meanwhile.

        Not before all ports are there again, and the data plane knows what each of them has.
        """
        if self.seat is not None:
            self.seat.mailbox.ring()
            self.seat.mailbox.look()

    def close(self) -> None:
        """Put the QEMU out and let no other one come."""
        self._listener.close()
        if self.seat is not None:
            self._leave(self.seat)

    def set_mtu(self, mtu: int) -> None:
        """Tell the guest of another MTU."""
        self._wanted = structs.replace(self._wanted, mtu=mtu)
        self._tell()

    def set_access(self, access: Access) -> None:
        """Change who may connect."""
        self._listener.set_access(access)

    def note_broken(self) -> None:
        """Look whether the data plane stopped the port; show it to the guest as its link."""
        broken = self._device.plane.port_status(self.port.id).broken
        if broken == self._broken:
            return
        if broken is not None:
            self.history.record(broken)
            log.warning("event=port-broken port=%s why=%r", self.name, broken)
        self._broken = broken
        self._tell()

    def repair(self) -> bool:
        """Take the port back into service; return whether it was broken.

        What the guest had open is closed: its cursors may be anything.
        """
        if self._device.plane.port_status(self.port.id).broken is None:
            return False
        if self.seat is not None:
            self.seat.guest.close()
            self._epoch += 1
        self._device.plane.repair_port(self.port.id)
        self.note_broken()
        return True

    def _tell(self) -> None:
        self._write_record()
        if self.seat is not None:
            self.seat.mailbox.ring()

    def _write_record(self) -> None:
        geometry = self.port.geometry
        self._device.plane.write_guest(
            self._region.id,
            self.record,
            GuestRecord(
                peer=0 if self.seat is None else self.seat.peer,
                port=self.name,
                mac=bytes.fromhex(str(self._wanted.mac).replace(":", "")),
                mtu=self._wanted.mtu,
                tx_rings=geometry.tx_rings,
                rx_rings=geometry.rx_rings,
                tx_slots=geometry.tx_slots,
                rx_slots=geometry.rx_slots,
                vectors=self.vectors,
                opens=MAX_OPENS,
                extra_bufs=self._wanted.extra_buffers,
                link=int(self._broken is None),
                epoch=self._epoch,
                offloads=self._offered,
            ),
        )

    def _connected(self, connected: socket.socket) -> None:
        if self.seat is not None and self.seat.connection.gone():
            self._ended(self.seat.connection)
        pid = peer_pid(connected)
        if self.seat is not None:
            self._refuse(connected, pid, f"process {self.seat.connection.pid} has the port")
            return
        try:
            self._device.plane.renew_port(self.port.id)
            pairs, number = Pairs.make(self.vectors), self._ids.take()
            memory = self._device.regions.pools(self._region).fd
            words = ivshmem.introduction(number, memory, pairs.doorbells, pairs.vectors)
            self._epoch += 1
            self.seat = self._sit(connected, number, pairs, words)
        except (OSError, RingpassError) as error:
            self._refuse(connected, pid, str(error))
            return
        self.history.sessions += 1
        self._write_record()
        connection = self.seat.connection
        log.info("event=guest-connected port=%s pid=%d", self.name, connection.pid)
        connection.send()

    def _sit(
        self,
        connected: socket.socket,
        number: int,
        pairs: Pairs,
        words: list[ivshmem.Word],
        entry: Entry | None = None,
    ) -> Seat:
        """Return what a QEMU needs, which has the port from now on.

        `entry` is what is held of it already. If this fails, `connected` is the caller's still.
        """
        plane, region = self._device.plane, self._region
        with ExitStack() as undo:
            undo.callback(self._ids.give, number)
            undo.callback(pairs.close)
            connection = Connection(connected, words, self._ended)
            undo.callback(connection.leave)
            who = peer.Guest(
                connection.pid, connection.uid, self.name, region.id, self._wanted.extra_buffers
            )
            wires = Wires(plane, pairs, self.port)
            guest = Guest(self._device, who, self.port, wires, self._offered)

            mailbox = Mailbox(
                plane, region.id, self.record, self._answered, self._do, self._note_nonsense
            )
            mailbox.open(pairs.doorbells[0], pairs.vectors[0])
            undo.callback(mailbox.close)
            undo.callback(guest.close)
            seat = Seat(number, connection, guest, wires, mailbox, undo, entry)
            seat.entry = entry or self._hold(seat, connected, pairs)
            seat.undo = undo.pop_all()
            seat.undo.callback(connection.close)
            return seat

    def _do(self, request: GuestRequest) -> bytes:
        """Do a request of the guest, and note what is so now before the guest knows."""
        seat = self.seat
        assert seat is not None
        answer = seat.guest.answer(request)
        if self._broken is not None:
            self.note_broken()  # the last to close a broken port leaves it whole
        if seat.entry is not None:
            seat.entry.write(self._saved(seat, request.sent, answer))
        return answer

    def _hold(self, seat: Seat, connected: socket.socket, pairs: Pairs) -> Entry:
        """Let everything that the guest has be held while the daemon is not there."""
        fds = {_CONNECTION: connected.fileno()}
        fds |= {f"{_DOORBELL}{i}": fd for i, fd in enumerate(pairs.doorbells)}
        fds |= {f"{_VECTOR}{i}": fd for i, fd in enumerate(pairs.vectors)}
        saved = self._saved(seat, self._answered, b"")
        return self._entries.add("guest", fds, saved, {_CONNECTION})

    def _saved(self, seat: Seat, answered: int, answer: bytes) -> bytes:
        return msgspec.json.encode(
            SavedSeat(
                _SAVED_VERSION,
                self.name,
                _memory_of(self._region),
                self.record,
                seat.peer,
                self._epoch,
                answered,
                answer,
                seat.guest.save(),
            )
        )

    def _resume(self) -> None:
        """Go on with the guest that an earlier daemon left, if it did."""
        entry = self._entries.take("guest", self._is_ours)
        saved = None if entry is None else _decoded(entry.data)
        if entry is None or saved is None:
            return
        doorbells, vectors = _numbered(entry, _DOORBELL), _numbered(entry, _VECTOR)
        pairs = Pairs(doorbells, vectors)
        connected = socket.socket(fileno=entry.fds[_CONNECTION])
        before = saved.memory, saved.record, len(doorbells)
        try:
            if before != (_memory_of(self._region), self.record, self.vectors):
                raise _other_configuration()
            number = self._ids.take_again(saved.peer)
            self._epoch, self._answered = saved.epoch, saved.answered
            seat = self.seat = self._sit(connected, number, pairs, [], entry)
        except (OSError, RingpassError) as error:
            why = error.why if isinstance(error, RingpassError) else str(error)
            log.error("event=resume-failed port=%s why=%r", self.name, why)
            pairs.close()
            connected.close()
            self._entries.remove(entry)
            return
        try:
            seat.guest.resume(saved.guest)
        except RingpassError as error:
            log.warning("event=opens-lost port=%s why=%r", self.name, error.why)
            self._epoch += 1
        if saved.answer:
            plane = self._device.plane
            plane.answer_request(self._region.id, self.record, saved.answered, saved.answer)
        entry.write(self._saved(seat, saved.answered, saved.answer))
        self._announce()
        log.info("event=guest-resumed port=%s pid=%d", self.name, seat.connection.pid)

    def _is_ours(self, data: bytes) -> bool:
        saved = _decoded(data)
        return saved is not None and saved.port == self.name

    def _announce(self) -> None:
        """Let the switch know where the guest is, before somebody sends it something."""
        mac = bytes.fromhex(str(self._wanted.mac).replace(":", ""))
        self._device.plane.vhost(self.port.id).announce(mac)

    def _refuse(self, connected: socket.socket, pid: int, why: str) -> None:
        self.history.refused += 1
        log.warning("event=guest-refused port=%s pid=%d why=%r", self.name, pid, why)
        ivshmem.refuse(connected)
        self._listener.resume(PAUSE_S)

    def _ended(self, connection: Connection) -> None:
        """The QEMU is gone."""
        if self.seat is None:
            return
        if connection.spoke:
            self._note_nonsense(_spoke())
        log.info("event=guest-gone port=%s pid=%d", self.name, self.seat.connection.pid)
        self._leave(self.seat)
        self._listener.resume(PAUSE_S)

    def _leave(self, seat: Seat) -> None:
        """Take back all that a QEMU had. One that still runs sees that its record is nobody's."""
        self.seat = None
        self._answered = seat.mailbox.answered
        self._write_record()
        seat.mailbox.ring()
        if seat.entry is not None:
            self._entries.remove(seat.entry)
        seat.undo.close()
        self._device.plane.renew_port(self.port.id)  # it could write into rings that it had closed
        self.note_broken()

    def _note_nonsense(self, error: RingpassError) -> None:
        self.history.violations += 1
        self.history.record(error.why)


def saved_records(entries: Entries, region: Region) -> dict[str, int]:
    """Return which records of a region earlier guests have that nobody took up yet, by port."""
    memory = _memory_of(region)
    found = map(_decoded, entries.found("guest"))
    return {saved.port: saved.record for saved in found if saved and saved.memory == memory}


def warn_of_unreadable(entries: Entries) -> None:
    """Tell which guests of an earlier daemon nobody can go on with, whatever the configuration."""
    for data in entries.found("guest"):
        if _decoded(data) is None:
            why = "another version of ringpass wrote what it had; start its QEMU again"
            log.error("event=resume-failed why=%r", why)


def _decoded(data: bytes) -> SavedSeat | None:
    """Return what a document says; None: another version wrote it."""
    try:
        saved = msgspec.json.decode(data, type=SavedSeat)
    except msgspec.DecodeError:
        return None
    return saved if saved.version == _SAVED_VERSION else None


def _memory_of(region: Region) -> int:
    """Return the number of what is held of a region; 0: nothing."""
    return 0 if region.entry is None else region.entry.number


def _other_configuration() -> RingpassError:
    return RingpassError("a guest cannot go on", "it has another configuration", "start it again")


def _spoke() -> RingpassError:
    return RingpassError(
        "a QEMU is put out",
        "it wrote to the socket of its ivshmem device, where clients have nothing to say",
        "connect nothing but the chardev of an ivshmem-doorbell device",
    )


def _numbered(entry: Entry, part: str) -> list[int]:
    """Return the descriptors of an entry that have this name and a number, in their order."""
    count = sum(name.startswith(part) for name in entry.fds)
    return [entry.fds[f"{part}{i}"] for i in range(count)]
