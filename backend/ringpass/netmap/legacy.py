# SPDX-License-Identifier: BSD-2-Clause
"""Requests in the older `struct nmreq`, translated into today's and back.

As netmap does it: the answer is written back only on success, `nr_ringid` and `nr_flags` stay what
they were, offset and size of the memory have 32 bits.
"""

import errno
from typing import NamedTuple

from ringpass.errors import RingpassError
from ringpass.netmap import abi
from ringpass.netmap.abi import (
    Body,
    Flag,
    LegacyCommand,
    LegacyRequest,
    Mode,
    PortHeader,
    PortInfo,
    Register,
    Request,
    ValeAttach,
    ValeDetach,
    ValeList,
    ValeNewif,
    ValePolling,
)
from ringpass.netmap.device import Open

_RING = 0x0FFF
_NO_TX_POLL = 0x1000
_SW_RING = 0x2000
_HW_RING = 0x4000
_DO_RX_POLL = 0x8000
_MODE = 0xF
#: ATTACH, nr_arg1: the host stack, too.
_HOST = 1
_U32 = 0xFFFF_FFFF


class Translated(NamedTuple):
    """A request in today's words."""

    kind: Request
    name: str
    body: Body | None


def register(opened: Open, data: bytes) -> bytes:
    """Do what `ioctl(NIOCREGIF)` does; return the answer. Raises RingpassError."""
    return _perform(opened, data, info=False)


def info(opened: Open, data: bytes) -> bytes:
    """Do what `ioctl(NIOCGINFO)` does; return the answer. Raises RingpassError."""
    return _perform(opened, data, info=True)


def _perform(opened: Open, data: bytes, *, info: bool) -> bytes:
    request = LegacyRequest.unpack(data)
    if request.version < abi.API_MIN:
        raise RingpassError(
            "an older request is refused",
            f"its nr_version is {request.version}",
            f"write {abi.API_MIN}: build the program with netmap's headers",
            errno=errno.EINVAL,
        )
    kind, name, body = _translate_info(request) if info else _translate(request)
    told, answer = opened.named_request(kind, name, body)
    if kind is Request.VALE_LIST:
        request.name = abi.chars(told)[: abi.LEGACY_NAME_BYTES - 1]
    _tell(request, answer)
    return request.pack()


def _translate_info(request: LegacyRequest) -> Translated:
    name = abi.text(request.name)
    if request.cmd == LegacyCommand.LIST:
        return Translated(Request.VALE_LIST, name, ValeList(request.arg1, request.arg2))
    return Translated(Request.PORT_INFO_GET, name, PortInfo(mem_id=request.arg2))


def _translate(request: LegacyRequest) -> Translated:
    name = abi.text(request.name)
    match request.cmd:
        case LegacyCommand.NONE:
            registered, suffix = _register(request)
            return Translated(Request.REGISTER, name + suffix, registered)
        case LegacyCommand.ATTACH:
            registered, _ = _register(request)
            registered.mode = Mode.NIC_SW if request.arg1 & _HOST else Mode.ALL_NIC
            return Translated(Request.VALE_ATTACH, name, ValeAttach(registered.pack()))
        case LegacyCommand.DETACH:
            return Translated(Request.VALE_DETACH, name, ValeDetach())
        case LegacyCommand.VNET_HDR:
            return Translated(Request.PORT_HDR_SET, name, PortHeader(request.arg1))
        case LegacyCommand.VNET_HDR_GET:
            return Translated(Request.PORT_HDR_GET, name, PortHeader())
        case LegacyCommand.NEWIF:
            geometry = request.tx_slots, request.rx_slots, request.tx_rings, request.rx_rings
            return Translated(Request.VALE_NEWIF, name, ValeNewif(*geometry, request.arg2))
        case LegacyCommand.DELIF:
            return Translated(Request.VALE_DELIF, name, None)
        case LegacyCommand.POLLING_ON | LegacyCommand.POLLING_OFF:
            return _polling(request, name)
        case _:
            raise RingpassError(
                "an older request is refused",
                f"there is no nr_cmd {request.cmd}, or not any more",
                "see netmap(4)",
                errno=errno.EINVAL,
            )


def _register(request: LegacyRequest) -> tuple[Register, str]:
    """Return the registration and what is to be added to the name."""
    mode, suffix = request.flags & _MODE, ""
    ringid = request.ringid & _RING
    if mode == Mode.DEFAULT:
        one = Mode.ONE_NIC if request.ringid & _HW_RING else Mode.ALL_NIC
        mode = Mode.SW if request.ringid & _SW_RING else one
    elif mode in (Mode.PIPE_MASTER, Mode.PIPE_SLAVE):
        suffix = f"{'{' if mode == Mode.PIPE_MASTER else '}'}{ringid}"
        mode, ringid = Mode.ALL_NIC, 0
    flags = Flag(request.flags & ~_MODE)
    if request.ringid & _NO_TX_POLL:
        flags |= Flag.NO_TX_POLL
    if request.ringid & _DO_RX_POLL:
        flags |= Flag.DO_RX_POLL
    registered = Register(
        tx_slots=request.tx_slots,
        rx_slots=request.rx_slots,
        tx_rings=request.tx_rings,
        rx_rings=request.rx_rings,
        mem_id=request.arg2,
        ringid=ringid,
        mode=mode,
        extra_bufs=request.arg3,
        flags=flags,
    )
    return registered, suffix


def _polling(request: LegacyRequest, name: str) -> Translated:
    on = request.cmd == LegacyCommand.POLLING_ON
    modes = {Mode.ALL_NIC: ValePolling.SINGLE_CPU, Mode.ONE_NIC: ValePolling.MULTI_CPU}
    mode = {int(key): value for key, value in modes.items()}.get(request.flags & _MODE)
    if mode is None:
        raise RingpassError(
            "an older request is refused",
            "nr_flags tells neither one CPU nor several",
            "see vale-ctl(8)",
            errno=errno.EINVAL,
        )
    body = ValePolling(mode, request.ringid & _RING, request.arg1)
    kind = Request.VALE_POLLING_ENABLE if on else Request.VALE_POLLING_DISABLE
    return Translated(kind, name, body)


def _tell(request: LegacyRequest, answer: object) -> None:
    """Write what today's `answer` says into the older request."""
    match answer:
        case Register():
            request.offset = answer.offset & _U32
            request.memsize = min(answer.memsize, _U32)
            request.arg2, request.arg3 = answer.mem_id, answer.extra_bufs
            _tell_geometry(request, answer)
        case PortInfo():
            request.memsize = min(answer.memsize, _U32)
            request.arg2 = answer.mem_id
            _tell_geometry(request, answer)
        case ValeList():
            request.arg1, request.arg2 = answer.bridge_idx, answer.port_idx & 0xFFFF
        case PortHeader():
            request.arg1 = answer.hdr_len
        case _:
            pass


def _tell_geometry(request: LegacyRequest, answer: Register | PortInfo) -> None:
    for word in ("tx_slots", "rx_slots", "tx_rings", "rx_rings"):
        setattr(request, word, getattr(answer, word))
