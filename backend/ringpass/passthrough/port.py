# SPDX-License-Identifier: BSD-2-Clause
"""A port that a guest maps: its socket, its record, its guest of the moment."""

import errno
import logging
import secrets
from contextlib import ExitStack
from pathlib import Path

from msgspec import structs

from ringpass import config
from ringpass.dataplane import GuestRecord, GuestRequest
from ringpass.errors import RingpassError
from ringpass.history import History
from ringpass.keeper.entries import Entries
from ringpass.netmap.call import Device
from ringpass.netmap.port import Port
from ringpass.passthrough import ivshmem, netdev_server, peer
from ringpass.passthrough.account import Account, Turns
from ringpass.passthrough.guest import MAX_OPENS, Guest
from ringpass.passthrough.handback import Held
from ringpass.passthrough.mailbox import Mailbox
from ringpass.passthrough.netdev_messages import PortInfo, port_info
from ringpass.passthrough.offloads import offered
from ringpass.passthrough.pairs import Pairs
from ringpass.passthrough.peers import PeerIds
from ringpass.passthrough.seat import Left, SavedSeat, Seat, memory_of, saved_seat, take_left
from ringpass.passthrough.transport import PAUSE_S, Transport
from ringpass.passthrough.wires import Wires
from ringpass.sockets import Access

log = logging.getLogger(__name__)

#: Pairs of eventfds that are nobody's ring's.
_MAILBOX = 1


class PassthroughPort:
    """The control side of a port whose rings a guest maps. It lives in an event loop.

    One QEMU at a time has the port, by its ivshmem device or by its netdev. The former cannot
    connect again: a QEMU that lost us, or that we put out, goes on without, and another may come.
    """

    def __init__(
        self,
        name: str,
        wanted: config.Port,
        device: Device,
        port: Port,
        record: int,
        ids: PeerIds,
        turns: Turns,
        access: Access,
        entries: Entries,
    ) -> None:
        assert wanted.path is not None
        assert port.region is not None
        self.name = name
        self.path = Path(wanted.path)
        self.history = History()
        self.account = Account(turns, self.history)
        """Who pays for what its guest asks for, and for guests that come and go."""
        self.port = port
        self.seat: Seat | None = None
        self._device = device
        self._wanted = wanted
        self._region = port.region
        self.record = record
        """Its number in the region."""
        self._ids = ids
        self._entries = entries
        self._ivshmem = ivshmem.Server(self.path, access, self)
        self._netdev = netdev_server.Server(
            self.netdev_path, access, self, Account(turns, self.history)
        )
        # Other than that of a daemon before this one, whose guest may hand its memory back.
        self._epoch = secrets.randbits(30)
        self._answered = 0
        self._broken: str | None = None
        self._offered = offered(port.kind, wanted.offloads)

    @property
    def netdev_path(self) -> Path:
        """The socket for QEMU's netdev."""
        return config.netdev_path(self.path)

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
        self._ivshmem.open()
        try:
            self._netdev.open()
        except RingpassError:
            self._ivshmem.close()
            raise

    def go_on(self) -> None:
        """Answer what the guest of an earlier daemon asked for meanwhile.

        Not before all ports are there again, and the data plane knows what each of them has.
        """
        if self.seat is not None:
            self.seat.mailbox.ring()
            self.seat.mailbox.look()
            if self.seat.lost:
                self.seat.transport.changed()

    def close(self) -> None:
        """Put the QEMU out and let no other one come."""
        self._ivshmem.close()
        self._netdev.close()
        if self.seat is not None:
            self._leave(self.seat)

    def set_mtu(self, mtu: int) -> None:
        """Tell the guest of another MTU."""
        self._wanted = structs.replace(self._wanted, mtu=mtu)
        self._tell()

    def set_access(self, access: Access) -> None:
        """Change who may connect."""
        self._ivshmem.set_access(access)
        self._netdev.set_access(access)

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
            self.seat.transport.changed()

    def _write_record(self) -> None:
        self._device.plane.write_guest(self._region.id, self.record, self.described())

    def described(self) -> GuestRecord:
        """Return what the guest's record says."""
        geometry = self.port.geometry
        return GuestRecord(
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
        )

    @property
    def memory(self) -> int:
        """The descriptor of its region, which the guest maps."""
        return self._device.regions.pools(self._region).fd

    def seat_new(self, transport: Transport, held: Held | None = None) -> Seat:
        """Let a QEMU have the port, and with what it holds of an earlier daemon, if that may be.

        Raises RingpassError (EBUSY), OSError; it has nothing then.
        """
        if self.seat is not None and self.seat.transport.gone():
            self.ended(self.seat.transport, None)
        if self.seat is not None:
            raise _taken(self.name, self.seat.transport)
        with self.account.charged():
            return self._seat_new(transport, held)

    def _seat_new(self, transport: Transport, held: Held | None) -> Seat:
        self._device.plane.renew_port(self.port.id)
        not_kept = self._take_back(held) if held is not None else ""
        if held is not None and not_kept is None:
            number, pairs = self._ids.take_again(held.peer), held.take()
        else:
            pairs = Pairs.make(self.vectors)
            number = self._ids.take()
        self._epoch += 1
        seat = self._sit(transport, number, pairs)
        seat.not_kept = not_kept
        try:
            seat.hold(self._entries, self._saved(seat, self._answered, b""))
        except OSError:
            seat.undo.close()
            raise
        self._take(seat)
        self.history.sessions += 1
        self._write_record()
        if not_kept is None:
            seat.mailbox.ring()  # its guest runs, and is to see another epoch
        log.info("event=guest-connected port=%s pid=%d", self.name, transport.pid)
        return seat

    def _take_back(self, held: Held) -> str | None:
        """Let the port be in memory that its guest has mapped; return why not."""
        try:
            held.check(self.vectors, self._device.regions.pools(self._region).size)
            self._device.regions.hand_back(self._region, held.fds[0])
        except (OSError, RingpassError) as error:
            why = error.why if isinstance(error, RingpassError) else str(error)
            log.warning("event=not-kept port=%s why=%r", self.name, why)
            self.history.record(why)
            return why
        self._answered = 0
        return None

    def note_refused(self, transport: Transport, error: Exception) -> None:
        """Remember that a QEMU was turned away, and why."""
        self.history.refused += 1
        why = error.why if isinstance(error, RingpassError) else str(error)
        log.warning("event=guest-refused port=%s pid=%d why=%r", self.name, transport.pid, why)

    def ended(self, transport: Transport, violation: RingpassError | None) -> None:
        """Take back what a QEMU has, if it has the port; `violation` is what it did."""
        if violation is not None:
            self._note_nonsense(violation)
        if self.seat is not None and self.seat.transport is transport:
            log.info("event=guest-gone port=%s pid=%d", self.name, transport.pid)
            with self.account.charged():
                self._leave(self.seat)

    @property
    def pause(self) -> float:
        """Seconds that no QEMU may come: those that came and went may have cost too much."""
        return max(PAUSE_S, self.account.debt)

    def info(self, flags: int) -> PortInfo:
        """Return what QEMU's netdev is told of the port. `flags` are of `rp_netdev_port`."""
        plane = self._device.plane
        memory, pools = plane.port_region(self.port.id), plane.region_pools(self._region.id)
        return port_info(self.described(), memory, pools, self._region.id, flags)

    def note_opens(self) -> None:
        """Note what QEMU itself opened or closed just now."""
        seat = self.seat
        assert seat is not None
        if self._broken is not None:
            self.note_broken()  # the last to close a broken port leaves it whole
        seat.write(self._saved(seat, seat.mailbox.answered, b""))

    def _sit(self, transport: Transport, number: int, pairs: Pairs) -> Seat:
        """Return what a QEMU needs, which has the port from now on.

        If this fails, `transport` is the caller's still.
        """
        plane, region = self._device.plane, self._region
        with ExitStack() as undo:
            undo.callback(self._ids.give, number)
            undo.callback(pairs.close)
            who = peer.Guest(
                transport.pid, transport.uid, self.name, region.id, self._wanted.extra_buffers
            )
            wires = Wires(plane, pairs, self.port)
            guest = Guest(self._device, who, self.port, wires, self._offered, self._entries)

            mailbox = Mailbox(
                plane,
                region.id,
                self.record,
                self._answered,
                self.account,
                self._do,
                self._note_nonsense,
            )
            mailbox.open(pairs.doorbells[0], pairs.vectors[0])
            undo.callback(mailbox.close)
            undo.callback(guest.close)
            return Seat(number, transport, pairs, guest, wires, mailbox, undo.pop_all())

    def _do(self, request: GuestRequest) -> bytes | None:
        """Do a request of the guest, and note what is so now before the guest knows."""
        seat = self.seat
        assert seat is not None
        answer = seat.guest.answer(request)
        if self._broken is not None:
            self.note_broken()  # the last to close a broken port leaves it whole
        if answer is None:
            seat.write(self._saved(seat, seat.mailbox.answered, b""))
        else:
            seat.write(self._saved(seat, request.sent, answer))
        return answer

    def _saved(self, seat: Seat, answered: int, answer: bytes) -> SavedSeat:
        return saved_seat(self.name, self._region, self.record, self._epoch, seat, answered, answer)

    def _resume(self) -> None:
        """Go on with the guest that an earlier daemon left, if it did."""
        left = take_left(self._entries, self.name)
        if left is None:
            return
        server = self._netdev if left.saved.way == "netdev" else self._ivshmem
        transport = server.resume(left.connected)
        try:
            seat = self._sit_again(transport, left)
        except (OSError, RingpassError) as error:
            why = error.why if isinstance(error, RingpassError) else str(error)
            log.error("event=resume-failed port=%s why=%r", self.name, why)
            left.pairs.close()
            transport.close()
            self._entries.remove(left.entry)
            return
        saved = left.saved
        try:
            seat.guest.resume(saved.guest)
        except RingpassError as error:
            log.warning("event=opens-lost port=%s why=%r", self.name, error.why)
            self._epoch += 1
            seat.lost = True
        if saved.answer:
            plane = self._device.plane
            plane.answer_request(self._region.id, self.record, saved.answered, saved.answer)
        seat.write(self._saved(seat, saved.answered, saved.answer))
        self._announce()
        log.info("event=guest-resumed port=%s pid=%d", self.name, transport.pid)

    def _sit_again(self, transport: Transport, left: Left) -> Seat:
        """Let a QEMU have what it had. Raises RingpassError, OSError."""
        saved = left.saved
        before = saved.memory, saved.record, len(left.pairs.doorbells)
        if before != (memory_of(self._region), self.record, self.vectors):
            raise _other_configuration()
        self._epoch, self._answered = saved.epoch, saved.answered
        seat = self._sit(transport, self._ids.take_again(saved.peer), left.pairs)
        seat.entry = left.entry
        self._take(seat)
        return seat

    def _take(self, seat: Seat) -> None:
        """Let a QEMU have the port, and its connection be the port's."""
        seat.undo.callback(seat.transport.close)
        self.seat = seat

    def _announce(self) -> None:
        """Let the switch know where the guest is, before somebody sends it something."""
        mac = bytes.fromhex(str(self._wanted.mac).replace(":", ""))
        self._device.plane.vhost(self.port.id).announce(mac)

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


def _taken(port: str, transport: Transport) -> RingpassError:
    device = "its ivshmem device" if transport.way == "ivshmem" else "its netdev"
    return RingpassError(
        f"cannot have port {port}",
        f"process {transport.pid} has it, by {device}",
        "a port has one QEMU at a time: end that one, or take another port",
        errno=errno.EBUSY,
    )


def _other_configuration() -> RingpassError:
    return RingpassError("a guest cannot go on", "it has another configuration", "start it again")
