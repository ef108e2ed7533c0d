# SPDX-License-Identifier: BSD-2-Clause
"""From a name to netmap's request REGISTER, and back from its answer."""

import errno
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ringport import abi
from ringport.errors import Error
from ringport.portspec import PortSpec, parse

_MAX_EXTRA = 0xFFFF_FFFF
_OPTION = struct.Struct("<I4x")
_U64 = struct.Struct("<Q")


@dataclass(frozen=True)
class Request:
    """A request in netmap's bytes; each option is its header and its body, addresses zero."""

    kind: int
    name: str
    body: bytes
    options: tuple[bytes, ...] = ()


def encode(request: Request) -> tuple[bytes, bytes]:
    """Return the header and the options of a request as they go to a ringpass backend.

    Addresses in them only say whether there is something; each option has its length in front.
    """
    options = b""
    for number, option in enumerate(request.options, start=1):
        more = int(number < len(request.options))
        options += _OPTION.pack(len(option)) + _U64.pack(more) + option[_U64.size :]
    name = request.name.encode()
    header = abi.HEADER.pack(
        abi.API, request.kind, 0, name, int(bool(options)), int(bool(request.body))
    )
    return header, options


class Registered(NamedTuple):
    """What netmap's answer to REGISTER says."""

    nifp_offset: int
    memory_size: int
    mem_id: int
    extra_bufs: int


def register(spec: PortSpec, mem_id: int, extra_bufs: int) -> Request:
    """Return the request that opens the port `spec` with so many extra buffers in region `mem_id`.

    Raises Error(ENOTSUP) for memory of the caller's.
    """
    if spec.extmem is not None:
        raise Error(
            errno.ENOTSUP,
            f"cannot open {spec.name}",
            "@extmem puts the region into memory of the caller, and here the port brings its own",
            "leave @extmem out",
        )
    if not 0 <= extra_bufs <= _MAX_EXTRA:
        raise Error(errno.EINVAL, f"cannot open {spec.name}", f"{extra_bufs} extra buffers")
    body = abi.REGISTER.pack(
        0,
        0,
        spec.tx_slots,
        spec.rx_slots,
        spec.tx_rings,
        spec.rx_rings,
        spec.host_tx_rings,
        spec.host_rx_rings,
        mem_id,
        spec.ringid,
        spec.mode,
        extra_bufs,
        0,
        spec.flags,
    )
    options = []
    if spec.offset is not None:
        offset = spec.offset
        option = abi.OPTION.pack(0, abi.OPT_OFFSETS, 0, 0)
        fields = abi.OFFSETS.pack(offset.initial, offset.initial, offset.bits, 0, 0)
        options.append(option + fields)
    return Request(abi.REQ_REGISTER, spec.name, body, tuple(options))


def registered(body: bytes) -> Registered:
    """Return what the answer `body` says."""
    offset, size, _, _, _, _, _, _, mem_id, _, _, extra, _, _ = abi.REGISTER.unpack(body)
    return Registered(offset, size, mem_id, extra)


def memory(spec: PortSpec, ask: Callable[[Request], bytes]) -> int:
    """Return the mem_id to register `spec` with: its own, or that of the port that `@share` names.

    `ask` does a request and returns the body of its answer. Raises what it raises, and
    Error(EINVAL) if there is no such region, or the name disagrees.
    """
    if not spec.share:
        return spec.mem_id
    what = f"cannot open {spec.name}"
    name = parse(spec.share).name
    answer = ask(_info(name))
    mem_id = int(abi.PORT_INFO.unpack(answer)[-1])
    if not mem_id:
        why = f"the rings of {spec.share} are in no region that can be shared"
        raise Error(errno.EINVAL, what, why, "name another port")
    if spec.mem_id not in (0, mem_id):
        why = f"@{spec.mem_id} was asked for, but {spec.share} is in region {mem_id}"
        raise Error(errno.EINVAL, what, why, "leave one of the two out")
    try:
        ask(_info(name, mem_id))
    except Error as error:
        if error.errno != errno.EINVAL:
            raise
        # Who asks about a port that is not there is told of one that was made for the answer.
        why = f"port {spec.share} is not there, nor its region"
        raise Error(errno.EINVAL, what, why, "open it first, and leave it open") from None
    return mem_id


def _info(name: str, mem_id: int = 0) -> Request:
    """Return the request that asks about a port, in the region `mem_id` or in its own."""
    return Request(abi.REQ_PORT_INFO_GET, name, abi.PORT_INFO.pack(0, 0, 0, 0, 0, 0, 0, mem_id))
