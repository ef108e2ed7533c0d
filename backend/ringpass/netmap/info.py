# SPDX-License-Identifier: BSD-2-Clause
"""Requests that only ask."""

import errno
from contextlib import ExitStack

from ringpass.netmap.abi import Mode, PoolsInfo, PortInfo, Register
from ringpass.netmap.call import Call
from ringpass.netmap.port import Port
from ringpass.netmap.regions import Region


def port(call: Call, request: PortInfo) -> PortInfo:
    """Tell the rings of a port and its region; without a name: a region."""
    region = call.region(request.mem_id)
    if not call.name:
        if region is None:
            call.fail(
                errno.EINVAL,
                "there is no region that all ports share",
                "name a port, or a region by its number",
            )
        info = call.device.regions.pools(region)
        return PortInfo(memsize=info.size, mem_id=region.id)
    with ExitStack() as undo:
        port = _look(call, region, undo)
        answer = PortInfo()
        port.geometry.tell(answer)
        if port.region is not None:
            answer.mem_id = port.region.id
            answer.memsize = call.device.regions.pools(port.region).size
    return answer


def pools(call: Call, request: PoolsInfo) -> PoolsInfo:
    """Tell what the region of a port consists of."""
    if not call.name:
        call.fail(errno.EINVAL, "no port is named", "name one")
    region = call.region(request.mem_id)
    with ExitStack() as undo:
        region = region or _look(call, None, undo).region
        if region is None:
            call.fail(
                errno.EINVAL, "its rings are in a virtual machine's memory", "name another port"
            )
        return pools_of(call, region)


def _look(call: Call, region: Region | None, undo: ExitStack) -> Port:
    """Return the named port, made for the moment if it is not there."""
    present = call.device.ports.get(call.name)
    if present is not None:
        return present
    everything = Register(mode=Mode.ALL_NIC)
    port = call.device.ports.acquire(call.name, everything, call.peer, region)
    undo.callback(call.device.ports.release, port)
    return port


def pools_of(call: Call, region: Region) -> PoolsInfo:
    """Return what `region` consists of."""
    info = call.device.regions.pools(region)
    return PoolsInfo(info.size, region.id, *info.interfaces[:3], *info.rings[:3], *info.buffers[:3])
