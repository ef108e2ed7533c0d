# SPDX-License-Identifier: BSD-2-Clause
"""What the device needs of the data plane."""

from enum import IntEnum
from typing import NamedTuple, NewType, Protocol

from ringpass.dataplane import FrontEndKind, Full, PortId, SwitchId, WorkerId

RegionId = NewType("RegionId", int)
BindingId = NewType("BindingId", int)
NO_PORT = PortId(-1)
NO_SWITCH = SwitchId(-1)
NO_REGION = RegionId(0)


class Kind(IntEnum):
    VALE = 0
    NULL = 1
    LINK = 2
    MONITOR = 3


class PortSpec(NamedTuple):
    name: str
    kind: Kind = Kind.VALE
    front_end: FrontEndKind = FrontEndKind.VHOST
    switch: SwitchId = NO_SWITCH
    worker: WorkerId = WorkerId(-1)
    tx_rings: int = 1
    rx_rings: int = 1
    tx_slots: int = 1024
    rx_slots: int = 1024
    buf_bytes: int = 2048
    full: Full = Full.HOLD
    hold_us: int = 1000
    mtu: int = 0
    region: RegionId = NO_REGION
    csb: bool = False


class RegionSpec(NamedTuple):
    name: str
    buf_bytes: int = 0
    slots_max: int = 0
    if_max: int = 0
    ring_max: int = 0
    buf_max: int = 0


class Pool(NamedTuple):
    offset: int
    objtotal: int
    objsize: int
    used: int


class RegionInfo(NamedTuple):
    fd: int
    bytes: int
    csb_pool: Pool
    if_pool: Pool
    ring_pool: Pool
    buf_pool: Pool
    users: int


class RingInfo(NamedTuple):
    csb: int
    ring_offset: int
    kick_fd: int
    call_fd: int


class PortRings(NamedTuple):
    region: RegionId
    tx: tuple[RingInfo, ...]
    rx: tuple[RingInfo, ...]


class BindSpec(NamedTuple):
    port: PortId
    host_port: PortId = NO_PORT
    tx_first: int = 0
    tx_n: int = 0
    rx_first: int = 0
    rx_n: int = 0
    host_tx_first: int = 0
    host_tx_n: int = 0
    host_rx_first: int = 0
    host_rx_n: int = 0
    extra_bufs: int = 0


class Binding(NamedTuple):
    id: BindingId
    nifp_offset: int
    extra_bufs: int


class Plane(Protocol):
    def add_switch(self, name: str, ageing_s: int = 300) -> SwitchId: ...
    def set_switch_ageing(self, switch: SwitchId, ageing_s: int) -> None: ...
    def remove_switch(self, switch: SwitchId) -> None: ...
    def add_region(self, spec: RegionSpec) -> RegionId: ...
    def remove_region(self, region: RegionId) -> None: ...
    def region_info(self, region: RegionId) -> RegionInfo: ...
    def add_port(self, spec: PortSpec) -> PortId: ...
    def remove_port(self, port: PortId) -> None: ...
    def link_ports(self, one: PortId, other: PortId) -> None: ...
    def port_rings(self, port: PortId) -> PortRings: ...
    def add_binding(self, spec: BindSpec) -> Binding: ...
    def remove_binding(self, binding: BindingId) -> None: ...
    def set_port_offsets(self, port: PortId, bits: int, maximum: int, initial: int) -> None: ...
    def attach_monitor(self, monitor: PortId, parent: PortId, flags: int) -> None: ...
