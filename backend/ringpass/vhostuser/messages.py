# SPDX-License-Identifier: BSD-2-Clause
"""The vhost-user messages as bytes: headers, payloads, numbers and feature bits.

Only the layout is here. What a message means is in `session`, how it travels in `connection`.
Both ends run on one machine, so integers are in its byte order.
"""

import struct
from dataclasses import astuple, dataclass
from enum import IntEnum, IntFlag
from typing import ClassVar, Self

from ringpass.dataplane import MemorySlot
from ringpass.errors import BrokenPort

#: The longest payload that is read at all; the longest that is understood has 268 bytes.
MAX_PAYLOAD = 1024
#: Rows of one SET_MEM_TABLE, and so the file descriptors of one message.
MAX_TABLE_ROWS = 8
#: Bytes of device configuration that GET_CONFIG may ask for.
MAX_CONFIG_BYTES = 256


class ProtocolError(BrokenPort):
    """The front end sent what the protocol forbids; its session is over."""

    def __init__(self, why: str, fix: str = "") -> None:
        super().__init__("the vhost-user session was closed", why, fix)


class Request(IntEnum):
    """The messages that we serve, by the numbers of the vhost-user specification."""

    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SEND_RARP = 19
    NET_SET_MTU = 20
    SET_BACKEND_REQ_FD = 21
    GET_CONFIG = 24
    SET_CONFIG = 25
    RESET_DEVICE = 34
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38
    SET_STATUS = 39
    GET_STATUS = 40


class BackendRequest(IntEnum):
    """What we may ask of the front end, on the channel that it gave us."""

    CONFIG_CHANGE = 2


class ProtocolFeature(IntFlag):
    """What GET_PROTOCOL_FEATURES may offer. Masks, not bit numbers."""

    MQ = 1 << 0
    LOG_SHMFD = 1 << 1
    RARP = 1 << 2
    REPLY_ACK = 1 << 3
    NET_MTU = 1 << 4
    BACKEND_REQ = 1 << 5
    CONFIG = 1 << 9
    RESET_DEVICE = 1 << 13
    CONFIGURE_MEM_SLOTS = 1 << 15
    STATUS = 1 << 16


class Feature(IntFlag):
    """Virtio feature bits of a network device. Masks, not bit numbers."""

    CSUM = 1 << 0
    GUEST_CSUM = 1 << 1
    MTU = 1 << 3
    MAC = 1 << 5
    GUEST_TSO4 = 1 << 7
    GUEST_TSO6 = 1 << 8
    GUEST_ECN = 1 << 9
    GUEST_UFO = 1 << 10
    HOST_TSO4 = 1 << 11
    HOST_TSO6 = 1 << 12
    HOST_ECN = 1 << 13
    HOST_UFO = 1 << 14
    MRG_RXBUF = 1 << 15
    STATUS = 1 << 16
    CTRL_VQ = 1 << 17
    GUEST_ANNOUNCE = 1 << 21
    MQ = 1 << 22
    NOTIFY_ON_EMPTY = 1 << 24
    LOG_ALL = 1 << 26
    """Between front end and back end only: log what is written to guest memory."""
    ANY_LAYOUT = 1 << 27
    INDIRECT_DESC = 1 << 28
    EVENT_IDX = 1 << 29
    PROTOCOL_FEATURES = 1 << 30
    VERSION_1 = 1 << 32
    ACCESS_PLATFORM = 1 << 33
    RING_PACKED = 1 << 34
    IN_ORDER = 1 << 35
    RING_RESET = 1 << 40


class DeviceStatus(IntFlag):
    """The virtio device status, as the guest's driver sets it."""

    ACKNOWLEDGE = 1 << 0
    DRIVER = 1 << 1
    DRIVER_OK = 1 << 2
    FEATURES_OK = 1 << 3
    NEEDS_RESET = 1 << 6
    FAILED = 1 << 7


def words(mask: int, kind: type[IntFlag]) -> list[str]:
    """Return the names of the bits in `mask`, lowest first; `bit N` for those without a name."""
    bits = (bit for bit in range(mask.bit_length()) if mask >> bit & 1)
    names = {member.value: str(member.name) for member in kind}
    return [names.get(1 << bit, f"bit {bit}") for bit in bits]


class HeaderFlag(IntFlag):
    """The flags word of a header: two bits of version, then these."""

    VERSION = 0x1
    VERSION_MASK = 0x3
    REPLY = 0x4
    NEED_REPLY = 0x8


@dataclass(frozen=True, slots=True)
class Fixed:
    """Words of a fixed layout: a header, or a payload that always has the same size."""

    LAYOUT: ClassVar[struct.Struct]

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Return what `data` holds. Raises ProtocolError if it has another size."""
        _expect_size(cls, len(data), cls.LAYOUT.size)
        return cls(*cls.LAYOUT.unpack(data))

    def pack(self) -> bytes:
        """Return the bytes."""
        return self.LAYOUT.pack(*astuple(self))


@dataclass(frozen=True, slots=True)
class Header(Fixed):
    """What every message begins with; `size` is the payload's, in bytes."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("=III")

    request: int
    flags: int
    size: int


@dataclass(frozen=True, slots=True)
class Empty(Fixed):
    """No payload."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("=")


@dataclass(frozen=True, slots=True)
class Number(Fixed):
    """One 64-bit number: a mask, a count, or an acknowledgement (0 is success)."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("=Q")

    value: int


@dataclass(frozen=True, slots=True)
class VringState(Fixed):
    """A number for one virtqueue."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("=II")

    index: int
    value: int


@dataclass(frozen=True, slots=True)
class VringAddress(Fixed):
    """Where the three parts of a virtqueue are, in the front end's own addresses."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("=IIQQQQ")

    index: int
    flags: int
    desc: int
    used: int
    avail: int
    log: int


@dataclass(frozen=True, slots=True)
class VringFile(Fixed):
    """Which virtqueue a kick, call or error descriptor is for, and whether there is one at all."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("=Q")
    INDEX_MASK: ClassVar[int] = 0xFF
    NO_FD: ClassVar[int] = 0x100

    value: int

    @property
    def index(self) -> int:
        """The virtqueue."""
        return self.value & self.INDEX_MASK

    @property
    def has_fd(self) -> bool:
        """Whether a descriptor comes with the message."""
        return not self.value & self.NO_FD


@dataclass(frozen=True, slots=True)
class MemoryTable:
    """The whole guest memory, one file descriptor a row."""

    HEAD: ClassVar[struct.Struct] = struct.Struct("=II")
    ROW: ClassVar[struct.Struct] = struct.Struct("=QQQQ")

    rows: tuple[MemorySlot, ...]

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Return the table. Raises ProtocolError for too many rows, or too few bytes for them.

        More bytes are no harm: User-mode Linux always sends room for two rows.
        """
        if len(data) < cls.HEAD.size:
            raise ProtocolError(f"a memory table of {len(data)} bytes has no row count")
        count, _padding = cls.HEAD.unpack_from(data)
        if count > MAX_TABLE_ROWS:
            raise ProtocolError(f"a memory table of {count} rows; {MAX_TABLE_ROWS} are allowed")
        end = cls.HEAD.size + count * cls.ROW.size
        if len(data) < end:
            raise ProtocolError(f"a memory table of {count} rows in {len(data)} bytes")
        rows = cls.ROW.iter_unpack(data[cls.HEAD.size : end])
        return cls(tuple(MemorySlot(*row) for row in rows))

    def pack(self) -> bytes:
        """Return the bytes."""
        head = self.HEAD.pack(len(self.rows), 0)
        return head + b"".join(self.ROW.pack(*row) for row in self.rows)


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """One row of guest memory, to be added or removed."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("=QQQQQ")

    slot: MemorySlot

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Return the row. Raises ProtocolError if `data` has another size."""
        _expect_size(cls, len(data), cls.LAYOUT.size)
        _padding, *row = cls.LAYOUT.unpack(data)
        return cls(MemorySlot(*row))

    def pack(self) -> bytes:
        """Return the bytes."""
        return self.LAYOUT.pack(0, *self.slot)


@dataclass(frozen=True, slots=True)
class LogArea(Fixed):
    """Where in its file the bitmap of dirty pages is, in bytes."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("=QQ")

    size: int
    offset: int


@dataclass(frozen=True, slots=True)
class ConfigSpace:
    """A piece of the virtio device configuration; a question is as long as its answer."""

    HEAD: ClassVar[struct.Struct] = struct.Struct("=III")

    offset: int
    flags: int
    content: bytes

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Return the piece. Raises ProtocolError if its sizes disagree or are too large."""
        if len(data) < cls.HEAD.size:
            raise ProtocolError(f"a configuration message of {len(data)} bytes is too short")
        offset, size, flags = cls.HEAD.unpack_from(data)
        if offset + size > MAX_CONFIG_BYTES:
            raise ProtocolError(
                f"bytes {offset} to {offset + size} of the configuration were asked for; "
                f"it has {MAX_CONFIG_BYTES}"
            )
        _expect_size(cls, len(data), cls.HEAD.size + size)
        return cls(offset, flags, data[cls.HEAD.size :])

    def pack(self) -> bytes:
        """Return the bytes."""
        return self.HEAD.pack(self.offset, len(self.content), self.flags) + self.content


Payload = (
    Empty
    | Number
    | VringState
    | VringAddress
    | VringFile
    | MemoryTable
    | MemoryRow
    | LogArea
    | ConfigSpace
)


def config_change() -> bytes:
    """Return the bytes that tell a front end to read the device configuration again."""
    return Header(BackendRequest.CONFIG_CHANGE, HeaderFlag.VERSION, 0).pack()


def reply(request: int, payload: Payload) -> bytes:
    """Return the bytes of an answer to `request`, with the flags that User-mode Linux demands."""
    body = payload.pack()
    return Header(request, HeaderFlag.VERSION | HeaderFlag.REPLY, len(body)).pack() + body


def _expect_size(kind: type, got: int, wanted: int) -> None:
    if got != wanted:
        raise ProtocolError(f"a payload of {got} bytes; {kind.__name__} has {wanted}")
