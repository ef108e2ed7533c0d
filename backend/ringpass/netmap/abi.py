# SPDX-License-Identifier: BSD-2-Clause
"""The structures of netmap's control device, byte for byte (NETMAP_API 14 and 15, x86-64).

Each structure is a dataclass whose fields are in the order of its `LAYOUT`, in netmap's own words
without the prefix `nr_`. All numbers are as in memory: little-endian, padding written out.
"""

from dataclasses import astuple, dataclass, fields
from enum import IntEnum, IntFlag
from struct import Struct
from typing import ClassVar, Self

API_MIN, API_MAX = 14, 15
NAME_BYTES = 64
LEGACY_NAME_BYTES = 16
#: Bytes that a request's body and options may have together.
MAX_REQUEST_BYTES = 4096


class Request(IntEnum):
    """`nr_reqtype`."""

    REGISTER = 1
    PORT_INFO_GET = 2
    VALE_ATTACH = 3
    VALE_DETACH = 4
    VALE_LIST = 5
    PORT_HDR_SET = 6
    PORT_HDR_GET = 7
    VALE_NEWIF = 8
    VALE_DELIF = 9
    VALE_POLLING_ENABLE = 10
    VALE_POLLING_DISABLE = 11
    POOLS_INFO_GET = 12
    SYNC_KLOOP_START = 13
    SYNC_KLOOP_STOP = 14
    CSB_ENABLE = 15


class OptionType(IntEnum):
    """`nro_reqtype`."""

    EXTMEM = 1
    SYNC_KLOOP_EVENTFDS = 2
    CSB = 3
    SYNC_KLOOP_MODE = 4
    OFFSETS = 5


class Mode(IntEnum):
    """`nr_mode`: which rings of a port are meant."""

    DEFAULT = 0
    ALL_NIC = 1
    SW = 2
    NIC_SW = 3
    ONE_NIC = 4
    PIPE_MASTER = 5
    PIPE_SLAVE = 6
    NULL = 7
    ONE_SW = 8


class Flag(IntFlag):
    """`nr_flags` of a registration."""

    MONITOR_TX = 0x100
    MONITOR_RX = 0x200
    ZCOPY_MON = 0x400
    EXCLUSIVE = 0x800
    RX_RINGS_ONLY = 0x2000
    TX_RINGS_ONLY = 0x4000
    ACCEPT_VNET_HDR = 0x8000
    DO_RX_POLL = 0x10000
    NO_TX_POLL = 0x20000


class LegacyCommand(IntEnum):
    """`nr_cmd` of `struct nmreq`."""

    NONE = 0
    ATTACH = 1
    DETACH = 2
    REGOPS = 3
    LIST = 4
    VNET_HDR = 5
    NEWIF = 6
    DELIF = 7
    PT_HOST_CREATE = 8
    PT_HOST_DELETE = 9
    POLLING_ON = 10
    POLLING_OFF = 11
    VNET_HDR_GET = 12


@dataclass
class Body:
    """What is common to all structures here. A subclass has a `LAYOUT`."""

    LAYOUT: ClassVar[Struct]

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Return the structure in `data`, which has exactly its size."""
        return cls(*cls.LAYOUT.unpack(data))

    def pack(self) -> bytes:
        """Return the structure's bytes."""
        return self.LAYOUT.pack(*astuple(self))

    @classmethod
    def bytes(cls) -> int:
        """Return the structure's size."""
        return cls.LAYOUT.size

    @classmethod
    def words(cls) -> list[str]:
        """Return the names of the fields."""
        return [field.name for field in fields(cls)]


@dataclass
class Header(Body):
    """`struct nmreq_header`; of the pointers only whether they are NULL is of interest."""

    LAYOUT: ClassVar = Struct("<HHI64sQQ")
    version: int = API_MAX
    reqtype: int = 0
    reserved: int = 0
    name: bytes = b""
    options: int = 0
    body: int = 0


@dataclass
class Register(Body):
    """`struct nmreq_register`."""

    LAYOUT: ClassVar = Struct("<QQIIHHHHHHII4xQ")
    offset: int = 0
    memsize: int = 0
    tx_slots: int = 0
    rx_slots: int = 0
    tx_rings: int = 0
    rx_rings: int = 0
    host_tx_rings: int = 0
    host_rx_rings: int = 0
    mem_id: int = 0
    ringid: int = 0
    mode: int = 0
    extra_bufs: int = 0
    flags: int = 0


@dataclass
class PortInfo(Body):
    """`struct nmreq_port_info_get`."""

    LAYOUT: ClassVar = Struct("<QIIHHHHH6x")
    memsize: int = 0
    tx_slots: int = 0
    rx_slots: int = 0
    tx_rings: int = 0
    rx_rings: int = 0
    host_tx_rings: int = 0
    host_rx_rings: int = 0
    mem_id: int = 0


@dataclass
class ValeAttach(Body):
    """`struct nmreq_vale_attach`; `reg` holds a `Register`."""

    LAYOUT: ClassVar = Struct("<56sI4x")
    reg: bytes = bytes(56)
    port_index: int = 0


@dataclass
class ValeDetach(Body):
    """`struct nmreq_vale_detach`."""

    LAYOUT: ClassVar = Struct("<I4x")
    port_index: int = 0


@dataclass
class ValeList(Body):
    """`struct nmreq_vale_list`."""

    LAYOUT: ClassVar = Struct("<H2xI")
    bridge_idx: int = 0
    port_idx: int = 0


@dataclass
class PortHeader(Body):
    """`struct nmreq_port_hdr`."""

    LAYOUT: ClassVar = Struct("<I4x")
    hdr_len: int = 0


@dataclass
class ValeNewif(Body):
    """`struct nmreq_vale_newif`."""

    LAYOUT: ClassVar = Struct("<IIHHH2x")
    tx_slots: int = 0
    rx_slots: int = 0
    tx_rings: int = 0
    rx_rings: int = 0
    mem_id: int = 0


@dataclass
class ValePolling(Body):
    """`struct nmreq_vale_polling`."""

    LAYOUT: ClassVar = Struct("<III4x")
    SINGLE_CPU: ClassVar = 1
    MULTI_CPU: ClassVar = 2
    mode: int = 0
    first_cpu: int = 0
    num_cpus: int = 0


@dataclass
class PoolsInfo(Body):
    """`struct nmreq_pools_info`."""

    LAYOUT: ClassVar = Struct("<QH6xQIIQIIQII")
    memsize: int = 0
    mem_id: int = 0
    if_pool_offset: int = 0
    if_pool_objtotal: int = 0
    if_pool_objsize: int = 0
    ring_pool_offset: int = 0
    ring_pool_objtotal: int = 0
    ring_pool_objsize: int = 0
    buf_pool_offset: int = 0
    buf_pool_objtotal: int = 0
    buf_pool_objsize: int = 0


@dataclass
class KloopStart(Body):
    """`struct nmreq_sync_kloop_start`."""

    LAYOUT: ClassVar = Struct("<I4x")
    sleep_us: int = 0


@dataclass
class OptionHeader(Body):
    """`struct nmreq_option`."""

    LAYOUT: ClassVar = Struct("<QIIQ")
    next: int = 0
    reqtype: int = 0
    status: int = 0
    size: int = 0


@dataclass
class Extmem(Body):
    """What follows the header in `struct nmreq_opt_extmem`; `info` holds a `PoolsInfo`."""

    LAYOUT: ClassVar = Struct("<Q64s")
    usrptr: int = 0
    info: bytes = bytes(64)


@dataclass
class Csb(Body):
    """What follows the header in `struct nmreq_opt_csb`."""

    LAYOUT: ClassVar = Struct("<QQ")
    atok: int = 0
    ktoa: int = 0


@dataclass
class KloopMode(Body):
    """What follows the header in `struct nmreq_opt_sync_kloop_mode`."""

    LAYOUT: ClassVar = Struct("<I4x")
    DIRECT_TX: ClassVar = 1
    DIRECT_RX: ClassVar = 2
    mode: int = 0


@dataclass
class Offsets(Body):
    """What follows the header in `struct nmreq_opt_offsets`."""

    LAYOUT: ClassVar = Struct("<QQIIQ")
    max_offset: int = 0
    initial_offset: int = 0
    offset_bits: int = 0
    tx_align: int = 0
    min_gap: int = 0


@dataclass
class LegacyRequest(Body):
    """`struct nmreq`."""

    LAYOUT: ClassVar = Struct("<16sIIIIIHHHHHHIII")
    name: bytes = b""
    version: int = API_MAX
    offset: int = 0
    memsize: int = 0
    tx_slots: int = 0
    rx_slots: int = 0
    tx_rings: int = 0
    rx_rings: int = 0
    ringid: int = 0
    cmd: int = 0
    arg1: int = 0
    arg2: int = 0
    arg3: int = 0
    flags: int = 0
    spare: int = 0


#: The body of each request; None: it has none.
BODIES: dict[Request, type[Body] | None] = {
    Request.REGISTER: Register,
    Request.PORT_INFO_GET: PortInfo,
    Request.VALE_ATTACH: ValeAttach,
    Request.VALE_DETACH: ValeDetach,
    Request.VALE_LIST: ValeList,
    Request.PORT_HDR_SET: PortHeader,
    Request.PORT_HDR_GET: PortHeader,
    Request.VALE_NEWIF: ValeNewif,
    Request.VALE_DELIF: None,
    Request.VALE_POLLING_ENABLE: ValePolling,
    Request.VALE_POLLING_DISABLE: ValePolling,
    Request.POOLS_INFO_GET: PoolsInfo,
    Request.SYNC_KLOOP_START: KloopStart,
    Request.SYNC_KLOOP_STOP: None,
    Request.CSB_ENABLE: None,
}

#: The body of each option; None: its size is in `nro_size`.
OPTION_BODIES: dict[OptionType, type[Body] | None] = {
    OptionType.EXTMEM: Extmem,
    OptionType.SYNC_KLOOP_EVENTFDS: None,
    OptionType.CSB: Csb,
    OptionType.SYNC_KLOOP_MODE: KloopMode,
    OptionType.OFFSETS: Offsets,
}


def text(field: bytes) -> str:
    """Return the text in a `char[]` field, without what follows its end.

    Bytes that are no UTF-8 stay what they are when the text is encoded again.
    """
    return field.split(b"\0", 1)[0].decode(errors="surrogateescape")


def chars(name: str) -> bytes:
    """Return `name` for a `char[]` field; `Struct` pads it with zeros."""
    return name.encode(errors="surrogateescape")
