# SPDX-License-Identifier: BSD-2-Clause
"""Requests about switches and the interfaces that are their ports."""

import errno
import os

from ringpass.dataplane import FrontEndKind, Kind, vnet_features
from ringpass.errors import RingpassError
from ringpass.netmap import abi
from ringpass.netmap.abi import (
    Flag,
    Mode,
    PortHeader,
    Register,
    ValeAttach,
    ValeDetach,
    ValeList,
    ValeNewif,
    ValePolling,
)
from ringpass.netmap.call import Call
from ringpass.netmap.nics import Attached
from ringpass.netmap.port import Port
from ringpass.netmap.rings import Geometry

#: What virtio-net headers may be long.
_HEADER_LENGTHS = (0, 10, 12)


def attach(call: Call, request: ValeAttach) -> ValeAttach:
    """Make an interface a port of a switch."""
    reg = Register.unpack(request.reg)
    if reg.mode not in (Mode.ALL_NIC, Mode.NIC_SW) or reg.ringid:
        call.fail(
            errno.EINVAL,
            "an interface is attached with all of its rings",
            "leave - and ^ out of its name; * attaches its host stack, too",
        )
    port = call.device.ports.attach(call.name, host=reg.mode == Mode.NIC_SW, peer=call.peer)
    request.port_index = port.id
    return request


def detach(call: Call, request: ValeDetach) -> ValeDetach:
    """Give an attached interface back to the host."""
    request.port_index = call.device.ports.detach(call.name, call.peer).id
    return request


def list_(call: Call, request: ValeList) -> ValeList:
    """Of a named port: its indexes; without a name: the first port from these indexes on."""
    rows = sorted(
        (switch.id, port.id, port.name)
        for switch in call.device.switches
        for port in call.device.ports
        if port.switch == switch.name
    )
    start = request.bridge_idx, request.port_idx
    for switch, number, name in rows:
        if name == call.name or (not call.name and (switch, number) >= start):
            call.header.name = abi.chars(name)
            return ValeList(switch, number)
    why = "there is no such port" if call.name else "there are no more ports"
    raise RingpassError(call.what, why, "ringpass port ls", errno=errno.ENOENT)


def set_header(call: Call, request: PortHeader) -> PortHeader:
    """Say how long the virtio-net header before each frame is; 0: there is none.

    Who wants one knows all offloads there are: netmap has nothing to choose some of them.
    """
    port = _vale_port(call)
    if request.hdr_len not in _HEADER_LENGTHS:
        why = f"a virtio-net header has no {request.hdr_len} bytes"
        call.fail(errno.EINVAL, why, "write 0, 10 or 12")
    if request.hdr_len and port.kind is not Kind.VALE:
        why = f"{port.name} is no port of a switch, and nobody would convert its frames"
        call.fail(errno.EOPNOTSUPP, why, "use frames without a header (length 0)")
    if request.hdr_len == call.device.plane.port_status(port.id).net_header:
        return request
    for other in port.registrations:
        if other is not call.registration and not other.flags & Flag.ACCEPT_VNET_HDR:
            why = f"process {other.peer.pid} has it open and knows of no virtio-net headers"
            call.fail(errno.EBUSY, why, "close it there first")
    call.device.plane.vnet(port.id, request.hdr_len, vnet_features() if request.hdr_len else 0)
    return request


def check_header(call: Call, port: Port, flags: int) -> None:
    """Refuse a program that does not know of a port's virtio-net headers. Raises RingpassError."""
    header = call.device.plane.port_status(port.id).net_header
    if header and not flags & Flag.ACCEPT_VNET_HDR:
        why = f"its frames have a virtio-net header of {header} bytes"
        fix = "open it with NR_ACCEPT_VNET_HDR, or do without the header: PORT_HDR_SET to 0"
        call.fail(errno.EIO, why, fix)


def get_header(call: Call, request: PortHeader) -> PortHeader:
    """Tell how long virtio-net headers are."""
    request.hdr_len = call.device.plane.port_status(_vale_port(call).id).net_header
    return request


def create(call: Call, request: ValeNewif) -> ValeNewif:
    """Make an interface of the host that persists."""
    call.device.ports.create_interface(call.name, Geometry().wanted(request), call.peer)
    return request


def delete(call: Call, _: None) -> None:
    """Remove an interface that `create` made."""
    call.device.ports.delete_interface(call.name, call.peer)


def start_polling(call: Call, request: ValePolling) -> ValePolling:
    """Let CPUs look after the rings of an attached interface."""
    interface = _polled(call)
    cpus = os.cpu_count() or 1
    problem = ""
    if request.mode not in (ValePolling.SINGLE_CPU, ValePolling.MULTI_CPU):
        problem = f"there is no mode {request.mode}"
    elif request.mode == ValePolling.SINGLE_CPU and request.num_cpus != 1:
        problem = f"a single CPU is one, not {request.num_cpus}"
    elif not 1 <= request.num_cpus < max(cpus, 2):
        problem = f"{request.num_cpus} of {cpus} CPUs; one at least stays free"
    elif request.first_cpu + request.num_cpus > cpus:
        problem = f"there is no CPU {request.first_cpu + request.num_cpus - 1}"
    if problem:
        call.fail(errno.EINVAL, problem, "see vale-ctl(8)")
    if interface.polling:
        call.fail(errno.EBUSY, "CPUs poll it already", "stop that first: vale-ctl -P")
    interface.start_polling(request)
    return request


def stop_polling(call: Call, request: ValePolling) -> ValePolling:
    """Let them no more."""
    interface = _polled(call)
    if not interface.polling:
        call.fail(errno.ENXIO, "no CPU polls it")
    interface.stop_polling(request)
    return request


def _vale_port(call: Call) -> Port:
    port = call.device.ports.get(call.name)
    if port is None:
        call.fail(errno.ENXIO, "there is no such port", "register it first")
    call.peer.check_owner(call.what, port.owner)
    if port.front_end is not FrontEndKind.RINGS:
        call.fail(errno.EBUSY, "the port is for a virtual machine", "name another")
    return port


def _polled(call: Call) -> Attached:
    call.peer.check_privileged(call.what)
    port = call.device.ports.get(call.name)
    if port is not None and port.attached is None:
        call.fail(errno.EOPNOTSUPP, "it is no interface of the host", "attach one: vale-ctl -a")
    attached = call.device.ports.attached(call.name).attached
    assert attached is not None
    return attached
