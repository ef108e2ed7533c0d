# SPDX-License-Identifier: BSD-2-Clause
"""One front end's session: what its messages say, and the answers to them.

A handler checks a message and hands what it says to the `Attachment`, which knows what to make of
it. That one may hold the port or only wait for it: the messages are the same.
"""

import contextlib
import logging
import socket
from collections.abc import Callable
from enum import IntFlag
from typing import Any, NamedTuple

from ringpass.dataplane import MAX_MEMORY_SLOTS, MAX_VRING_SIZE, MemorySlot
from ringpass.errors import RingpassError
from ringpass.vhostuser.attachment import Attachment, Plane
from ringpass.vhostuser.connection import Fd, Message
from ringpass.vhostuser.device import (
    PROTOCOL_FEATURES,
    Device,
    features_for,
    protocol_features_for,
)
from ringpass.vhostuser.memory import SHARE_MEMORY, Log, Region, check_slot
from ringpass.vhostuser.messages import (
    MAX_TABLE_ROWS,
    ConfigSpace,
    DeviceStatus,
    Empty,
    Feature,
    HeaderFlag,
    LogArea,
    MemoryRow,
    MemoryTable,
    Number,
    Payload,
    ProtocolError,
    ProtocolFeature,
    Request,
    VringAddress,
    VringFile,
    VringState,
    config_change,
    reply,
    words,
)
from ringpass.vhostuser.ring import Ring, check_notification, is_channel, is_eventfd, is_socket

log = logging.getLogger(__name__)

_ACK, _NACK = Number(0), Number(1)
#: Index 0 and wrap counter 1, of the next available and the next used descriptor.
_NEW_PACKED_RING = 0x8000_8000


class Refused(Exception):
    """We do not do what was asked, and the session goes on if the front end waits for an answer."""


class Session:
    """The state of one front end. `handle` each message in turn, then `close`.

    It holds the port from the start, unless it is a standby: then what it is told has no effect
    until `attachment.take_port`. Methods raise ProtocolError, or the data plane's RingpassError;
    either means that the session cannot go on.
    """

    def __init__(self, device: Device, plane: Plane, *, standby: bool = False) -> None:
        self.device = device
        self.protocol_features = ProtocolFeature(0)
        self.status = DeviceStatus(0)
        self.attachment = Attachment(plane, 2 * device.pairs)
        if not standby:
            self.attachment.take_port()
        self._plane = plane
        self._owned = False
        self._owned_first: bool | None = None
        self._backend_channel: Fd | None = None

    @property
    def features(self) -> Feature | None:
        """The virtio features that were agreed on; None: not yet."""
        return self.attachment.features

    @property
    def memory(self) -> list[MemorySlot]:
        """The guest memory that the front end described."""
        return self.attachment.memory

    @property
    def memory_fds(self) -> list[int]:
        """The files of `memory`, in its order. They stay the session's."""
        return self.attachment.memory_fds

    @property
    def rings(self) -> list[Ring]:
        """The virtqueues."""
        return self.attachment.rings

    def handle(self, message: Message) -> bytes | None:
        """Do what `message` says; return the bytes to answer, or None."""
        with message:
            header = message.header
            entry = TABLE.get(header.request)
            answer: Payload | None
            try:
                if entry is None:
                    raise Refused(f"request {header.request} is not served")
                answer = self._dispatch(entry, message)
            except Refused as refused:
                if not self._awaits_ack(header.flags):
                    raise ProtocolError(str(refused)) from refused
                log.warning("request=%s refused=%s", header.request, refused)
                return reply(header.request, _NACK)
            if answer is None and self._awaits_ack(header.flags):
                answer = _ACK
            return None if answer is None else reply(header.request, answer)

    def tell_link(self) -> None:
        """Let the guest see whether its port is broken, if its front end wants to hear of that.

        One that does not listen finds out when it reads the configuration the next time.
        """
        channel = self._backend_channel
        if channel is not None and ProtocolFeature.CONFIG in self.protocol_features:
            # Whether the socket blocks is for its other owner to say, too: ask for this call only.
            fd = channel.fileno()
            with contextlib.suppress(OSError), _as_socket(fd) as connected:
                connected.send(config_change(), socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Leave the port, and close every descriptor."""
        try:
            self.attachment.leave_port()
        except RingpassError as error:
            log.error("event=session-close-failed why=%r", error.why)
        self.attachment.close()
        if self._backend_channel is not None:
            self._backend_channel.close()

    def _dispatch(self, entry: "Entry", message: Message) -> Payload | None:
        count = len(message.fds)
        if count > entry.max_fds:
            raise ProtocolError(
                f"{count} descriptors came with {entry.name}; at most {entry.max_fds} belong to it"
            )
        try:
            payload = entry.payload.unpack(message.body)
        except ProtocolError as error:
            raise ProtocolError(f"{entry.name}: {error.why}") from error
        return entry.handler(self, payload, message)

    def _awaits_ack(self, flags: int) -> bool:
        negotiated = ProtocolFeature.REPLY_ACK in self.protocol_features
        return negotiated and bool(flags & HeaderFlag.NEED_REPLY)

    # Features and configuration

    def get_features(self, _payload: Empty, _message: Message) -> Number:
        return Number(features_for(self.device, owned_first=self._manner()))

    def set_features(self, payload: Number, _message: Message) -> None:
        served = self.device.features | Feature.GUEST_ANNOUNCE
        _require_offered("features", payload.value, served, Feature)
        self.attachment.set_features(Feature(payload.value))

    def get_protocol_features(self, _payload: Empty, _message: Message) -> Number:
        return Number(protocol_features_for(owned_first=self._manner()))

    def set_protocol_features(self, payload: Number, _message: Message) -> None:
        _require_offered("protocol features", payload.value, PROTOCOL_FEATURES, ProtocolFeature)
        self.protocol_features = ProtocolFeature(payload.value)

    def get_queue_num(self, _payload: Empty, _message: Message) -> Number:
        return Number(self.device.pairs)

    def get_config(self, payload: ConfigSpace, _message: Message) -> ConfigSpace:
        link_up = self.attachment.broken() is None
        content = self.device.config(payload.offset, len(payload.content), link_up=link_up)
        return ConfigSpace(payload.offset, payload.flags, content)

    def set_config(self, _payload: ConfigSpace, _message: Message) -> None:
        raise Refused("the configuration of a network device is read-only")

    def net_set_mtu(self, payload: Number, _message: Message) -> None:
        if payload.value > self.device.mtu:
            raise Refused(f"an MTU of {payload.value}; the port has {self.device.mtu}")

    def set_backend_req_fd(self, _payload: Empty, message: Message) -> None:
        _require_fd(message)
        if not is_socket(message.fds[0].fileno()):
            raise ProtocolError("the descriptor of the backend channel is no socket")
        if self._backend_channel is not None:
            self._backend_channel.close()
        self._backend_channel = message.take_fd()

    def send_rarp(self, payload: Number, _message: Message) -> None:
        # Whose rings don't run yet has no place in the network to announce.
        if self.attachment.usable:
            self._plane.announce(payload.value.to_bytes(8, "little")[:6])

    def _manner(self) -> bool:
        """Whether the front end owned the device before it asked its first question."""
        if self._owned_first is None:
            self._owned_first = self._owned
        return self._owned_first

    # Life of the device

    def set_owner(self, _payload: Empty, _message: Message) -> None:
        self._owned = True

    def reset_device(self, _payload: Empty, _message: Message) -> None:
        self._reset()
        for ring in self.rings:
            ring.enabled = None

    def get_status(self, _payload: Empty, _message: Message) -> Number:
        broken = self.attachment.broken() is not None
        return Number(self.status | (DeviceStatus.NEEDS_RESET if broken else DeviceStatus(0)))

    def set_status(self, payload: Number, _message: Message) -> None:
        status = DeviceStatus(payload.value & 0xFF) & ~DeviceStatus.NEEDS_RESET
        if self.features is None:
            # The driver reads it back, and learns that nothing was agreed on.
            status &= ~DeviceStatus.FEATURES_OK
        self.status = status
        if payload.value == 0:
            self._reset()

    def _reset(self) -> None:
        self.status = DeviceStatus(0)
        for ring in self.rings:
            self.attachment.reconfigure(ring)

    # Guest memory

    def set_mem_table(self, payload: MemoryTable, message: Message) -> None:
        if len(message.fds) < len(payload.rows):
            raise ProtocolError(
                f"guest memory is not shared: {len(payload.rows)} regions came with "
                f"{len(message.fds)} descriptors",
                SHARE_MEMORY,
            )
        if len(message.fds) > len(payload.rows):
            raise ProtocolError(
                f"{len(message.fds)} descriptors for {len(payload.rows)} regions of memory"
            )
        for row, slot in enumerate(payload.rows):
            check_slot(slot, payload.rows[:row])
        self.attachment.replace_memory([Region(slot, message.take_fd()) for slot in payload.rows])

    def get_max_mem_slots(self, _payload: Empty, _message: Message) -> Number:
        return Number(MAX_MEMORY_SLOTS)

    def add_mem_reg(self, payload: MemoryRow, message: Message) -> None:
        if not message.fds:
            raise ProtocolError(
                "guest memory is not shared: a region came without descriptor", SHARE_MEMORY
            )
        if payload.slot in self.memory:
            return  # QEMU 7.2 says it once for each queue pair
        if len(self.memory) >= MAX_MEMORY_SLOTS:
            raise ProtocolError(f"more than {MAX_MEMORY_SLOTS} regions of memory")
        check_slot(payload.slot, self.memory)
        self.attachment.add_memory(Region(payload.slot, message.take_fd()))

    def rem_mem_reg(self, payload: MemoryRow, _message: Message) -> None:
        # One that is gone already is no error: QEMU 7.2 says it once for each queue pair.
        self.attachment.remove_memory(payload.slot)

    def set_log_base(self, payload: LogArea, message: Message) -> Number:
        if ProtocolFeature.LOG_SHMFD not in self.protocol_features:
            raise Refused("a dirty log, but LOG_SHMFD was not taken")
        _require_fd(message)
        self.attachment.set_log(Log(message.take_fd(), payload.offset, payload.size))
        return _ACK

    def set_log_fd(self, _payload: Empty, message: Message) -> None:
        # For being told that pages were written; front ends look at the bitmap when they please.
        # The descriptor is closed unused.
        _require_fd(message)

    # Virtqueues

    def set_vring_num(self, payload: VringState, _message: Message) -> None:
        ring = self._ring(payload.index)
        size = payload.value
        if not 0 < size <= MAX_VRING_SIZE or size & (size - 1):
            raise ProtocolError(
                f"virtqueue {ring.index} of {size} entries; "
                f"it takes a power of two up to {MAX_VRING_SIZE}"
            )
        self.attachment.reconfigure(ring)
        ring.size = size

    def set_vring_base(self, payload: VringState, _message: Message) -> None:
        ring = self._ring(payload.index)
        packed = self.features is not None and Feature.RING_PACKED in self.features
        if payload.value > 0xFFFF and not packed:
            raise ProtocolError(f"virtqueue {ring.index} is to begin at index {payload.value}")
        self.attachment.reconfigure(ring)
        ring.base = payload.value
        if packed and not payload.value and ProtocolFeature.CONFIG in self.protocol_features:
            # User-mode Linux, which alone takes CONFIG, says 0 of every new ring; its driver
            # begins a packed one with wrap counter 1, as the standard has it.
            ring.base = _NEW_PACKED_RING

    def get_vring_base(self, payload: VringState, _message: Message) -> VringState:
        ring = self._ring(payload.index)
        self.attachment.reconfigure(ring)
        return VringState(ring.index, ring.base)

    def set_vring_addr(self, payload: VringAddress, _message: Message) -> None:
        ring = self._ring(payload.index)
        if ring.running and ring.lies_at(payload):
            # Only whether its log is wanted may have changed. All that is written is logged once
            # LOG_ALL is taken, and nobody translates addresses: a used ring is where it is.
            return
        ring.address, ring.adrift = payload, False
        self.attachment.restart(ring)

    def set_vring_kick(self, payload: VringFile, message: Message) -> None:
        ring = self._ring(payload.index)
        check_notification(payload, message, "kick", is_eventfd)
        ring.forget_kick()
        ring.kick = message.take_fd() if payload.has_fd else None
        ring.kicked = True
        self.attachment.restart(ring)

    def set_vring_call(self, payload: VringFile, message: Message) -> None:
        ring = self._ring(payload.index)
        check_notification(payload, message, "call", is_channel)
        if ring.running:
            self._plane.set_call(ring.index, message.fds[0].fileno() if payload.has_fd else -1)
        ring.forget_call()
        ring.call = message.take_fd() if payload.has_fd else None

    def set_vring_err(self, payload: VringFile, message: Message) -> None:
        # A front end learns of a broken ring from its device's status. The descriptor is closed
        # unused: writing to it could block us.
        self._ring(payload.index)
        check_notification(payload, message, "error", is_channel)

    def set_vring_enable(self, payload: VringState, _message: Message) -> None:
        ring = self._ring(payload.index)
        if payload.value > 1:
            raise ProtocolError(f"virtqueue {ring.index} is to be enabled with {payload.value}")
        self.attachment.set_enabled(ring, enabled=payload.value == 1)

    def _ring(self, index: int) -> Ring:
        if index >= len(self.rings):
            raise ProtocolError(f"virtqueue {index} of a port that has {len(self.rings)}")
        return self.rings[index]


class Entry(NamedTuple):
    """How one request is served."""

    name: str
    payload: type[Payload]
    max_fds: int
    handler: Callable[[Session, Any, Message], Payload | None]


TABLE: dict[int, Entry] = {
    request.value: Entry(request.name, payload, max_fds, handler)
    for request, payload, max_fds, handler in (
        (Request.GET_FEATURES, Empty, 0, Session.get_features),
        (Request.SET_FEATURES, Number, 0, Session.set_features),
        (Request.SET_OWNER, Empty, 0, Session.set_owner),
        (Request.RESET_OWNER, Empty, 0, Session.reset_device),
        (Request.SET_MEM_TABLE, MemoryTable, MAX_TABLE_ROWS, Session.set_mem_table),
        (Request.SET_LOG_BASE, LogArea, 1, Session.set_log_base),
        (Request.SET_LOG_FD, Empty, 1, Session.set_log_fd),
        (Request.SET_VRING_NUM, VringState, 0, Session.set_vring_num),
        (Request.SET_VRING_ADDR, VringAddress, 0, Session.set_vring_addr),
        (Request.SET_VRING_BASE, VringState, 0, Session.set_vring_base),
        (Request.GET_VRING_BASE, VringState, 0, Session.get_vring_base),
        (Request.SET_VRING_KICK, VringFile, 1, Session.set_vring_kick),
        (Request.SET_VRING_CALL, VringFile, 1, Session.set_vring_call),
        (Request.SET_VRING_ERR, VringFile, 1, Session.set_vring_err),
        (Request.GET_PROTOCOL_FEATURES, Empty, 0, Session.get_protocol_features),
        (Request.SET_PROTOCOL_FEATURES, Number, 0, Session.set_protocol_features),
        (Request.GET_QUEUE_NUM, Empty, 0, Session.get_queue_num),
        (Request.SET_VRING_ENABLE, VringState, 0, Session.set_vring_enable),
        (Request.SEND_RARP, Number, 0, Session.send_rarp),
        (Request.NET_SET_MTU, Number, 0, Session.net_set_mtu),
        (Request.SET_BACKEND_REQ_FD, Empty, 1, Session.set_backend_req_fd),
        (Request.GET_CONFIG, ConfigSpace, 0, Session.get_config),
        (Request.SET_CONFIG, ConfigSpace, 0, Session.set_config),
        (Request.RESET_DEVICE, Empty, 0, Session.reset_device),
        (Request.GET_MAX_MEM_SLOTS, Empty, 0, Session.get_max_mem_slots),
        (Request.ADD_MEM_REG, MemoryRow, 1, Session.add_mem_reg),
        # Some front ends send a descriptor with REM_MEM_REG; it is closed.
        (Request.REM_MEM_REG, MemoryRow, 1, Session.rem_mem_reg),
        (Request.SET_STATUS, Number, 0, Session.set_status),
        (Request.GET_STATUS, Empty, 0, Session.get_status),
    )
}


def _as_socket(fd: int) -> socket.socket:
    """Return a socket object of its own for the socket `fd`."""
    return socket.fromfd(fd, socket.AF_UNIX, socket.SOCK_STREAM)


def _require_offered(kind: str, taken: int, offered: int, names: type[IntFlag]) -> None:
    if extra := taken & ~int(offered):
        raise ProtocolError(f"{kind} were taken that were not offered: {words(extra, names)}")


def _require_fd(message: Message) -> None:
    if not message.fds:
        raise ProtocolError("the descriptor is missing")
