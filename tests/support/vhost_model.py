# SPDX-License-Identifier: BSD-2-Clause
"""What a front end may say and what becomes of a port: the rules once more, in their shortest form.

Written from the specification and from what front ends do, not from `ringpass.vhostuser`, which is
held against it. It knows which virtqueues must run, where they begin, how every message is
answered, and which messages end the session.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ringpass.vhostuser import messages as m
from ringpass.vhostuser.device import PROTOCOL_FEATURES, Device
from ringpass.vhostuser.messages import Feature, ProtocolFeature, Request

PAIRS = 2
RINGS = 2 * PAIRS
ENTRIES = 64
"""Of every virtqueue that there is in the guest's memory."""

LOG_BYTES = 4096
"""Of the file of every dirty log."""

BIT_30 = Feature.PROTOCOL_FEATURES


class Over(Exception):
    """The message ends the session."""


class Refused(Exception):
    """The front end is told no if it waits for an answer; else the session ends."""


@dataclass(frozen=True)
class Area:
    """A piece of guest memory that a front end may offer, and which virtqueues lie in it."""

    name: str
    slot: tuple[int, int, int, int]
    rings: frozenset[int] = frozenset()
    sound: bool = True
    """It can be, if nothing else is in its place."""
    mappable: bool = True
    """Its file is as long as it says."""


@dataclass
class Vring:
    """A virtqueue as it must be."""

    index: int
    size: int = 0
    base: int = 0
    addressed: bool | None = None
    """Whether the address that was given is that of a virtqueue; None: none was."""
    kicked: bool = False
    enabled: bool | None = None
    running: bool = False
    adrift: bool = False
    """Its memory was taken away while it ran: it goes on when that is back."""


@dataclass(frozen=True)
class Log:
    """A bitmap that a front end shares."""

    covered: int
    """Bytes of guest memory."""
    mappable: bool


@dataclass
class Message:
    """A message and what it is made of."""

    request: int
    payload: m.Payload
    fds: tuple[str, ...] = ()
    """Kinds of descriptors."""
    areas: tuple[Area, ...] = ()
    """What the memory rows in it describe."""
    addressed: bool = True
    """Whether the address in it is that of a virtqueue."""
    extra: int = 0
    """Bytes more, or fewer, than the payload has."""


@dataclass
class Guest:
    """The driver's side of the virtqueues: what it said in its memory."""

    available: list[int] = field(default_factory=lambda: [0] * RINGS)
    used: list[int] = field(default_factory=lambda: [0] * RINGS)


class Model:
    """A port with its front end, if it has one."""

    def __init__(self, device: Device, guest: Guest, *, holds: bool = True) -> None:
        self.device = device
        self.guest = guest
        self.holds = holds
        """Whether the port is this front end's; what a standby says is remembered."""
        self.broken = False
        self.connect()

    def connect(self) -> None:
        """Begin a session."""
        self.features: int | None = None
        self.protocol = ProtocolFeature(0)
        self.owned = False
        self.owned_first: bool | None = None
        """Whether it owned the device before its first question, as User-mode Linux does."""
        self.log: Log | None = None
        self.logging = False
        self.status = 0
        self.memory: list[Area] = []
        self.rings = [Vring(index) for index in range(RINGS)]

    def end(self) -> None:
        """End the session; the next one finds a port like new."""
        self.connect()
        self.broken = False

    def take_port(self) -> None:
        """Let a standby hold the port. Raises Over if what it said cannot be."""
        self.holds = True
        _require(all(area.mappable for area in self.memory))
        self._settle(*self.rings)
        self._settle_log()

    def live(self, index: int) -> bool:
        """Whether a virtqueue moves frames."""
        return self.rings[index].running and not self.broken

    @property
    def packed(self) -> bool:
        """Whether virtqueues are packed ones. What the guest makes available is split ones'."""
        return bool((self.features or 0) & Feature.RING_PACKED)

    def hear(self, message: Message, *, need_reply: bool) -> bytes | None:
        """Return the payload of the answer to a message. Raises Over."""
        try:
            answer = self._hear(message)
        except Refused:
            if not (need_reply and ProtocolFeature.REPLY_ACK in self.protocol):
                raise Over from None
            return m.Number(1).pack()
        if answer is None and need_reply and ProtocolFeature.REPLY_ACK in self.protocol:
            answer = m.Number(0)
        return None if answer is None else answer.pack()

    def _hear(self, message: Message) -> m.Payload | None:
        if message.request not in RULES:
            raise Refused
        rule = RULES[message.request]
        _require(len(message.fds) <= (8 if message.request == Request.SET_MEM_TABLE else rule.fd))
        # User-mode Linux sends a table with room for two rows, whatever is in it.
        room = message.extra > 0 and message.request == Request.SET_MEM_TABLE
        _require(message.extra == 0 or room)
        return rule.apply(self, message)

    def work(self) -> bool:
        """Let the worker take what the guest made available; return whether that broke the port."""
        for ring in self.rings[1::2]:
            if not self.live(ring.index) or self.packed:
                continue
            ready = (self.guest.available[ring.index] - ring.base) & 0xFFFF
            if ready > ring.size:
                self.broken = True
            else:
                self._use(ring, ready)
        return self.broken

    def repair(self) -> None:
        """Let an administrator repair the port, if it is broken."""
        if self.broken:
            self._stop(*self.rings)
            self.broken = False
            self._map_anew()
            self._settle(*self.rings)

    def receive(self) -> bool:
        """Let a frame come for the first virtqueue; return whether there is a buffer for it."""
        ring = self.rings[0]
        if not self.live(0) or self.packed:
            return False
        ready = (self.guest.available[0] - ring.base) & 0xFFFF
        if ready > ring.size:
            self.broken = True
        elif ready > 0:
            self._use(ring, 1)
        return not self.broken and ready > 0

    def _use(self, ring: Vring, buffers: int) -> None:
        ring.base = (ring.base + buffers) & 0xFFFF
        self.guest.used[ring.index] = (self.guest.used[ring.index] + buffers) & 0xFFFF

    # One method a message

    def get_features(self, _: Message) -> m.Payload:
        announce = Feature(0) if self._manner() else Feature.GUEST_ANNOUNCE
        return m.Number(self.device.features | announce)

    def set_features(self, message: Message) -> None:
        value, before = _number(message), self.features
        _require(not value & ~int(self.device.features | Feature.GUEST_ANNOUNCE))
        self.features = value
        if before is None or (before ^ value) & ~Feature.LOG_ALL:
            self._stop(*self.rings)
        self._settle_log()
        self._settle(*self.rings)

    def get_protocol_features(self, _: Message) -> m.Payload:
        hidden = ProtocolFeature.CONFIG | ProtocolFeature.BACKEND_REQ
        return m.Number(PROTOCOL_FEATURES & ~(ProtocolFeature(0) if self._manner() else hidden))

    def _manner(self) -> bool:
        if self.owned_first is None:
            self.owned_first = self.owned
        return self.owned_first

    def set_protocol_features(self, message: Message) -> None:
        _require(not _number(message) & ~int(PROTOCOL_FEATURES))
        self.protocol = ProtocolFeature(_number(message))

    def get_queue_num(self, _: Message) -> m.Payload:
        return m.Number(PAIRS)

    def get_config(self, message: Message) -> m.Payload:
        asked = message.payload
        assert isinstance(asked, m.ConfigSpace)
        link = int(not self.broken).to_bytes(2, "little")
        known = self.device.mac + link + PAIRS.to_bytes(2, "little")
        known += self.device.mtu.to_bytes(2, "little") + bytes(256)
        content = known[asked.offset : asked.offset + len(asked.content)]
        return m.ConfigSpace(asked.offset, asked.flags, content)

    def set_config(self, _: Message) -> None:
        raise Refused

    def net_set_mtu(self, message: Message) -> None:
        if _number(message) > self.device.mtu:
            raise Refused

    def set_backend_req_fd(self, message: Message) -> None:
        _require(message.fds == ("socket",))

    def send_rarp(self, _: Message) -> None:
        pass

    def set_log_base(self, message: Message) -> m.Payload:
        if ProtocolFeature.LOG_SHMFD not in self.protocol:
            raise Refused
        _require(bool(message.fds))
        area = message.payload
        assert isinstance(area, m.LogArea)
        fits = 0 < area.size <= LOG_BYTES - area.offset
        self.log = Log(area.size * 8 * 4096, fits and message.fds == ("log",))
        self._settle_log(changed=True)
        return m.Number(0)

    def set_log_fd(self, message: Message) -> None:
        _require(bool(message.fds))

    def set_owner(self, _: Message) -> None:
        self.owned = True

    def reset(self, _: Message) -> None:
        self.status = 0
        for ring in self.rings:
            self._await_kick(ring)
            ring.enabled = None

    def get_status(self, _: Message) -> m.Payload:
        return m.Number(self.status | (m.DeviceStatus.NEEDS_RESET if self.broken else 0))

    def set_status(self, message: Message) -> None:
        self.status = _number(message)
        if self.features is None:
            self.status &= ~m.DeviceStatus.FEATURES_OK
        if _number(message) == 0:
            for ring in self.rings:
                self._await_kick(ring)

    def get_max_mem_slots(self, _: Message) -> m.Payload:
        return m.Number(509)

    def set_mem_table(self, message: Message) -> None:
        _require(len(message.fds) == len(message.areas))
        memory: list[Area] = []
        for area, fd in zip(message.areas, message.fds, strict=True):
            memory.append(self._checked(area, fd, memory))
        self.memory = memory
        self._settle_in_memory()

    def add_mem_reg(self, message: Message) -> None:
        (area,) = message.areas
        _require(len(message.fds) == 1)
        if not self._known(area):  # QEMU says it once for each queue pair
            self.memory.append(self._checked(area, message.fds[0], self.memory))
            self._settle_in_memory()

    def rem_mem_reg(self, message: Message) -> None:
        (area,) = message.areas
        if known := self._known(area):
            self.memory.remove(known)
            self._settle_in_memory()

    def set_vring_num(self, message: Message) -> None:
        ring, value = self._state(message)
        _require(value in (1 << bit for bit in range(16)))
        self._await_kick(ring)
        ring.size = value

    def set_vring_base(self, message: Message) -> None:
        ring, value = self._state(message)
        _require(value <= 0xFFFF or self.packed)
        self._await_kick(ring)
        ring.base = value
        if self.packed and value == 0 and ProtocolFeature.CONFIG in self.protocol:
            ring.base = 0x80008000  # User-mode Linux means a new ring

    def get_vring_base(self, message: Message) -> m.Payload:
        ring, _ = self._state(message)
        self._await_kick(ring)
        return m.VringState(ring.index, ring.base)

    def set_vring_addr(self, message: Message) -> None:
        payload = message.payload
        assert isinstance(payload, m.VringAddress)
        ring = self._ring(payload.index)
        if ring.running and ring.addressed and message.addressed:
            return
        self._stop(ring)
        ring.addressed, ring.adrift = message.addressed, False
        self._settle(ring)

    def set_vring_kick(self, message: Message) -> None:
        ring = self._notification(message, "eventfd")
        self._stop(ring)
        ring.kicked, ring.adrift = True, False
        self._settle(ring)

    def set_vring_call(self, message: Message) -> None:
        self._notification(message, "eventfd", "socket")

    def set_vring_enable(self, message: Message) -> None:
        ring, value = self._state(message)
        _require(value <= 1)
        ring.enabled = bool(value)
        self._settle(ring)

    # What follows from it

    def _ring(self, index: int) -> Vring:
        _require(index < RINGS)
        return self.rings[index]

    def _state(self, message: Message) -> tuple[Vring, int]:
        assert isinstance(message.payload, m.VringState)
        return self._ring(message.payload.index), message.payload.value

    def _notification(self, message: Message, *kinds: str) -> Vring:
        payload = message.payload
        assert isinstance(payload, m.VringFile)
        ring = self._ring(payload.value & 0xFF)
        _require(len(message.fds) == (0 if payload.value & 0x100 else 1))
        _require(set(message.fds) <= set(kinds))
        return ring

    def _known(self, area: Area) -> Area | None:
        return next((known for known in self.memory if known.slot == area.slot), None)

    def _checked(self, area: Area, fd: str, others: list[Area]) -> Area:
        """Return the area with what its file is good for, which may be looked at later."""
        area = replace(area, mappable=area.mappable and fd == "memory")
        _require(area.sound and (area.mappable or self.broken or not self.holds))
        start, size, user, _ = area.slot
        for other in others:
            begin, length, address, _ = other.slot
            _require(start + size <= begin or begin + length <= start)
            _require(user + size <= address or address + length <= user)
        return area

    def _wanted(self, ring: Vring) -> bool:
        if self.features is None or not self.memory or ring.addressed is None:
            return False
        enabled = ring.enabled if ring.enabled is not None else not self.features & BIT_30
        return enabled and ring.kicked and ring.size > 0

    def _in_memory(self, ring: Vring) -> bool:
        return bool(ring.addressed) and any(ring.index in area.rings for area in self.memory)

    def _settle(self, *rings: Vring) -> None:
        for ring in rings:
            if not self._wanted(ring):
                self._stop(ring)
            elif not ring.running:
                self._start(ring)

    def _settle_in_memory(self) -> None:
        _require(self.broken or not self.logging or self._covered())
        for ring in self.rings:
            if ring.running and not self.broken and not self._in_memory(ring):
                self._stop(ring)
                ring.adrift = True
        self._settle(*self.rings)

    def _start(self, ring: Vring) -> None:
        if not self.holds:
            return
        if self.broken:
            if any(other.running for other in self.rings):
                return
            self.broken = False
            self._map_anew()
        if not self._in_memory(ring):
            _require(ring.adrift)
            return
        if self.packed:
            _require(ring.base & 0x7FFF < ring.size)
        # Both halves of a packed ring's base are equal: nothing is in flight when a ring stops.
        ring.base = (ring.base & 0xFFFF) * (0x10001 if self.packed else 1)
        ring.running, ring.adrift = True, False
        self._settle_log()

    def _map_anew(self) -> None:
        _require(all(area.mappable for area in self.memory))
        self.logging = False
        self._settle_log()

    def _settle_log(self, *, changed: bool = False) -> None:
        if self.broken or not self.holds:
            return
        if not (self.features or 0) & Feature.LOG_ALL:
            self.logging = False
        elif self.log and (changed or not self.logging):
            _require(self.log.mappable and self._covered())
            self.logging = True

    def _covered(self) -> bool:
        assert self.log is not None
        return all(area.slot[0] + area.slot[1] <= self.log.covered for area in self.memory)

    def _stop(self, *rings: Vring) -> None:
        for ring in rings:
            ring.running = False

    def _await_kick(self, ring: Vring) -> None:
        ring.running = ring.kicked = ring.adrift = False
        if not any(other.kicked for other in self.rings):
            self.log, self.logging = None, False


@dataclass(frozen=True)
class Rule:
    """How a message is understood; `fd`: a descriptor may come with it."""

    apply: Callable[[Model, Message], m.Payload | None]
    fd: bool = False


RULES: dict[int, Rule] = {
    Request.GET_FEATURES: Rule(Model.get_features),
    Request.SET_FEATURES: Rule(Model.set_features),
    Request.SET_OWNER: Rule(Model.set_owner),
    Request.RESET_OWNER: Rule(Model.reset),
    Request.SET_MEM_TABLE: Rule(Model.set_mem_table, fd=True),
    Request.SET_LOG_BASE: Rule(Model.set_log_base, fd=True),
    Request.SET_LOG_FD: Rule(Model.set_log_fd, fd=True),
    Request.SET_VRING_NUM: Rule(Model.set_vring_num),
    Request.SET_VRING_ADDR: Rule(Model.set_vring_addr),
    Request.SET_VRING_BASE: Rule(Model.set_vring_base),
    Request.GET_VRING_BASE: Rule(Model.get_vring_base),
    Request.SET_VRING_KICK: Rule(Model.set_vring_kick, fd=True),
    Request.SET_VRING_CALL: Rule(Model.set_vring_call, fd=True),
    Request.SET_VRING_ERR: Rule(Model.set_vring_call, fd=True),
    Request.GET_PROTOCOL_FEATURES: Rule(Model.get_protocol_features),
    Request.SET_PROTOCOL_FEATURES: Rule(Model.set_protocol_features),
    Request.GET_QUEUE_NUM: Rule(Model.get_queue_num),
    Request.SET_VRING_ENABLE: Rule(Model.set_vring_enable),
    Request.SEND_RARP: Rule(Model.send_rarp),
    Request.NET_SET_MTU: Rule(Model.net_set_mtu),
    Request.SET_BACKEND_REQ_FD: Rule(Model.set_backend_req_fd, fd=True),
    Request.GET_CONFIG: Rule(Model.get_config),
    Request.SET_CONFIG: Rule(Model.set_config),
    Request.RESET_DEVICE: Rule(Model.reset),
    Request.GET_MAX_MEM_SLOTS: Rule(Model.get_max_mem_slots),
    Request.ADD_MEM_REG: Rule(Model.add_mem_reg, fd=True),
    Request.REM_MEM_REG: Rule(Model.rem_mem_reg, fd=True),
    Request.SET_STATUS: Rule(Model.set_status),
    Request.GET_STATUS: Rule(Model.get_status),
}


def _number(message: Message) -> int:
    assert isinstance(message.payload, m.Number)
    return message.payload.value


def _require(condition: bool) -> None:
    if not condition:
        raise Over
