# SPDX-License-Identifier: BSD-2-Clause
"""One front end's session: what its messages do to the virtqueues of a port.

A handler writes down what it was told, then `_settle` compares what a ring should be with what it
is, and starts or stops it in the data plane. So the order in which a front end speaks matters
little, and front ends do differ: QEMU enables rings before anything else about them is known, and
never again; User-mode Linux enables them last, and takes their memory away after ENABLE(0) without
GET_VRING_BASE; DPDK does either.

    a ring     NUM, BASE, ADDR, CALL, ENABLE          KICK, and NUM, ADDR, SET_FEATURES,
               are remembered in any state             a memory table are known
                    +---------+                              +---------+
        new ------> | STOPPED | ---------------------------> |  READY  |
                    +---------+ <--------------------------- +---------+
                       ^   GET_VRING_BASE, NUM, BASE,          |    ^
                       |   SET_STATUS(0), RESET_*   ENABLE(1), |    | ENABLE(0)
                       |                   or bit 30 not taken v    |
                       |                                     +---------+
                       +------------------------------------ | RUNNING |  known to the data plane
                                  as above, or the           +---------+
                                  session ends
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ringpass.dataplane import MAX_MEMORY_SLOTS, MAX_VRING_SIZE, MemorySlot, VringConfig
from ringpass.errors import RingpassError
from ringpass.vhostuser.connection import Fd, Message
from ringpass.vhostuser.device import PROTOCOL_FEATURES, Device
from ringpass.vhostuser.messages import (
    MAX_TABLE_ROWS,
    ConfigSpace,
    DeviceStatus,
    Empty,
    Feature,
    HeaderFlag,
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
    reply,
    words,
)

log = logging.getLogger(__name__)

_ACK, _NACK = Number(0), Number(1)
#: Index 0 and wrap counter 1, of the next available and the next used descriptor.
_NEW_PACKED_RING = 0x8000_8000
_SHARE_MEMORY = (
    "start QEMU with -object memory-backend-memfd,id=mem,size=SIZE,share=on "
    "-machine memory-backend=mem"
)


class Plane(Protocol):
    """What a session asks of the data plane: `ringpass.dataplane.VhostPort`, and nothing more."""

    def broken(self) -> str | None: ...
    def repair(self) -> None: ...
    def set_features(self, features: int) -> None: ...
    def set_memory(self, slots: Sequence[MemorySlot], fds: Sequence[int]) -> None: ...
    def add_memory(self, slot: MemorySlot, fd: int) -> None: ...
    def remove_memory(self, slot: MemorySlot) -> None: ...
    def start_ring(self, vring: int, config: VringConfig) -> None: ...
    def set_call(self, vring: int, call_fd: int) -> None: ...
    def runs(self, vring: int) -> bool: ...
    def stop_ring(self, vring: int) -> int: ...


class Refused(Exception):
    """We do not do what was asked, and the session goes on if the front end waits for an answer."""


@dataclass
class Ring:
    """A virtqueue as its front end described it."""

    index: int
    size: int = 0
    base: int = 0
    address: VringAddress | None = None
    call: Fd | None = None
    kick: Fd | None = None
    kicked: bool = False
    """KICK came since the ring was last stopped, with a descriptor or to say that there is none."""
    enabled: bool | None = None
    """The last ENABLE, or None. It outlives everything but a reset of the device."""
    running: bool = False
    adrift: bool = False
    """Its memory was taken away while it ran; it goes on when that is back."""

    def forget_kick(self) -> None:
        """Go back to where a ring waits for KICK."""
        if self.kick is not None:
            self.kick.close()
        self.kick, self.kicked, self.adrift = None, False, False

    def forget_call(self) -> None:
        """Do not notify the front end."""
        if self.call is not None:
            self.call.close()
        self.call = None


class Region(NamedTuple):
    """A piece of guest memory and its file, kept to map it again when a broken port is repaired."""

    slot: MemorySlot
    fd: Fd


class Session:
    """The state of one front end. `handle` each message in turn, then `close`.

    Methods raise ProtocolError, or the data plane's RingpassError; either means that the session
    cannot go on.
    """

    def __init__(self, device: Device, plane: Plane) -> None:
        self.device = device
        self.features: Feature | None = None
        self.protocol_features = ProtocolFeature(0)
        self.status = DeviceStatus(0)
        self._memory: list[Region] = []
        self.rings = [Ring(index) for index in range(2 * device.pairs)]
        self._plane = plane
        self._owned = False
        self._offered: ProtocolFeature | None = None
        self._backend_channel: Fd | None = None

    @property
    def memory(self) -> list[MemorySlot]:
        """The guest memory that the front end described."""
        return [region.slot for region in self._memory]

    @property
    def memory_fds(self) -> list[int]:
        """The files of `memory`, in its order. They stay the session's."""
        return [region.fd.fileno() for region in self._memory]

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

    def repair(self) -> None:
        """Take the port back into service if it is broken, with the rings that it had."""
        if self._plane.broken() is not None:
            self._stop_all()
            self._repair_port()
            self._settle_all()

    def close(self) -> None:
        """Take the rings and the memory from the data plane, and close every descriptor.

        A broken port is as good as new for the next front end.
        """
        try:
            self._reset()
            self._plane.set_memory([], [])
            if self._plane.broken() is not None:
                self._plane.repair()
        except RingpassError as error:
            log.error("event=session-close-failed why=%r", error.why)
        for ring in self.rings:
            ring.forget_kick()
            ring.forget_call()
        self._forget_memory()
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
        return Number(self.device.features)

    def set_features(self, payload: Number, _message: Message) -> None:
        _require_offered("features", payload.value, self.device.features, Feature)
        if payload.value == self.features:
            return
        for ring in self.rings:
            self._stop(ring)
        self._plane.set_features(payload.value)
        self.features = Feature(payload.value)
        self._settle_all()

    def get_protocol_features(self, _payload: Empty, _message: Message) -> Number:
        if self._offered is None:
            # QEMU warns its user when a network device offers CONFIG, and User-mode Linux cannot do
            # without. They differ in this: QEMU asks before SET_OWNER (and again for each further
            # queue pair, after it), User-mode Linux owns the device first.
            unwanted = ProtocolFeature(0) if self._owned else ProtocolFeature.CONFIG
            self._offered = PROTOCOL_FEATURES & ~unwanted
        return Number(self._offered)

    def set_protocol_features(self, payload: Number, _message: Message) -> None:
        _require_offered("protocol features", payload.value, PROTOCOL_FEATURES, ProtocolFeature)
        self.protocol_features = ProtocolFeature(payload.value)

    def get_queue_num(self, _payload: Empty, _message: Message) -> Number:
        return Number(self.device.pairs)

    def get_config(self, payload: ConfigSpace, _message: Message) -> ConfigSpace:
        content = self.device.config(payload.offset, len(payload.content))
        return ConfigSpace(payload.offset, payload.flags, content)

    def set_config(self, _payload: ConfigSpace, _message: Message) -> None:
        raise Refused("the configuration of a network device is read-only")

    def net_set_mtu(self, payload: Number, _message: Message) -> None:
        if payload.value > self.device.mtu:
            raise Refused(f"an MTU of {payload.value}; the port has {self.device.mtu}")

    def set_backend_req_fd(self, _payload: Empty, message: Message) -> None:
        _require_fd(message)
        if self._backend_channel is not None:
            self._backend_channel.close()
        self._backend_channel = message.take_fd()

    # Life of the device

    def set_owner(self, _payload: Empty, _message: Message) -> None:
        self._owned = True

    def reset_device(self, _payload: Empty, _message: Message) -> None:
        self._reset()
        for ring in self.rings:
            ring.enabled = None

    def get_status(self, _payload: Empty, _message: Message) -> Number:
        needs_reset = DeviceStatus.NEEDS_RESET if self._plane.broken() else DeviceStatus(0)
        return Number(self.status | needs_reset)

    def set_status(self, payload: Number, _message: Message) -> None:
        self.status = DeviceStatus(payload.value & 0xFF) & ~DeviceStatus.NEEDS_RESET
        if payload.value == 0:
            self._reset()

    # Guest memory

    def set_mem_table(self, payload: MemoryTable, message: Message) -> None:
        if len(message.fds) < len(payload.rows):
            raise ProtocolError(
                f"guest memory is not shared: {len(payload.rows)} regions came with "
                f"{len(message.fds)} descriptors",
                _SHARE_MEMORY,
            )
        if len(message.fds) > len(payload.rows):
            raise ProtocolError(
                f"{len(message.fds)} descriptors for {len(payload.rows)} regions of memory"
            )
        for row, slot in enumerate(payload.rows):
            _check_slot(slot, payload.rows[:row])
        if self._plane.broken() is None:
            self._plane.set_memory(payload.rows, [fd.fileno() for fd in message.fds])
        self._forget_memory()
        self._memory = [Region(slot, message.take_fd()) for slot in payload.rows]
        self._settle_in_memory()

    def get_max_mem_slots(self, _payload: Empty, _message: Message) -> Number:
        return Number(MAX_MEMORY_SLOTS)

    def add_mem_reg(self, payload: MemoryRow, message: Message) -> None:
        if not message.fds:
            raise ProtocolError(
                "guest memory is not shared: a region came without descriptor", _SHARE_MEMORY
            )
        if payload.slot in self.memory:
            return  # QEMU 7.2 says it once for each queue pair
        if len(self._memory) >= MAX_MEMORY_SLOTS:
            raise ProtocolError(f"more than {MAX_MEMORY_SLOTS} regions of memory")
        _check_slot(payload.slot, self.memory)
        if self._plane.broken() is None:
            self._plane.add_memory(payload.slot, message.fds[0].fileno())
        self._memory.append(Region(payload.slot, message.take_fd()))
        self._settle_in_memory()

    def rem_mem_reg(self, payload: MemoryRow, _message: Message) -> None:
        for region in self._memory:
            if region.slot[:3] == payload.slot[:3]:
                break
        else:
            return  # QEMU 7.2 says it once for each queue pair
        if self._plane.broken() is None:
            self._plane.remove_memory(region.slot)
        self._memory.remove(region)
        region.fd.close()
        self._settle_in_memory()

    # Virtqueues

    def set_vring_num(self, payload: VringState, _message: Message) -> None:
        ring = self._ring(payload.index)
        size = payload.value
        if not 0 < size <= MAX_VRING_SIZE or size & (size - 1):
            raise ProtocolError(
                f"virtqueue {ring.index} of {size} entries; "
                f"it takes a power of two up to {MAX_VRING_SIZE}"
            )
        self._reconfigure(ring)
        ring.size = size

    def set_vring_base(self, payload: VringState, _message: Message) -> None:
        ring = self._ring(payload.index)
        packed = self.features is not None and Feature.RING_PACKED in self.features
        if payload.value > 0xFFFF and not packed:
            raise ProtocolError(f"virtqueue {ring.index} is to begin at index {payload.value}")
        self._reconfigure(ring)
        ring.base = payload.value
        if packed and not payload.value and ProtocolFeature.CONFIG in self.protocol_features:
            # User-mode Linux, which alone takes CONFIG, says 0 of every new ring; its driver
            # begins a packed one with wrap counter 1, as the standard has it.
            ring.base = _NEW_PACKED_RING

    def get_vring_base(self, payload: VringState, _message: Message) -> VringState:
        ring = self._ring(payload.index)
        self._reconfigure(ring)
        return VringState(ring.index, ring.base)

    def set_vring_addr(self, payload: VringAddress, _message: Message) -> None:
        ring = self._ring(payload.index)
        self._stop(ring)
        ring.address, ring.adrift = payload, False
        self._settle(ring)

    def set_vring_kick(self, payload: VringFile, message: Message) -> None:
        ring = self._ring(payload.index)
        _check_notification(payload, message, "kick", _is_eventfd)
        self._stop(ring)
        ring.forget_kick()
        ring.kick = message.take_fd() if payload.has_fd else None
        ring.kicked = True
        self._settle(ring)

    def set_vring_call(self, payload: VringFile, message: Message) -> None:
        ring = self._ring(payload.index)
        _check_notification(payload, message, "call", _is_channel)
        if ring.running:
            self._plane.set_call(ring.index, message.fds[0].fileno() if payload.has_fd else -1)
        ring.forget_call()
        ring.call = message.take_fd() if payload.has_fd else None

    def set_vring_err(self, payload: VringFile, message: Message) -> None:
        # A front end learns of a broken ring from its device's status. The descriptor is closed
        # unused: writing to it could block us.
        self._ring(payload.index)
        _check_notification(payload, message, "error", _is_channel)

    def set_vring_enable(self, payload: VringState, _message: Message) -> None:
        ring = self._ring(payload.index)
        if payload.value > 1:
            raise ProtocolError(f"virtqueue {ring.index} is to be enabled with {payload.value}")
        ring.enabled = payload.value == 1
        self._settle(ring)

    # What a ring should be, and what it is

    def _ring(self, index: int) -> Ring:
        if index >= len(self.rings):
            raise ProtocolError(f"virtqueue {index} of a port that has {len(self.rings)}")
        return self.rings[index]

    def _wanted(self, ring: Ring) -> bool:
        if self.features is None or not self._memory or ring.address is None:
            return False
        enabled = ring.enabled
        if enabled is None:
            enabled = Feature.PROTOCOL_FEATURES not in self.features
        return enabled and ring.kicked and ring.size > 0

    def _settle(self, ring: Ring) -> None:
        wanted = self._wanted(ring)
        if wanted and not ring.running:
            self._start(ring)
        elif ring.running and not wanted:
            self._stop(ring)

    def _settle_all(self) -> None:
        for ring in self.rings:
            self._settle(ring)

    def _settle_in_memory(self) -> None:
        """Settle all rings after a change of memory, which stops those that it has no place for."""
        for ring in self.rings:
            if ring.running and not self._plane.runs(ring.index) and not self._plane.broken():
                self._stop(ring)
                ring.adrift = True
        self._settle_all()

    def _start(self, ring: Ring) -> None:
        assert ring.address is not None
        if not any(other.running for other in self.rings):
            # Nothing is left of what broke the port, if anything did: the front end starts anew.
            self._repair_port()
        config = VringConfig(
            size=ring.size,
            base=ring.base,
            desc=ring.address.desc,
            avail=ring.address.avail,
            used=ring.address.used,
            kick_fd=-1 if ring.kick is None else ring.kick.fileno(),
            call_fd=-1 if ring.call is None else ring.call.fileno(),
        )
        try:
            self._plane.start_ring(ring.index, config)
        except RingpassError:
            # No fault of this message: another ring broke the port, or memory comes in pieces.
            if ring.adrift or self._plane.broken():
                return
            raise
        ring.running, ring.adrift = True, False

    def _repair_port(self) -> None:
        """Repair the port if it is broken; no ring runs.

        It gets its memory anew, for the data plane forgot it: a front end breaks its port by
        truncating memory, too.
        """
        if self._plane.broken() is not None:
            self._plane.repair()
            self._plane.set_memory(self.memory, self.memory_fds)

    def _stop(self, ring: Ring) -> None:
        if ring.running:
            ring.base = self._plane.stop_ring(ring.index)
            ring.running = False

    def _stop_all(self) -> None:
        for ring in self.rings:
            self._stop(ring)

    def _reconfigure(self, ring: Ring) -> None:
        """Stop `ring` until the next KICK, which follows everything that describes a ring."""
        self._stop(ring)
        ring.forget_kick()

    def _forget_memory(self) -> None:
        for region in self._memory:
            region.fd.close()
        self._memory = []

    def _reset(self) -> None:
        self.status = DeviceStatus(0)
        for ring in self.rings:
            self._reconfigure(ring)


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


def _require_offered(kind: str, taken: int, offered: int, names: type[IntFlag]) -> None:
    if extra := taken & ~int(offered):
        raise ProtocolError(f"{kind} were taken that were not offered: {words(extra, names)}")


def _require_fd(message: Message) -> None:
    if not message.fds:
        raise ProtocolError("the descriptor is missing")


def _check_notification(
    payload: VringFile, message: Message, what: str, accepts: Callable[[int], bool]
) -> None:
    """Check the descriptor that notifies of a virtqueue, and make using it never wait."""
    if payload.has_fd != bool(message.fds):
        presence = "missing" if payload.has_fd else "there although the message says it is not"
        raise ProtocolError(f"the {what} descriptor of virtqueue {payload.index} is {presence}")
    if message.fds:
        fd = message.fds[0].fileno()
        if not accepts(fd):
            raise ProtocolError(f"the {what} descriptor of virtqueue {payload.index} is no eventfd")
        os.set_blocking(fd, False)


def _is_eventfd(fd: int) -> bool:
    return _file(fd).startswith("anon_inode:[eventfd")


def _is_channel(fd: int) -> bool:
    """Whether `fd` notifies whoever has its other end; User-mode Linux sends a socket."""
    return _is_eventfd(fd) or _file(fd).startswith("socket:")


def _file(fd: int) -> str:
    """Name the file of `fd` without asking the file: it may be one that never answers."""
    return str(Path(f"/proc/self/fd/{fd}").readlink())


def _check_slot(slot: MemorySlot, others: Sequence[MemorySlot]) -> None:
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
