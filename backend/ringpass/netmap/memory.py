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
from ringpass.netmap.port import Port
from ringpass.netmap.regions import Region

#: Pools of external memory, where a request leaves their size open.
_EXTMEM = config.Region(buffers=config.MAX_BUFFERS, rings=16, ring_slots=1024, ports=4)


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
        call.name, size, _extmem_config(call, info), call.peer.uid
    )
    call.device.regions.hold(region)
    undo.callback(call.device.regions.drop, region)
    told = pools_of(call, region)
    told.memsize = size
    call.options.take(OptionType.EXTMEM, abi.Extmem)
    call.options.put(OptionType.EXTMEM, abi.Extmem(option.usrptr, told.pack()))
    return region


def set_offsets(call: Call, port: Port, flags: int) -> None:
    """Let frames begin behind the start of their buffers, if that is asked for."""
    option = call.options.take(OptionType.OFFSETS, abi.Offsets)
    if option is None:
        return
    bits = option.offset_bits or 64
    assert port.region is not None
    room = port.region.config.buf_size
    problem = ""
    if bits > 64:
        problem = f"{bits} bits; slots have 64"
    elif option.max_offset > room or option.max_offset >> bits:
        problem = f"a frame cannot begin at byte {option.max_offset} of {room}, in {bits} bits"
    elif option.initial_offset > option.max_offset:
        problem = f"the first frame begins at {option.initial_offset}, behind the largest"
    try:
        if flags & Flag.ZCOPY_MON:
            call.fail(errno.EOPNOTSUPP, "a zero-copy monitor has the offsets of its port")
        if problem:
            call.fail(errno.EINVAL, f"offsets are wrong: {problem}", "choose a smaller offset")
        call.device.plane.set_port_offsets(port.id, bits, option.max_offset, option.initial_offset)
    except RingpassError as error:
        call.options.refuse(OptionType.OFFSETS, error.errno or errno.EINVAL)
        raise
    option.offset_bits = bits
    call.options.put(OptionType.OFFSETS, option)


def _extmem_config(call: Call, info: PoolsInfo) -> config.Region:
    """Return the pools that a request wants in its memory."""
    slots = _EXTMEM.ring_slots
    if info.ring_pool_objsize:
        slots = (info.ring_pool_objsize - 256) // 16
    size = info.buf_pool_objsize or _EXTMEM.buf_size
    wanted = config.Region(
        buf_size=(size + 63) // 64 * 64,
        buffers=info.buf_pool_objtotal or _EXTMEM.buffers,
        rings=info.ring_pool_objtotal or _EXTMEM.rings,
        ring_slots=min(slots, config.MAX_SLOTS),
        ports=info.if_pool_objtotal or _EXTMEM.ports,
    )
    problem = ""
    if not 64 <= wanted.buf_size <= config.MAX_BUF_SIZE:
        problem = f"buffers of {size} bytes; 64 to {config.MAX_BUF_SIZE} are allowed"
    elif wanted.ring_slots < 2:
        problem = f"rings of {info.ring_pool_objsize} bytes; two slots need 288"
    elif wanted.rings > config.MAX_RINGS or wanted.ports > config.MAX_PORTS:
        problem = f"{wanted.rings} rings and {wanted.ports} ports are too many"
    if problem:
        call.fail(errno.EINVAL, f"its external memory cannot have {problem}", "ask for others")
    return wanted
