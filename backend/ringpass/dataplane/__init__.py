# SPDX-License-Identifier: BSD-2-Clause
"""The data plane, with Python's types and errors: the only importer of the compiled extension.

Objects of the data plane are named by small numbers; here they have types of their own, so that a
port cannot be passed for a switch. Every call that the data plane refuses raises `RingpassError`
with the data plane's own reason. File descriptors that are passed in stay the caller's.
"""

import errno
import os
from collections.abc import Callable, Sequence
from enum import IntEnum, IntFlag
from typing import Any, NamedTuple, NewType, Self

from ringpass._dp import ffi, lib
from ringpass.errors import Denied, NotFound, RingpassError

SwitchId = NewType("SwitchId", int)
WorkerId = NewType("WorkerId", int)
PortId = NewType("PortId", int)
RegionId = NewType("RegionId", int)
BindingId = NewType("BindingId", int)
RelayId = NewType("RelayId", int)

MAX_RING_PAIRS = int(lib.RP_PORT_RINGS)
MAX_MEMORY_SLOTS = int(lib.RP_MAX_MEM_SLOTS)
MAX_VRING_SIZE = int(lib.RP_MAX_VRING)
MAX_WORKERS = int(lib.RP_MAX_WORKERS)

#: The worker of a port that is synced by its users' own threads, through `Caller`.
NO_WORKER = WorkerId(-1)


#: The region of a port that gets one of its own.
PRIVATE = RegionId(0)
#: What a ring's `peer_csb` is when the backend syncs it.
NO_CSB = 0xFFFF_FFFF


class Policy(IntEnum):
    """What a worker does when it finds no work."""

    ADAPTIVE = lib.RP_POLICY_ADAPTIVE
    BUSY = lib.RP_POLICY_BUSY
    SLEEP = lib.RP_POLICY_SLEEP
    NOTIFY = lib.RP_POLICY_NOTIFY


class Kind(IntEnum):
    """What a port does with the frames of its tx rings."""

    VALE = lib.RP_KIND_VALE
    NULL = lib.RP_KIND_NULL
    LINK = lib.RP_KIND_LINK
    MONITOR = lib.RP_KIND_MONITOR


class MonitorFlags(IntFlag):
    """What a monitor shows of its parent."""

    TX = lib.RP_MONITOR_TX
    RX = lib.RP_MONITOR_RX
    ZCOPY = lib.RP_MONITOR_ZCOPY


class Logic(IntEnum):
    """What says where the frames of a switch go."""

    BRIDGE = lib.RP_SWITCH_BRIDGE
    STATIC = lib.RP_SWITCH_STATIC
    HASH = lib.RP_SWITCH_HASH
    FILE = lib.RP_SWITCH_FILE


class FrontEndKind(IntEnum):
    """What the rings of a port are made of."""

    RINGS = lib.RP_FRONT_RINGS
    VHOST = lib.RP_FRONT_VHOST
    KERNEL = lib.RP_FRONT_KERNEL


class KernelMode(IntEnum):
    """What the queues of a port of the kernel's are."""

    XDP_COPY = lib.RP_KERNEL_XDP_COPY
    XDP_ZEROCOPY = lib.RP_KERNEL_XDP_ZEROCOPY
    PACKET = lib.RP_KERNEL_PACKET
    TAP = lib.RP_KERNEL_TAP


class Full(IntEnum):
    """What happens to a frame for a port whose rx ring has no room."""

    HOLD = lib.RP_FULL_HOLD
    DROP = lib.RP_FULL_DROP


class PortSpec(NamedTuple):
    """What `DataPlane.add_port` makes. For vhost-user, `tx_rings == rx_rings`."""

    name: str
    kind: Kind = Kind.VALE
    front_end: FrontEndKind = FrontEndKind.VHOST
    switch: SwitchId = SwitchId(-1)
    worker: WorkerId = NO_WORKER
    tx_rings: int = 1
    rx_rings: int = 1
    slots: int = 1024
    """Of each tx ring with netmap rings."""
    rx_slots: int = 0
    """Of each rx ring; 0: as many as a tx ring has."""
    buf_bytes: int = 2048
    """Of a buffer in the port's private region."""
    region: RegionId = PRIVATE
    region_bufs: int = 0
    """Buffers of the private region beside those of the port's own slots; 0: the default."""
    csb: bool = False
    """Whether cursors and notifications go through CSBs: for users in other processes."""
    full: Full = Full.HOLD
    hold_us: int = 1000
    mtu: int = 0
    """Longer packets are not for this port; 0: no bound."""


class PortStatus(NamedTuple):
    """A port as the data plane sees it; `*_records` index the ring records of the counters file."""

    broken: str | None
    """Why the port was stopped, or None while it is up."""
    tx_live: int
    """Bit mask of the tx rings that may move frames."""
    rx_live: int
    tx_records: tuple[int, ...]
    rx_records: tuple[int, ...]
    net_header: int = 0
    """Bytes of the virtio-net header before each frame in netmap rings."""
    features: int = 0
    """Feature bits of VIRTIO that were agreed on."""


class RegionInfo(NamedTuple):
    """The shared memory of a port with netmap rings; `fd` is the port's own, dup it to keep it."""

    fd: int
    buf_bytes: int
    bytes: int
    nifp_offset: int
    bufs_offset: int


class RegionSpec(NamedTuple):
    """What `DataPlane.add_region` makes; 0 stands for a default."""

    name: str
    size: int = 0
    """Bytes in all; default: the power of two that holds the pools."""
    buf_bytes: int = 0
    slots_max: int = 0
    """Of the largest ring."""
    if_max: int = 0
    """Opens, and ports."""
    ring_max: int = 0
    buf_max: int = 0
    common: bool = False
    """Whether ports share it by its name; else its netmap_ifs say NI_PRIV_MEM."""
    guests: int = 0
    """Records of virtual machines that map it."""


class GuestRecord(NamedTuple):
    """What a virtual machine that maps a region is told: `struct rp_guest`."""

    peer: int
    """Its ivshmem peer id; 0: the record is nobody's."""
    port: str
    mac: bytes
    mtu: int
    tx_rings: int
    rx_rings: int
    tx_slots: int
    rx_slots: int
    vectors: int
    """Pairs of doorbell and vector, the mailbox's included."""
    opens: int
    extra_bufs: int
    link: int = 1
    epoch: int = 0
    offloads: int = 0
    """Virtio-net feature bits."""
    version: int = int(lib.RP_GUEST_VERSION)


class GuestRequest(NamedTuple):
    """A request from a virtual machine's mailbox: `struct rp_guest_request`."""

    sent: int
    op: int
    open: int
    generation: int
    data: bytes
    nonsense: RingpassError | None = None
    """Why it is no request: there is nothing to do but to say so."""


class Pool(NamedTuple):
    """Objects of one size in a region; `offset` is from the region's start, sizes in bytes."""

    offset: int
    total: int
    size: int
    used: int


class Pools(NamedTuple):
    """A region and its pools; the descriptors are the region's own, dup them to keep them."""

    fd: int
    book_fd: int
    """The backend's note of what is taken: for nobody who maps the region."""
    users: int
    size: int
    csbs: Pool
    interfaces: Pool
    rings: Pool
    buffers: Pool
    slots_max: int


class RingInfo(NamedTuple):
    """Where a netmap ring is, and what wakes its sides; descriptors are the port's own or -1."""

    ring_offset: int
    csb: int
    peer_csb: int
    slots: int
    kick_fd: int
    call_fd: int


class PortRings(NamedTuple):
    """The netmap rings of a port."""

    region: RegionId
    tx: tuple[RingInfo, ...]
    rx: tuple[RingInfo, ...]


class BindSpec(NamedTuple):
    """Which rings of a port, and of its host stack's port, one open of it gets: (first, count)."""

    port: PortId
    tx: tuple[int, int]
    rx: tuple[int, int]
    host: PortId | None = None
    host_tx: tuple[int, int] = (0, 0)
    host_rx: tuple[int, int] = (0, 0)
    extra_bufs: int = 0
    nifp_offset: int = 0
    """Of an open to go on with, in a resumed region; 0: a new one."""


class Binding(NamedTuple):
    """One open of a port: its netmap_if, and how many extra buffers there were for it."""

    id: BindingId
    region: RegionId
    nifp_offset: int
    extra_bufs: int


class CsbPlaces(NamedTuple):
    """Memory of a user's own for the CSBs of a port: where the array of each half is in it.

    A record for each tx ring, then for each rx ring. An array begins at a multiple of 64 bytes and
    lies within a page of 4096.
    """

    atok_fd: int
    atok_offset: int
    ktoa_fd: int
    ktoa_offset: int


class FdbRow(NamedTuple):
    """A MAC address that a switch learnt."""

    mac: bytes
    port: PortId
    age_s: int


class MemorySlot(NamedTuple):
    """A piece of guest memory, as a row of VHOST_USER_SET_MEM_TABLE. All in bytes."""

    guest_addr: int
    size: int
    user_addr: int
    mmap_offset: int


class VringConfig(NamedTuple):
    """Where a virtqueue is and how to notify; addresses are the front end's own (user) ones."""

    size: int
    base: int
    desc: int
    avail: int
    used: int
    kick_fd: int
    """-1: no kicks, the ring must be polled."""
    call_fd: int
    """-1: the front end polls."""


class KernelConfig(NamedTuple):
    """The queues of a port of the kernel's; the data plane keeps duplicates of `fds`."""

    mode: KernelMode
    fds: Sequence[int] = ()
    """PACKET, TAP: a descriptor for each queue."""
    slots: int = 1024
    """Frames of a queue in each direction, a power of two."""
    ifindex: int = 0
    """XDP: the interface."""
    frame_bytes: int = 0
    """XDP: the longest frame that the interface sends or receives."""
    software: bool = False
    """XDP: there is no wire behind the interface, so checksums may be incomplete."""


class DataPlane:
    """A data plane with its switches, workers and ports. Use it as a context manager.

    `counters_fd` is a file open for reading and writing; the data plane sets its size and other
    processes may map it. Not thread-safe: one thread calls, workers run by themselves.
    """

    def __init__(self, counters_fd: int) -> None:
        self._names: dict[PortId, str] = {}
        self._state_fd = os.memfd_create("ringpass-state", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        error = ffi.new("struct rp_err *")
        self._dp: Any = lib.rp_dataplane_new(self._state_fd, counters_fd, error)
        if self._dp == ffi.NULL:
            os.close(self._state_fd)
            raise _failure("the data plane cannot start", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers and give back all memory. A second close does nothing."""
        if self._dp is None:
            return
        lib.rp_dataplane_free(self._dp)
        self._dp = None
        os.close(self._state_fd)

    def event_fd(self) -> int:
        """Return an eventfd, owned by the data plane, that is readable when a port broke."""
        return int(lib.rp_dataplane_event_fd(self._dp))

    def beat(self) -> None:
        """Note in the counters file that the control plane goes on."""
        lib.rp_dataplane_beat(self._dp)

    def add_switch(self, name: str, ageing_s: int = 300) -> SwitchId:
        """Make a switch that forgets a MAC address unheard for `ageing_s` seconds (0: never)."""
        config = ffi.new("struct rp_switch_config *", {"name": _text(name), "ageing_s": ageing_s})
        return SwitchId(self._call(f"cannot add switch {name}", lib.rp_switch_add, config))

    def set_switch_ageing(self, switch: SwitchId, ageing_s: int) -> None:
        """Change after how many seconds `switch` forgets a MAC address."""
        self._call("cannot set the switch's ageing", lib.rp_switch_set_ageing, switch, ageing_s)

    def set_switch_logic(self, switch: SwitchId, kind: Logic, config: str, fd: int = -1) -> None:
        """Let another logic say where the frames of `switch` go, while they go.

        `config` is the text for it; of `Logic.FILE`, `fd` is a shared object that was loaded by no
        switch before, which may be closed afterwards.
        """
        what = "cannot change the switch's logic"
        self._call(what, lib.rp_switch_set_logic, switch, kind, fd, config.encode())

    def remove_switch(self, switch: SwitchId) -> None:
        """Remove a switch, which must have no ports."""
        self._call("cannot remove the switch", lib.rp_switch_del, switch)

    def fdb(self, switch: SwitchId) -> list[FdbRow]:
        """Return the MAC table of `switch`."""
        what, room = "cannot read the switch's MAC table", 256
        while True:
            rows = ffi.new("struct rp_fdb_row[]", room)
            found = self._call(what, lib.rp_switch_fdb, switch, rows, room)
            if found < room:
                return [
                    FdbRow(bytes(row.mac), PortId(row.port), row.age_s) for row in rows[0:found]
                ]
            room *= 4

    def add_worker(
        self, policy: Policy = Policy.ADAPTIVE, sleep_us: int = 0, *, cpu: int | None = None
    ) -> WorkerId:
        """Start a worker thread, on the CPU `cpu` alone if it is given."""
        config = _worker_config(policy, sleep_us, cpu)
        return WorkerId(self._call("cannot start a worker", lib.rp_worker_add, config))

    def set_worker(
        self, worker: WorkerId, policy: Policy, sleep_us: int = 0, *, cpu: int | None = None
    ) -> None:
        """Change the policy and the CPU of a running worker."""
        config = _worker_config(policy, sleep_us, cpu)
        self._call(f"cannot change worker {worker}", lib.rp_worker_set, worker, config)

    def remove_worker(self, worker: WorkerId) -> None:
        """Stop a worker, which must serve no ports."""
        self._call(f"cannot stop worker {worker}", lib.rp_worker_del, worker)

    def add_port(self, spec: PortSpec) -> PortId:
        """Make a port. One with virtqueues moves nothing until its rings are started."""
        config = ffi.new(
            "struct rp_port_config *",
            {
                "name": _text(spec.name),
                "kind": spec.kind,
                "front_end": spec.front_end,
                "sw": spec.switch,
                "worker": spec.worker,
                "tx_rings": spec.tx_rings,
                "rx_rings": spec.rx_rings,
                "tx_slots": spec.slots,
                "rx_slots": spec.rx_slots or spec.slots,
                "buf_bytes": spec.buf_bytes,
                "region": spec.region,
                "region_bufs": spec.region_bufs,
                "csb": spec.csb,
                "full": spec.full,
                "hold_us": spec.hold_us,
                "mtu": spec.mtu,
            },
        )
        port = PortId(self._call(f"cannot add port {spec.name}", lib.rp_port_add, config))
        self._names[port] = spec.name
        return port

    def set_port_full(self, port: PortId, full: Full, hold_us: int) -> None:
        """Change what happens to frames for the full port."""
        self._port_call("cannot change", port, lib.rp_port_set_full, full, hold_us)

    def set_port_mtu(self, port: PortId, mtu: int) -> None:
        """Change which packets are too long for the port; 0: none is."""
        self._port_call("cannot change", port, lib.rp_port_set_mtu, mtu)

    def remove_port(self, port: PortId) -> None:
        """Remove a port and all its rings; frames held for it are dropped and counted."""
        self._port_call("cannot remove", port, lib.rp_port_del)
        del self._names[port]

    def attach_monitor(self, monitor: PortId, parent: PortId, flags: MonitorFlags) -> None:
        """Let a port of kind MONITOR show what passes another port, from now on."""
        self._port_call("cannot attach", monitor, lib.rp_monitor_attach, parent, flags)

    def detach_monitor(self, monitor: PortId) -> None:
        """Let a monitor show nothing any more; what its ring holds stays there."""
        self._port_call("cannot detach", monitor, lib.rp_monitor_detach)

    def port_status(self, port: PortId) -> PortStatus:
        """Return the state of a port and which counters are its own."""
        out: Any = ffi.new("struct rp_port_status *")
        self._port_call("cannot read the state of", port, lib.rp_port_status, out)
        broken = out.state == lib.RP_PORT_BROKEN
        return PortStatus(
            _string(out.reason) if broken else None,
            out.tx_live,
            out.rx_live,
            tuple(out.tx_record[0 : out.tx_rings]),
            tuple(out.rx_record[0 : out.rx_rings]),
            out.net_header,
            out.features,
        )

    def repair_port(self, port: PortId) -> None:
        """Take a broken port back into service. One that is up stays as it is."""
        self._port_call("cannot repair", port, lib.rp_port_repair)

    def port_region(self, port: PortId) -> RegionInfo:
        """Return the shared memory of a port with netmap rings."""
        out: Any = ffi.new("struct rp_region_info *")
        self._port_call("there is no region of", port, lib.rp_port_region, out)
        return RegionInfo(out.fd, out.buf_bytes, out.bytes, out.nifp_offset, out.bufs_offset)

    def port_rings(self, port: PortId) -> PortRings:
        """Return where the netmap rings of a port are, and their descriptors."""
        out: Any = ffi.new("struct rp_port_rings *")
        self._port_call("there are no netmap rings of", port, lib.rp_port_rings, out)
        return PortRings(
            RegionId(out.region),
            tuple(_ring_info(ring) for ring in out.tx[0 : out.tx_rings]),
            tuple(_ring_info(ring) for ring in out.rx[0 : out.rx_rings]),
        )

    def set_port_offsets(self, port: PortId, bits: int, largest: int, initial: int) -> None:
        """Let slots say in the low `bits` of ptr (0: all) where in its buffer a frame begins.

        At most `largest` bytes from the buffer's start, `initial` to begin with. Nobody may have
        the port open.
        """
        what = "cannot set the offsets of"
        self._port_call(what, port, lib.rp_port_offsets, bits, largest, initial)

    def vnet(self, port: PortId, header_bytes: int, features: int) -> None:
        """Put a virtio-net header of 10 or 12 bytes (0: none) before every frame in a port's rings.

        `features` are the feature bits of VIRTIO on which the rings' user and the data plane agree,
        of `vnet_features`; 0 without a header. What other ports did not agree to is done in
        software. Set while the port is open, it goes with its last open. The ends of a pipe in one
        region have the same header: refused (EBUSY) while the other one is open and does not suit.
        """
        what = "cannot have virtio-net headers in the rings of"
        self._port_call(what, port, lib.rp_port_vnet, header_bytes, features)

    def link_ports(self, one: PortId, other: PortId) -> None:
        """Join two ports of kind LINK: what one sends the other receives.

        If both have netmap rings in one region they need CSBs and no worker: their users' own
        threads move the slots. Undone when one of them is removed.
        """
        self._port_call("cannot link", one, lib.rp_port_link, other)

    def add_region(self, spec: RegionSpec) -> RegionId:
        """Make a region that stays until it is removed."""
        config = _region_config(spec)
        return RegionId(self._call(f"cannot make region {spec.name}", lib.rp_region_add, config))

    def resume_region(self, spec: RegionSpec, fd: int, book_fd: int) -> RegionId:
        """Go on with a region of a backend that was killed, which `spec` was made by.

        Ports that are added to it have their rings where those of the same name were, and `bind`
        can go on with what was open. No frame moves there until `settle`.
        """
        what = f"cannot go on with region {spec.name}"
        return RegionId(self._call(what, lib.rp_region_resume, _region_config(spec), fd, book_fd))

    def hand_back_region(self, region: RegionId, fd: int) -> None:
        """Let a region be in the memfd of one that was like it, which a guest has mapped still.

        It must be a single port's, which nobody has open, and the memfd as such regions have them.
        All that is in it is made new. Raises RingpassError: then nothing has changed.
        """
        what = "memory that was handed back is not taken"
        self._call(what, lib.rp_region_hand_back, region, fd)

    def settle(self) -> None:
        """Give back what was taken in resumed regions and nobody goes on with; let frames move."""
        lib.rp_dataplane_settle(self._dp)

    def abandon(self) -> None:
        """Leave all regions to another data plane as they are, instead of `settle`.

        Nobody else sees what is done from now on. Raises RingpassError.
        """
        self._call("cannot leave the regions as they are", lib.rp_dataplane_abandon)

    def remove_region(self, region: RegionId) -> None:
        """Remove a region, which nobody may use."""
        self._call("cannot remove the region", lib.rp_region_del, region)

    def region_pools(self, region: RegionId) -> Pools:
        """Return the size and the pools of a region, also of a port's private one."""
        out: Any = ffi.new("struct rp_pools_info *")
        self._call("cannot look into the region", lib.rp_region_pools, region, out)
        return Pools(
            out.fd,
            out.book_fd,
            out.users,
            out.bytes,
            _pool(out.csb_pool, out.ring_used),
            _pool(out.if_pool, out.if_used),
            _pool(out.ring_pool, out.ring_used),
            _pool(out.buf_pool, out.buf_used),
            out.slots_max,
        )

    def write_guest(self, region: RegionId, guest: int, record: "GuestRecord") -> None:
        """Write the record of a virtual machine that maps the region."""
        row = ffi.new("struct rp_guest *", {**record._asdict(), "port": _text(record.port)})
        what = "cannot write a virtual machine's record"
        self._call(what, lib.rp_guest_write, region, guest, row)

    def take_request(self, region: RegionId, guest: int, answered: int) -> "GuestRequest | None":
        """Return what a virtual machine asks for, None if that is its request `answered`."""
        out: Any = ffi.new("struct rp_guest_request *")
        what = "cannot take a virtual machine's request"
        try:
            if not self._call(what, lib.rp_guest_take, region, guest, answered, out):
                return None
        except RingpassError as error:
            if error.errno != errno.EPROTO:
                raise
            return GuestRequest(out.sent, out.op, out.open, out.generation, b"", error)
        data = bytes(ffi.buffer(out.data, out.bytes))
        return GuestRequest(out.sent, out.op, out.open, out.generation, data)

    def answer_request(self, region: RegionId, guest: int, sent: int, answer: bytes) -> None:
        """Answer request number `sent`. Raises RingpassError (EMSGSIZE) if it is too long."""
        what = "cannot answer a virtual machine"
        self._call(what, lib.rp_guest_answer, region, guest, sent, answer, len(answer))

    def wire(self, port: PortId, direction: int, ring: int, kick_fd: int, call_fd: int) -> None:
        """Let the user of a ring with a CSB kick and be called on these eventfds; -1: a new one.

        `direction` is netmap's (1: tx). Only users of tx rings kick.
        """
        what = "cannot change the eventfds of"
        self._port_call(what, port, lib.rp_port_wire, direction, ring, kick_fd, call_fd)

    def place_csb(self, port: PortId, places: CsbPlaces, *, go_on: bool = False) -> None:
        """Let the CSBs of a port be elsewhere than in its region, until its last open ends.

        Its rings, all of which are open, are empty then: from their first slots on, or with `go_on`
        from where their user's heads are. In a resumed region they go on where they were. Not of
        pipes and monitors (EOPNOTSUPP). Who truncates the memory breaks the port.
        """
        config = ffi.new("struct rp_csb_config *", {**places._asdict(), "go_on": go_on})
        self._port_call("cannot move the communication blocks of", port, lib.rp_port_csb, config)

    def add_relay(self, from_fd: int, to_fd: int) -> RelayId:
        """Pass on what one eventfd is signalled to another, until the relay is removed."""
        return RelayId(self._call("cannot pass on", lib.rp_relay_add, from_fd, to_fd))

    def remove_relay(self, relay: RelayId) -> None:
        """Pass on no more: when this returns, nothing is on its way."""
        self._call("cannot end a relay", lib.rp_relay_del, relay)

    def bind(self, spec: BindSpec) -> Binding:
        """Give one open of a port a netmap_if of its own, and extra buffers."""
        out: Any = ffi.new("struct rp_bind_info *")
        config = ffi.new(
            "struct rp_bind_config *",
            {
                "port": spec.port,
                "host_port": -1 if spec.host is None else spec.host,
                "tx_first": spec.tx[0],
                "tx_n": spec.tx[1],
                "rx_first": spec.rx[0],
                "rx_n": spec.rx[1],
                "host_tx_first": spec.host_tx[0],
                "host_tx_n": spec.host_tx[1],
                "host_rx_first": spec.host_rx[0],
                "host_rx_n": spec.host_rx[1],
                "extra_bufs": spec.extra_bufs,
                "nifp_offset": spec.nifp_offset,
            },
        )
        name = self._names.get(spec.port, f"number {spec.port}")
        binding = self._call(f"cannot open port {name}", lib.rp_binding_add, config, out)
        return Binding(BindingId(binding), RegionId(out.region), out.nifp_offset, out.extra_bufs)

    def unbind(self, binding: BindingId) -> None:
        """Take back the netmap_if and the extra buffers of an open."""
        self._call("cannot close a port", lib.rp_binding_del, binding)

    def renew_port(self, port: PortId) -> None:
        """Make those rings of a port as new that nobody has open; of a pipe, if neither end is.

        Who maps their region may have written there all the same.
        """
        self._port_call("cannot renew", port, lib.rp_port_renew)

    def vhost(self, port: PortId) -> "VhostPort":
        """Return the virtqueues of a port that has the vhost front end."""
        return VhostPort(self, port)

    def kernel(self, port: PortId) -> "KernelPort":
        """Return the queues of a port that has the kernel's front end."""
        return KernelPort(self, port)

    def caller(self) -> "Caller":
        """Return what this thread needs to sync ports by itself. Close it before the data plane."""
        error = ffi.new("struct rp_err *")
        handle = lib.rp_caller_new(self._dp, error)
        if handle == ffi.NULL:
            raise _failure("this thread cannot sync ports", error)
        return Caller(handle)

    def _call(self, what: str, function: Callable[..., int], *args: Any) -> int:
        error = ffi.new("struct rp_err *")
        result = function(self._dp, *args, error)
        if result < 0:
            raise _failure(what, error)
        return result

    def _port_call(self, what: str, port: PortId, function: Callable[..., int], *args: Any) -> int:
        name = self._names.get(port, f"number {port}")
        return self._call(f"{what} port {name}", function, port, *args)


class VhostPort:
    """The virtqueues of one port and the guest memory that they live in.

    Virtqueue 2k is the port's rx ring k, 2k+1 its tx ring k. Each call returns only when no worker
    can still see what it took away.
    """

    def __init__(self, dataplane: DataPlane, port: PortId) -> None:
        self._dp = dataplane
        self._port = port

    def broken(self) -> str | None:
        """Return why the port was stopped, or None."""
        return self._dp.port_status(self._port).broken

    def repair(self) -> None:
        """Take a broken port back into service."""
        self._dp.repair_port(self._port)

    def set_features(self, features: int) -> None:
        """Agree on the virtio feature bits of the mask `features`."""
        self._call("cannot set the features of", lib.rp_vhost_features, features)

    def set_memory(self, slots: Sequence[MemorySlot], fds: Sequence[int]) -> None:
        """Replace the whole guest memory table; `fds` has a file for each slot."""
        rows = ffi.new("struct rp_mem_slot[]", [_memory_row(slot) for slot in slots])
        files = ffi.new("int32_t[]", list(fds))
        self._call("cannot map the memory of", lib.rp_vhost_mem_set, rows, files, len(slots))

    def add_memory(self, slot: MemorySlot, fd: int) -> None:
        """Add a slot to the guest memory table."""
        row = ffi.new("struct rp_mem_slot *", _memory_row(slot))
        self._call("cannot map more memory of", lib.rp_vhost_mem_add, row, fd)

    def remove_memory(self, slot: MemorySlot) -> None:
        """Remove the slot with these addresses and this size."""
        row = ffi.new("struct rp_mem_slot *", _memory_row(slot))
        self._call("cannot unmap memory of", lib.rp_vhost_mem_del, row)

    def start_log(self, fd: int, offset: int, size: int, *, everything: bool) -> None:
        """Log what is written to guest memory from now on, in the bitmap that the file holds.

        `size` bytes at `offset`, one bit a page of 4 KiB; with `everything` all memory is marked
        first. Rings go on. It takes an earlier log's place; when the call returns nobody marks
        that one any more.
        """
        what = "cannot log the writes of"
        self._call(what, lib.rp_vhost_log, fd, offset, size, everything)

    def stop_log(self) -> None:
        """Log no more."""
        self._call("cannot end the log of", lib.rp_vhost_log, -1, 0, 0, 0)

    def announce(self, mac: bytes) -> None:
        """Tell the switch and all its other ports that `mac` is to be found here."""
        self._call("cannot announce an address of", lib.rp_port_announce, mac)

    def start_ring(self, vring: int, config: VringConfig) -> None:
        """Let the data plane move the frames of a virtqueue."""
        row = ffi.new(
            "struct rp_vring_config *",
            {
                "size": config.size,
                "base": config.base,
                "desc_user_addr": config.desc,
                "avail_user_addr": config.avail,
                "used_user_addr": config.used,
                "kick_fd": config.kick_fd,
                "call_fd": config.call_fd,
            },
        )
        what = f"cannot start virtqueue {vring} of"
        self._call(what, lib.rp_vhost_ring_start, vring, row)
        self._call(what, lib.rp_vhost_ring_enable, vring, 1)

    def set_call(self, vring: int, call_fd: int) -> None:
        """Change what the data plane writes to when it used buffers of a started virtqueue."""
        what = f"cannot notify virtqueue {vring} of"
        self._call(what, lib.rp_vhost_ring_call, vring, call_fd)

    def runs(self, vring: int) -> bool:
        """Return whether a virtqueue moves frames."""
        status = self._dp.port_status(self._port)
        live = status.tx_live if vring % 2 else status.rx_live
        return bool(live >> vring // 2 & 1)

    def stop_ring(self, vring: int) -> int:
        """Stop a virtqueue; return the avail index at which to start it again."""
        base = ffi.new("uint32_t *")
        self._call(f"cannot stop virtqueue {vring} of", lib.rp_vhost_ring_stop, vring, base)
        return int(base[0])

    def _call(self, what: str, function: Callable[..., int], *args: Any) -> None:
        self._dp._port_call(what, self._port, function, *args)  # noqa: SLF001  one module, one unit


class KernelPort:
    """The queues of one port whose other side is an interface of the host.

    It moves frames while it is started and enabled.
    """

    def __init__(self, dataplane: DataPlane, port: PortId) -> None:
        self._dp = dataplane
        self._port = port

    def broken(self) -> str | None:
        """Return why the port was stopped, or None."""
        return self._dp.port_status(self._port).broken

    def repair(self) -> None:
        """Take a broken port back into service."""
        self._dp.repair_port(self._port)

    def start(self, config: KernelConfig) -> None:
        """Give the stopped port its queues. It is not enabled yet."""
        row = ffi.new(
            "struct rp_kernel_config *",
            {
                "mode": config.mode,
                "slots": config.slots,
                "frame_bytes": config.frame_bytes,
                "ifindex": config.ifindex,
                "software": config.software,
                "fd": list(config.fds),
            },
        )
        self._call("cannot start", lib.rp_kernel_start, row)

    def stop(self) -> None:
        """Close all queues; frames that are not yet sent are dropped and counted."""
        self._call("cannot stop", lib.rp_kernel_stop)

    def enable(self, on: bool) -> None:
        """Let the port move frames, or drop those that come for it."""
        self._call("cannot enable" if on else "cannot disable", lib.rp_kernel_enable, int(on))

    def fd(self, queue: int) -> int:
        """Return the descriptor of a queue of the started port, its own."""
        return self._call("there is no queue of", lib.rp_kernel_fd, queue)

    def serve(self, queue: int, worker: WorkerId) -> None:
        """Let `worker` move what comes in on a queue, from now on."""
        self._call("cannot move a queue of", lib.rp_kernel_serve, queue, worker)

    def _call(self, what: str, function: Callable[..., int], *args: Any) -> int:
        return self._dp._port_call(what, self._port, function, *args)  # noqa: SLF001  one module


class Caller:
    """The right of one thread to sync ports that have no worker. Use it as a context manager."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the right back. A second close does nothing."""
        if self._handle is not None:
            lib.rp_caller_free(self._handle)
            self._handle = None

    def txsync(self, port: PortId, ring: int = 0) -> int:
        """Take the frames that the user put into a tx ring; return what the data plane says."""
        return self._sync(f"txsync of ring {ring}", lib.rp_port_txsync, port, ring)

    def rxsync(self, port: PortId, ring: int = 0) -> int:
        """Give new frames to the user of an rx ring; return what the data plane says."""
        return self._sync(f"rxsync of ring {ring}", lib.rp_port_rxsync, port, ring)

    def _sync(self, what: str, function: Callable[..., int], port: PortId, ring: int) -> int:
        result = function(self._handle, port, ring)
        if result < 0:
            raise RingpassError(f"{what} failed", os.strerror(-result), errno=-result)
        return result


def vhost_features() -> int:
    """Return the mask of every virtio feature bit that the data plane serves."""
    return int(lib.rp_vhost_offered())


def vnet_features() -> int:
    """Return the mask of every feature bit that netmap rings with a virtio-net header serve."""
    return int(lib.rp_vnet_offered())


def _worker_config(policy: Policy, sleep_us: int, cpu: int | None) -> Any:
    row = {"policy": policy, "sleep_us": sleep_us, "cpu": -1 if cpu is None else cpu}
    return ffi.new("struct rp_worker_config *", row)


def _region_config(spec: RegionSpec) -> Any:
    return ffi.new(
        "struct rp_region_config *",
        {
            "name": _text(spec.name),
            "bytes": spec.size,
            "buf_bytes": spec.buf_bytes,
            "slots_max": spec.slots_max,
            "if_max": spec.if_max,
            "ring_max": spec.ring_max,
            "buf_max": spec.buf_max,
            "common": spec.common,
            "guests": spec.guests,
        },
    )


def _ring_info(ring: Any) -> RingInfo:
    return RingInfo(
        ring.ring_offset, ring.csb, ring.peer_csb, ring.slots, ring.kick_fd, ring.call_fd
    )


def _pool(pool: Any, used: int) -> Pool:
    return Pool(pool.offset, pool.objtotal, pool.objsize, used)


def _memory_row(slot: MemorySlot) -> dict[str, int]:
    return {
        "guest_addr": slot.guest_addr,
        "bytes": slot.size,
        "user_addr": slot.user_addr,
        "mmap_offset": slot.mmap_offset,
    }


def _text(name: str) -> bytes:
    """Return `name` for a `char[64]` of the data plane."""
    encoded = name.encode()
    if len(encoded) > 63:
        raise RingpassError(f"the name {name!r} is too long", "names have at most 63 bytes")
    return encoded


def _string(chars: Any) -> str:
    text = ffi.string(chars)
    assert isinstance(text, bytes)
    return text.decode(errors="replace")


def _failure(what: str, error: Any) -> RingpassError:
    why = _string(error.text) or os.strerror(error.code)
    if error.code == errno.ENOENT:
        return NotFound(what, why, errno=error.code)
    if error.code in (errno.EPERM, errno.EACCES):
        return Denied(what, why, errno=error.code)
    return RingpassError(what, why, errno=error.code)
