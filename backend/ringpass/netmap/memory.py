# SPDX-License-Identifier: BSD-2-Clause
"""The options of a registration that concern memory."""

import errno
import os
from contextlib import ExitStack

from ringpass import config
from ringpass.errors import RingpassError
from ringpass.netmap import abi
from ringpass.netmap.abi import Flag, OptionType, PoolsInfo
from ringpass.netmap.call import Call
from ringpass.netmap.info import pools_of
from ringpass.netmap.port import OffsetsOf, Port
from ringpass.netmap.regions import Region

#: Pools of external memory, where a request leaves their size open.
_EXTMEM = config.Region(buffers=config.MAX_BUFFERS, rings=16, slots=1024, interfaces=4)


def external(call: Call, undo: ExitStack) -> Region | None:
    """Make the region that takes the place of a program's own memory, if one is asked for."""
    option = call.options.take(OptionType.EXTMEM, abi.Extmem)
    if option is None:
        return None
    info = PoolsInfo.unpack(option.info)
    call.options.refuse(OptionType.EXTMEM, errno.EINVAL)
    size = info.memsize
    if not size or size % os.sysconf("SC_PAGE_SIZE") or size >> 40:
        call.fail(errno.EINVAL, f"{size} bytes of external memory", "give it whole pages")
    region = call.device.regions.make_exact(
        call.name, size, _extmem_config(call, info), call.peer.owner
    )
    call.device.regions.hold(region)
    undo.callback(call.device.regions.drop, region)
    told = pools_of(call, region)
    told.memsize = size
    call.options.take(OptionType.EXTMEM, abi.Extmem)
    call.options.put(OptionType.EXTMEM, abi.Extmem(option.usrptr, told.pack()))
    return region


def check_external(call: Call, port: Port, region: Region | None) -> None:
    """Refuse a program's own memory for a port that has some already. Raises RingpassError."""
    if call.options.get(OptionType.EXTMEM) is None or port.region is region:
        return
    call.options.refuse(OptionType.EXTMEM, errno.EBUSY)
    why = f"{port.name} has memory already, which cannot move to the program's"
    call.fail(errno.EBUSY, why, "close it everywhere, or open it without external memory")


def set_offsets(call: Call, port: Port, flags: int) -> None:
    """Let frames begin behind the start of their buffers, if that is asked for.

    All opens of a port have the same offsets, so only the first one chooses. Raises RingpassError.
    """
    option = call.options.take(OptionType.OFFSETS, abi.Offsets)
    if option is None:
        return
    wanted = OffsetsOf(option.offset_bits or 64, option.max_offset, option.initial_offset)
    try:
        _check_offsets(call, port, wanted, flags)
        if port.offsets != wanted:
            call.device.plane.set_port_offsets(port.id, *wanted)
    except RingpassError as error:
        call.options.refuse(OptionType.OFFSETS, error.errno or errno.EINVAL)
        raise
    port.offsets = wanted
    option.offset_bits = wanted.bits
    call.options.put(OptionType.OFFSETS, option)


def _check_offsets(call: Call, port: Port, wanted: OffsetsOf, flags: int) -> None:
    if flags & Flag.ZCOPY_MON:
        why = "a zero-copy monitor has the offsets of the port that it watches"
        call.fail(errno.EOPNOTSUPP, why, "leave @offset out")
    if port.registrations and port.offsets != wanted:
        process = port.registrations[0].peer.pid
        why = f"process {process} has it open with {port.offsets or 'no offsets'}"
        call.fail(errno.EBUSY, why, "ask for the same, or close it there")
    problem = ""
    if wanted.bits > 64:
        problem = f"slots have no {wanted.bits} bits for them"
    elif wanted.largest >> wanted.bits:
        problem = f"{wanted.largest} does not fit into {wanted.bits} bits"
    elif wanted.initial > wanted.largest:
        problem = f"the first one, {wanted.initial}, is larger than the largest, {wanted.largest}"
    if problem:
        call.fail(errno.EINVAL, f"offsets are wrong: {problem}", "choose others")


def _extmem_config(call: Call, info: PoolsInfo) -> config.Region:
    """Return the pools that a request wants in its memory."""
    slots = _EXTMEM.slots
    if info.ring_pool_objsize:
        slots = (info.ring_pool_objsize - 256) // 16
    size = info.buf_pool_objsize or _EXTMEM.buf_size
    wanted = config.Region(
        buf_size=(size + 63) // 64 * 64,
        buffers=info.buf_pool_objtotal or _EXTMEM.buffers,
        rings=info.ring_pool_objtotal or _EXTMEM.rings,
        slots=min(slots, config.MAX_SLOTS),
        interfaces=info.if_pool_objtotal or _EXTMEM.interfaces,
    )
    problem = ""
    if not 64 <= wanted.buf_size <= config.MAX_BUF_SIZE:
        problem = f"buffers of {size} bytes; 64 to {config.MAX_BUF_SIZE} are allowed"
    elif wanted.slots < 2:
        problem = f"rings of {info.ring_pool_objsize} bytes; two slots need 288"
    elif wanted.rings > config.MAX_RINGS or wanted.interfaces > config.MAX_INTERFACES:
        problem = f"{wanted.rings} rings and {wanted.interfaces} interfaces are too many"
    if problem:
        call.fail(errno.EINVAL, f"its external memory cannot have {problem}", "ask for others")
    return wanted
