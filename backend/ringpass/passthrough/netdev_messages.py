# SPDX-License-Identifier: BSD-2-Clause
"""What QEMU's `-netdev ringpass` and the backend say to each other: csrc/abi/rp_netdev.h in Python.

Requests come from a process that a guest may have taken over. What `parse` returns has the size
and the descriptors that its operation asks for; what the numbers mean is for who uses them.
"""

import errno
from enum import IntEnum, IntFlag
from struct import Struct as Layout
from typing import NamedTuple

from ringpass.dataplane import GuestRecord, Pool, Pools, RegionInfo
from ringpass.errors import RingpassError
from ringpass.sockets import Packet

MAGIC = 0x646E7072
VERSION = 1
MAX_BYTES = 8192
MAX_PAIRS = 126

MESSAGE = Layout("<IHHIIIi232s")
HELLO = Layout("<QIIII")
PORT = Layout("<QQQIIIIII6sHHHHH QII QII QII 64s")
OPEN = Layout("<QQQII")
OPENED = Layout("<QII")

_TEXT_BYTES = 232
_NO_ANSWER = 0


class Op(IntEnum):
    """`enum rp_netdev_op`."""

    HELLO = 1
    OPEN = 2
    CLOSE = 3
    CHANGED = 4


class PortFlag(IntFlag):
    """Of `rp_netdev_port`."""

    KEPT = 1


class OpenFlag(IntFlag):
    """Of `rp_netdev_open`."""

    GUEST_CSB = 1
    GO_ON = 2


class Nonsense(RingpassError):
    """What came breaks the protocol: who sent it is disconnected.

    `op` and `number` are those of the request, as far as they can be known.
    """

    op = _NO_ANSWER
    number = 0


class Hello(NamedTuple):
    """`struct rp_netdev_hello`."""

    region_bytes: int
    pairs: int
    peer: int
    queues: int
    pad: int = 0

    @property
    def fds(self) -> int:
        """How many descriptors come with it: of the region, the doorbells and the vectors."""
        return 1 + 2 * self.pairs if self.region_bytes else 0


class Open(NamedTuple):
    """`struct rp_netdev_open`."""

    features: int
    atok_offset: int
    ktoa_offset: int
    header_bytes: int
    flags: int

    @property
    def fds(self) -> int:
        """How many descriptors come with it: of the memory that the CSBs are in."""
        return 2 if self.flags & OpenFlag.GUEST_CSB else 0


class Close(NamedTuple):
    """The request without a body."""

    fds: int = 0


class Request(NamedTuple):
    """A request; its descriptors are the receiver's."""

    number: int
    body: Hello | Open | Close
    fds: list[int]


class PortInfo(NamedTuple):
    """`struct rp_netdev_port`."""

    region_bytes: int
    nifp_offset: int
    offloads: int
    flags: int
    pairs: int
    peer: int
    epoch: int
    link: int
    mem_id: int
    mac: bytes
    mtu: int
    tx_rings: int
    rx_rings: int
    tx_slots: int
    rx_slots: int
    interfaces: Pool
    rings: Pool
    buffers: Pool
    name: str

    def pack(self) -> bytes:
        """Return the structure's bytes."""
        pools = (self.interfaces, self.rings, self.buffers)
        return PORT.pack(
            *self[: PortInfo._fields.index("interfaces")],
            *(word for pool in pools for word in (pool.offset, pool.total, pool.size)),
            self.name.encode()[:63],
        )


def port_info(
    record: GuestRecord, memory: RegionInfo, pools: Pools, mem_id: int, flags: int
) -> PortInfo:
    """Return what QEMU is told of a port, whose guest is told `record`."""
    return PortInfo(
        region_bytes=memory.bytes,
        nifp_offset=memory.nifp_offset,
        offloads=record.offloads,
        flags=flags,
        pairs=record.vectors,
        peer=record.peer,
        epoch=record.epoch,
        link=record.link,
        mem_id=mem_id,
        mac=record.mac,
        mtu=record.mtu,
        tx_rings=record.tx_rings,
        rx_rings=record.rx_rings,
        tx_slots=record.tx_slots,
        rx_slots=record.rx_slots,
        interfaces=pools.interfaces,
        rings=pools.rings,
        buffers=pools.buffers,
        name=record.port,
    )


class Message(NamedTuple):
    """What is sent: bytes, and descriptors that stay the sender's."""

    data: bytes
    fds: list[int]


def parse(packet: Packet) -> Request:
    """Return the request in a packet, whose descriptors stay the caller's if it is Nonsense."""
    op, number = _NO_ANSWER, 0
    try:
        if not packet.whole or len(packet.data) < MESSAGE.size:
            raise _nonsense(f"{len(packet.data)} bytes are no whole message")
        magic, version, op, number, size, fds, _error, _text = MESSAGE.unpack_from(packet.data)
        if magic != MAGIC:
            raise _nonsense("it does not begin as a message does")
        if version != VERSION:
            raise _nonsense(f"it has version {version}, and the backend {VERSION}")
        if number == 0:
            raise _nonsense("it has no number")
        body = _body(op, packet.data[MESSAGE.size :])
        if size != len(packet.data) - MESSAGE.size:
            raise _nonsense(f"{len(packet.data) - MESSAGE.size} bytes follow, not {size}")
        if not fds == body.fds == len(packet.fds):
            raise _nonsense(
                f"it has {body.fds} descriptors, says {fds}, and {len(packet.fds)} came"
            )
    except Nonsense as error:
        error.op, error.number = op, number
        raise
    return Request(number, body, packet.fds)


def _body(op: int, data: bytes) -> Hello | Open | Close:
    layouts: dict[int, int] = {Op.HELLO: HELLO.size, Op.OPEN: OPEN.size, Op.CLOSE: 0}
    wanted = layouts.get(op)
    if wanted is None:
        raise _nonsense(f"there is no request {op}")
    if len(data) != wanted:
        raise _nonsense(f"request {Op(op).name} has {wanted} bytes, not {len(data)}")
    match op:
        case Op.HELLO:
            return _checked_hello(Hello(*HELLO.unpack(data)))
        case Op.OPEN:
            return _checked_open(Open(*OPEN.unpack(data)))
        case _:
            return Close()


def _checked_hello(hello: Hello) -> Hello:
    held = bool(hello.region_bytes)
    if held != bool(hello.pairs) or hello.pairs > MAX_PAIRS or hello.pad:
        raise _nonsense(f"HELLO has {hello.pairs} pairs and {hello.region_bytes} bytes of memory")
    return hello


def _checked_open(opening: Open) -> Open:
    if opening.flags & ~int(OpenFlag.GUEST_CSB | OpenFlag.GO_ON):
        raise _nonsense(f"OPEN has flags {opening.flags:#x}")
    return opening


class Done(NamedTuple):
    """What there is to say of a request that was done."""

    body: bytes = b""
    fds: list[int] = []  # noqa: RUF012  nobody changes it
    """Descriptors that stay the sender's."""
    text: str = ""
    """What its user should know all the same."""


def answer(op: int, number: int, done: Done) -> Message:
    """Return the answer to a request that was done; CHANGED, if `number` is 0."""
    body, fds, text = done
    head = MESSAGE.pack(MAGIC, VERSION, op, number, len(body), len(fds), 0, _text(text))
    return Message(head + body, fds)


def refusal(op: int, number: int, error: RingpassError) -> Message:
    """Return the answer to a request that failed: why, and what to do, as far as they fit."""
    text = f"{error.what}: {error.why}" + (f"; {error.fix}" if error.fix else "")
    code = error.errno or errno.EIO
    return Message(MESSAGE.pack(MAGIC, VERSION, op, number, 0, 0, code, _text(text)), [])


def _text(text: str) -> bytes:
    """Return what fits of a text: cut at a character, and with a zero at the end."""
    return text.encode(errors="replace")[: _TEXT_BYTES - 1].decode(errors="ignore").encode()


def _nonsense(why: str) -> Nonsense:
    return Nonsense(
        "a message is not understood",
        why,
        "connect nothing but QEMU's -netdev ringpass, of the backend's version",
        errno=errno.EPROTO,
    )
