# SPDX-License-Identifier: BSD-2-Clause
"""The status of a daemon as data: what the RPC methods answer and the command line prints."""

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from ringpass.observe.counters import RingCounters

PortState = Literal["waiting", "connected", "up", "broken"]


class Traffic(Struct, frozen=True):
    """One direction of a port, all rings together."""

    frames: int
    bytes: int
    batches: int
    kicks: int
    calls: int
    copied: int
    holds: int
    checksums: int
    """Completed in software, for receivers that do not complete them."""
    segments: int
    """Frames made in software of longer ones, for receivers that do not take these."""
    sleeps: int
    """Times that a worker slept until a kick, with a ring of this direction to watch."""
    truncated: int
    """Frames of which a monitor shows only the beginning."""
    drops: dict[str, int]


class RingStatus(Struct, frozen=True):
    """A virtqueue as its front end described it."""

    index: int
    size: int
    enabled: bool | None
    """What the front end said last; None: nothing yet."""
    kicked: bool
    """The front end has started it."""
    running: bool


class FrontEndStatus(Struct, frozen=True):
    """The front end that is connected to a port."""

    pid: int
    since: float
    """Seconds since the epoch."""
    driver: list[str]
    """The virtio device status that the guest's driver set, in words."""
    features: list[str]
    """The virtio features that were agreed on, in words."""
    protocol_features: list[str]
    memory_regions: int
    memory_bytes: int
    memory_private: bool
    """Whether the front end maps it privately, so that nobody else sees what the guest writes."""
    logging: bool
    """Whether what is written to the guest's memory is logged: the guest migrates."""
    waits: bool
    """Whether its virtqueues should run, and do not because another front end holds the port."""
    rings: list[RingStatus]


class InterfaceStatus(Struct, frozen=True):
    """The interface of the host that a port has."""

    name: str
    mode: str
    """How frames are moved: xdp-zerocopy, xdp-copy, packet or tap; empty while they are not."""
    fell_back: str
    """Why packet sockets have to do."""
    problem: str
    """Why no frames are moved."""
    polling: list[int] = []
    """CPUs that do nothing but move what comes in."""


class GuestStatus(Struct, frozen=True):
    """The virtual machine that maps a port's rings."""

    pid: int
    """Its QEMU."""
    uid: int
    since: float
    """Seconds since the epoch."""
    way: str
    """How it maps them: by QEMU's ivshmem device, or by its netdev."""
    peer: int
    """Its id among those who map the region."""
    driver: bool
    """Whether a driver said hello."""
    opens: int
    """Of the device, by the driver."""
    extra_rings: int
    """That it has open beside those of its own port."""


class DomainStatus(Struct, frozen=True):
    """The domain of libvirt that has a port."""

    name: str
    uuid: str
    state: str
    """running, paused, shutting down, crashed, suspended or unknown."""
    what: str
    """What happened to it last, such as `started` or `rebooted`."""
    at: float
    """When: seconds since the epoch."""


class LibvirtStatus(Struct, frozen=True):
    """How a daemon that follows libvirt gets on with it."""

    uri: str
    connected: bool
    why: str
    """Why it is not; else empty. What is known of domains is of the time before, then."""
    since: float
    """Seconds since the epoch."""
    domains: int
    """That run."""


class UserStatus(Struct, frozen=True):
    """A program that has a port open."""

    pid: int
    """Who opened it; the open may have been passed on since."""
    uid: int
    since: float
    """Seconds since the epoch."""
    mode: str
    """Which rings, in netmap's words."""
    flags: list[str]
    tx_rings: int
    rx_rings: int


class RegionStatus(Struct, frozen=True):
    """Memory that ports are in."""

    number: int
    """What names call `@NUMBER`."""
    name: str
    configured: bool
    bytes: int
    buf_size: int
    buffers_used: int
    buffers: int
    rings_used: int
    rings: int
    ports: list[str]


class PortStatus(Struct, frozen=True):
    """A port.

    waiting: no front end, or its interface is down or gone; connected: a front end without a
    running virtqueue; up: its rings run; broken: stopped, see `reason`.
    """

    name: str
    kind: str
    state: PortState
    path: str
    queues: int
    mtu: int
    """0: no bound."""
    tx: Traffic
    """What came from the guest, the program or the interface."""
    rx: Traffic
    """What went to it."""
    reason: str = ""
    """Why it is broken; else empty."""
    mode: str = "server"
    worker: int | None = None
    """None: its users move the frames themselves."""
    mac: str = ""
    front_end: FrontEndStatus | None = None
    """The one that holds the port."""
    standby: FrontEndStatus | None = None
    """A second one, such as the destination of a guest that migrates."""
    sessions: int = 0
    refused: int = 0
    violations: int = 0
    delays: int = 0
    """passthrough: requests that had to wait, as its guest had cost too much,"""
    delayed_s: float = 0.0
    """and for how many seconds altogether."""
    handovers: int = 0
    """How often a standby took the port over."""
    pause_s: float = 0.0
    """Seconds that no virtqueue ran in the last handover."""
    last_error: str = ""
    last_error_at: float = 0.0
    """Seconds since the epoch; 0: never."""
    interface: InterfaceStatus | None = None
    guest: GuestStatus | None = None
    """passthrough: the virtual machine that maps it."""
    vectors: int = 0
    """passthrough: what QEMU's device must have."""
    netdev_path: str = ""
    """passthrough: the socket for QEMU's netdev; `path` is that for its ivshmem device."""
    domain: DomainStatus | None = None
    """The domain of libvirt that has it, if libvirt is followed."""
    users: list[UserStatus] = []
    """The programs that have it open."""
    region: int = 0
    """The number of the region that its rings are in; 0: none."""
    ephemeral: bool = False
    """Whether it goes with its last user."""


class SwitchStatus(Struct, frozen=True):
    """A switch."""

    name: str
    ageing: int
    ports: list[str]
    addresses: int
    """MAC addresses that it knows now."""
    logic: str
    """What says where frames go: bridge, static, hash or a C file."""
    ephemeral: bool = False
    """Whether it goes with its last port."""


class WorkerStatus(Struct, frozen=True):
    """A worker thread."""

    worker: int
    policy: str
    cpu: int | None
    tid: int
    ports: list[str]
    loops: int
    busy: int
    sleeps: int
    wakes: int


class FdbEntry(Struct, frozen=True):
    """A MAC address that a switch learnt."""

    mac: str
    port: str
    age_s: int


class Status(Struct, frozen=True):
    """A daemon with all that it runs."""

    version: str
    pid: int
    uptime_s: float
    runtime_dir: str
    problems: list[str]
    workers: list[WorkerStatus]
    switches: list[SwitchStatus]
    ports: list[PortStatus]
    regions: list[RegionStatus] = []
    libvirt: LibvirtStatus | None = None
    """None: it is not followed."""


_NUMBERS = [field for field in Traffic.__struct_fields__ if field != "drops"]


def traffic(rings: Iterable[RingCounters]) -> Traffic:
    """Return the sum of `rings`."""
    total: Counter[str] = Counter()
    drops: Counter[str] = Counter()
    for ring in rings:
        for field in _NUMBERS:
            total[field] += getattr(ring, field)
        drops.update(ring.drops)
    return Traffic(**{field: total[field] for field in _NUMBERS}, drops=dict(drops))


def problems(ports: Iterable[PortStatus], libvirt: LibvirtStatus | None = None) -> list[str]:
    """Return what a user should look at first, a line each."""
    found = [f"{port.name}: {why}" for port in ports if (why := diagnosis(port))]
    if libvirt is not None and not libvirt.connected:
        found.append(f"libvirt at {libvirt.uri} is not followed: {libvirt.why}")
    return found


def diagnosis(port: PortStatus) -> str:
    """Return what is wrong with `port` and what to do, or nothing."""
    if port.interface is not None and (port.interface.problem or port.reason):
        return port.interface.problem or f"{port.reason}; ringpass port repair {port.name}"
    if port.state == "broken":
        return f"broken: {port.reason}; {_mending(port)}"
    if _has_no_memory(port):
        return f"its guest is up, but the guest's memory {_UNSHARED}"
    if port.front_end is not None and port.front_end.memory_private:
        return f"process {port.front_end.pid} maps the guest's memory privately: it {_UNSHARED}"
    if port.front_end is not None and port.standby is not None and port.standby.waits:
        return (
            f"the guest of process {port.standby.pid} waits for it, which process "
            f"{port.front_end.pid} holds; give each guest a port of its own"
        )
    return ""


def _mending(port: PortStatus) -> str:
    repair = f"ringpass port repair {port.name}"
    match port.kind:
        case "monitor":
            return "close it and open it again"  # repaired, it would have nothing to show
        case "netmap":
            return f"close it and open it again, or {repair}"
        case "vhost-user" | "passthrough":
            return f"reset the guest's NIC, or {repair}"
        case _:
            return repair


_UNSHARED = "is not shared; start QEMU with memory-backend-memfd,share=on as the machine's memory"


def _has_no_memory(port: PortStatus) -> bool:
    """Whether rings were started without memory; QEMU keeps quiet about what it cannot share."""
    front_end = port.front_end
    return (
        front_end is not None
        and front_end.memory_bytes == 0
        and any(ring.kicked for ring in front_end.rings)
    )
