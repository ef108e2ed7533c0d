# SPDX-License-Identifier: BSD-2-Clause
"""What the requests of netmap's device do, on the real data plane, without a daemon."""

import errno
import os
import tempfile
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringpass import config
from ringpass.dataplane import (
    DataPlane,
    FrontEndKind,
    Kind,
    PortId,
    PortRings,
    PortSpec,
    WorkerId,
)
from ringpass.errors import RingpassError
from ringpass.netmap import abi, attach, legacy, quotas
from ringpass.netmap import options as opt
from ringpass.netmap.abi import (
    Flag,
    Header,
    LegacyCommand,
    LegacyRequest,
    Mode,
    OptionType,
    PoolsInfo,
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
from ringpass.netmap.call import Device
from ringpass.netmap.device import Open, Reply
from ringpass.netmap.nics import Attached
from ringpass.netmap.peer import EXTRA_BUFFERS, Peer
from ringpass.netmap.port import Group, Port, Registration
from ringpass.netmap.ports import Ports
from ringpass.netmap.regions import Regions
from ringpass.netmap.rings import Geometry
from ringpass.netmap.session import Operation, Session
from ringpass.netmap.switches import Switches
from tests.support.netmap import control as asked_control
from tests.support.netmap import message, option
from tests.support.vhost import open_fds

ME = Peer(os.getpid(), os.geteuid())
STRANGER = Peer(4242, 4242)
OTHER = Peer(4343, 4343)


@pytest.fixture(scope="module")
def plane() -> Iterator[tuple[DataPlane, WorkerId]]:
    """Return a data plane with a worker, which the tests of this module share."""
    with tempfile.TemporaryFile() as counters, DataPlane(counters.fileno()) as plane:
        worker = plane.add_worker()
        # A worker opens what it waits on with its first port, and keeps it.
        plane.remove_port(
            plane.add_port(
                PortSpec("first", Kind.NULL, FrontEndKind.RINGS, worker=worker, csb=True)
            )
        )
        yield plane, worker


@pytest.fixture
def device(plane: tuple[DataPlane, WorkerId]) -> Iterator[Device]:
    """Return a device; nothing may be left of it when a test is over."""
    dataplane, worker = plane
    switches, regions = Switches(dataplane), Regions(dataplane)
    before = open_fds()
    made = Device(
        dataplane, switches, regions, Ports(dataplane, switches, regions, lambda _: worker)
    )
    yield made
    for each in opened:
        each.close()
    opened.clear()
    assert list(made.ports) == []
    assert list(switches) == []
    assert [region for region in regions if not region.configured] == []
    assert open_fds() <= before


opened: list[Open] = []


def new(device: Device, peer: Peer = ME) -> Open:
    """Return an open that is closed when the test is over."""
    opened.append(Open(device, peer))
    return opened[-1]


def register(device: Device, name: str, peer: Peer = ME, **fields: int) -> tuple[Open, Register]:
    """Register rings of the port `name` on an open of its own."""
    each = new(device, peer)
    return each, each.register(name, Register(**{"mode": Mode.ALL_NIC, **fields}))


def refused(device: Device, name: str, peer: Peer = ME, **fields: int) -> RingpassError:
    """Return why a registration is refused."""
    with pytest.raises(RingpassError) as caught:
        register(device, name, peer, **fields)
    assert caught.value.errno
    assert caught.value.why
    return caught.value


def control(
    each: Open, kind: int, name: str, body: abi.Body | bytes | None = None, options: bytes = b""
) -> Reply:
    """Do an ioctl(NIOCCTRL)."""
    raw = body.pack() if isinstance(body, abi.Body) else body or b""
    header = Header(reqtype=kind, name=abi.chars(name), body=int(body is not None))
    return each.control(header.pack(), raw, options)


def number(reply: Reply) -> int:
    """Return the errno of a reply, 0 for success."""
    return 0 if reply.error is None else reply.error.errno


def statuses(reply: Reply) -> list[int]:
    """Return the status of each option."""
    return [each.header.status for each in opt.decode(reply.options).each]


def test_a_vale_port_lasts_as_long_as_its_users(device: Device) -> None:
    one, first = register(device, "vale7:a", tx_rings=2, rx_slots=512)
    two, second = register(device, "vale7:a", tx_rings=4)
    assert (first.tx_rings, first.rx_rings, first.tx_slots, first.rx_slots) == (2, 1, 1024, 512)
    assert (second.tx_rings, second.rx_slots) == (2, 512), "the first open decides"
    assert first.mem_id == second.mem_id
    assert first.offset != second.offset, "each open has a netmap_if of its own"
    assert (first.host_tx_rings, first.host_rx_rings) == (0, 0)
    one.close()
    assert device.ports.get("vale7:a") is not None
    two.close()
    assert device.ports.get("vale7:a") is None
    assert device.switches.get("vale7") is None


def test_a_configured_switch_stays_and_takes_over_one_made_on_demand(device: Device) -> None:
    one, _ = register(device, "vale7:a")
    made = device.switches.get("vale7")
    device.switches.configure("vale7", config.Switch(ageing=5))
    adopted = device.switches.get("vale7")
    assert made is not None
    assert adopted is not None
    assert (adopted.id, adopted.config.ageing) == (made.id, 5)
    one.close()
    assert device.switches.get("vale7") is not None
    device.switches.forget("vale7")


def test_private_regions_are_private_and_shared_ones_shared(device: Device) -> None:
    _, a = register(device, "vale0:a")
    _, b = register(device, "vale0:b")
    _, c = register(device, "vale0:c", mem_id=a.mem_id)
    assert a.mem_id != b.mem_id
    assert c.mem_id == a.mem_id
    error = refused(device, "vale0:d", mem_id=999)
    assert error.errno == errno.EINVAL
    assert "999" in error.what


def test_both_ends_of_a_pipe_are_there_while_one_is_open(device: Device) -> None:
    one, a = register(device, "vale0:p{1", tx_slots=256, rx_slots=128)
    two, b = register(device, "vale0:p}1")
    assert a.mem_id == b.mem_id
    assert (b.tx_slots, b.rx_slots) == (128, 256), "what one sends the other receives"
    one.close()
    assert device.ports.get("vale0:p{1") is not None
    again, _ = register(device, "vale0:p{1")
    again.close()
    two.close()
    assert device.ports.get("vale0:p{1") is None


def test_pipes_live_in_the_region_of_their_parent(device: Device) -> None:
    parent, a = register(device, "vale0:p", tx_slots=64, rx_slots=32)
    pipe, b = register(device, "vale0:p}x")
    assert a.mem_id == b.mem_id
    assert (b.tx_slots, b.rx_slots) == (32, 64), "its slots are the parent's"
    parent.close()
    _, c = register(device, "vale0:p{y")
    assert c.mem_id == a.mem_id, "the region lasts as long as a pipe"
    pipe.close()
    _, d = register(device, "vale0:p")
    assert d.mem_id == a.mem_id, "the parent comes back to its pipes"


@pytest.mark.parametrize("mode", [Mode.SW, Mode.NIC_SW, Mode.ONE_SW, Mode.DEFAULT, 77])
def test_pipes_have_no_other_modes_than_nic_rings(device: Device, mode: int) -> None:
    assert refused(device, "vale0:p{1", mode=mode).errno == errno.EINVAL


def test_each_open_of_a_monitor_is_a_port_of_its_own(device: Device) -> None:
    parent, a = register(device, "vale0:m", tx_rings=2, rx_rings=3, rx_slots=512)
    _, one = register(device, "vale0:m", flags=Flag.MONITOR_RX)
    _, two = register(device, "vale0:m", flags=Flag.MONITOR_RX | Flag.MONITOR_TX)
    assert (one.tx_rings, one.rx_rings, one.rx_slots) == (1, 3, 1024)
    assert len({a.mem_id, one.mem_id, two.mem_id}) == 3
    parent.close()
    assert device.ports.get("vale0:m") is None


def test_only_what_is_open_can_be_watched(device: Device) -> None:
    error = refused(device, "vale0:m", flags=Flag.MONITOR_RX)
    assert error.errno == errno.EINVAL
    assert "no program has it open" in error.why


def test_exclusive_rings_are_exclusive_and_others_are_not(device: Device) -> None:
    register(device, "vale0:x", tx_rings=2, rx_rings=2, mode=Mode.ONE_NIC, flags=Flag.EXCLUSIVE)
    register(device, "vale0:x", mode=Mode.ONE_NIC, ringid=1)
    for fields in ({}, {"mode": Mode.ONE_NIC}, {"mode": Mode.ONE_NIC, "ringid": 1, "flags": 0x800}):
        error = refused(device, "vale0:x", **fields)
        assert error.errno == errno.EBUSY
        assert f"process {ME.pid}" in error.why


def test_an_open_registers_once(device: Device) -> None:
    each, _ = register(device, "vale0:a")
    with pytest.raises(RingpassError) as caught:
        each.register("vale0:b", Register(mode=Mode.ALL_NIC))
    assert caught.value.errno == errno.EBUSY


def test_extra_buffers_are_as_many_as_there_are(device: Device) -> None:
    assert register(device, "vale0:a", extra_bufs=100)[1].extra_bufs == 100
    device.regions.private = config.Region(buffers=4)
    got = register(device, "vale0:b", extra_bufs=0xFFFF_FFFF)[1].extra_bufs
    assert 0 < got < 100_000


def test_one_user_cannot_take_all_extra_buffers_of_a_shared_region(device: Device) -> None:
    device.regions.configure("shared", config.Region(buffers=32768))
    number = device.regions.named("shared").id
    most = EXTRA_BUFFERS

    def got(name: str, peer: Peer, extra_bufs: int) -> int:
        return register(device, name, peer, mem_id=number, extra_bufs=extra_bufs)[1].extra_bufs

    assert got("vale0:a", STRANGER, most - 10) == most - 10
    assert got("vale0:b", STRANGER, 0xFFFF_FFFF) == 10
    assert got("vale0:b", STRANGER, 1) == 0
    assert got("vale0:c", OTHER, 20) == 20
    assert got("vale0:d", ME, most + 1) == most + 1, "the daemon's user has no such bound"
    for each in opened:
        each.close()
    device.regions.forget("shared")


def test_one_user_cannot_take_all_switches(device: Device) -> None:
    device.switches.configure("valec", config.Switch())
    register(device, "valec:a", STRANGER)
    opens = [register(device, f"vale{i}:a", STRANGER)[0] for i in range(quotas.SWITCHES)]
    error = refused(device, "valex:a", STRANGER)
    assert error.errno == errno.EDQUOT
    assert "[switch.NAME]" in error.fix
    register(device, "vale0:b", STRANGER)
    register(device, "valex:a", OTHER)
    register(device, "valex:b", STRANGER)
    opens[1].close()
    opens[2].close()
    register(device, "valey:a", STRANGER)
    device.switches.forget("valec")


def test_a_full_region_says_which_pool_and_what_to_change(device: Device) -> None:
    device.regions.private = config.Region(rings=2, interfaces=8)
    _, a = register(device, "vale0:a")
    error = refused(device, "vale0:b", mem_id=a.mem_id)
    assert error.errno == errno.ENOMEM
    assert "rings" in error.why
    assert "0 of 2 left" in error.why
    assert "[region.private]" in error.fix


def test_a_region_of_the_configuration_is_there_for_all(device: Device) -> None:
    device.regions.configure("shared", config.Region(buffers=8192))
    number = device.regions.named("shared").id
    _, a = register(device, "vale0:a", STRANGER, mem_id=number)
    _, b = register(device, "vale0:b", OTHER, mem_id=number)
    assert a.mem_id == b.mem_id == number
    with pytest.raises(RingpassError) as caught:
        device.regions.forget("shared")
    assert caught.value.errno == errno.EBUSY
    for each in opened:
        each.close()
    device.regions.forget("shared")


def test_a_reserved_port_is_as_the_configuration_says(device: Device) -> None:
    device.regions.configure("big", config.Region())
    device.ports.reserve("vale0:r", config.Port(kind="netmap", queues=3, slots=64, region="big"))
    one, a = register(device, "vale0:r", STRANGER, tx_rings=9, tx_slots=9)
    assert (a.tx_rings, a.rx_rings, a.tx_slots) == (3, 3, 64)
    assert a.mem_id == device.regions.named("big").id
    two, _ = register(device, "vale0:r", OTHER)
    assert refused(device, "vale0:r", OTHER, flags=Flag.MONITOR_RX).errno == errno.EPERM
    one.close()
    two.close()
    device.ports.unreserve("vale0:r")
    device.regions.forget("big")


def test_what_a_user_made_is_for_that_user_and_the_daemons(device: Device) -> None:
    _, a = register(device, "vale0:mine", STRANGER)
    _, pipe = register(device, "vale0:mine{1", STRANGER)
    for fields in ({}, {"flags": Flag.MONITOR_TX}, {"flags": Flag.ZCOPY_MON}):
        assert refused(device, "vale0:mine", OTHER, **fields).errno == errno.EACCES
    assert refused(device, "vale0:mine}1", OTHER).errno == errno.EACCES
    assert refused(device, "vale0:own", OTHER, mem_id=a.mem_id).errno == errno.EACCES
    assert register(device, "vale0:own", OTHER)[1].mem_id not in (a.mem_id, pipe.mem_id)
    register(device, "vale0:mine", ME, flags=Flag.MONITOR_TX)


@pytest.mark.parametrize(
    ("first", "second"), [("vale0:db{1", "vale0:db"), ("vale0:db", "vale0:db{1")]
)
def test_a_name_puts_nobody_into_another_users_region(
    device: Device, first: str, second: str
) -> None:
    _, a = register(device, first, STRANGER)
    _, b = register(device, second, ME)
    assert a.mem_id != b.mem_id, "not those either who may do everything"
    theirs, mine = (device.ports.get(name) for name in (first, second))
    assert theirs is not None
    assert theirs.region is not None
    assert theirs.region.owner == STRANGER.uid
    assert mine is not None
    assert mine.region is not None
    assert mine.region.owner == ME.uid
    _, c = register(device, "vale0:db}2", STRANGER)
    assert c.mem_id == a.mem_id


def test_a_users_pipe_leaves_a_configured_port_to_all(device: Device) -> None:
    device.ports.reserve("vale0:cfg", config.Port(kind="netmap"))
    _, pipe = register(device, "vale0:cfg{x", STRANGER)
    _, a = register(device, "vale0:cfg", OTHER)
    _, b = register(device, "vale0:cfg", STRANGER)
    assert a.mem_id == b.mem_id != pipe.mem_id
    device.ports.unreserve("vale0:cfg")


def test_a_port_that_is_open_stays_its_users_when_the_configuration_names_it(
    device: Device,
) -> None:
    _, a = register(device, "vale0:late", STRANGER)
    device.ports.reserve("vale0:late", config.Port(kind="netmap"))
    assert refused(device, "vale0:late", OTHER).errno == errno.EACCES
    assert register(device, "vale0:late", STRANGER)[1].mem_id == a.mem_id
    for each in opened:
        each.close()
    register(device, "vale0:late", OTHER)
    device.ports.unreserve("vale0:late")


def test_a_machines_end_of_a_pipe_comes_back_beside_the_programs(device: Device) -> None:
    machine = config.Port(kind="vhost-user")
    device.ports.add_machine("vale0:p{1", machine)
    _, a = register(device, "vale0:p}1")
    live = device.ports.get("vale0:p}1")
    device.ports.remove_machine("vale0:p{1")
    error = refused(device, "vale0:p{1")
    assert error.errno == errno.EBUSY
    assert "vale0:p}1 is still there" in error.why
    again = device.ports.add_machine("vale0:p{1", machine)
    assert live is not None
    assert device.ports.get("vale0:p}1") is live
    assert (again.peer, live.peer) == (live, again)
    assert register(device, "vale0:p}1")[1].mem_id == a.mem_id
    device.ports.remove_machine("vale0:p{1")
    for each in opened:
        each.close()
    register(device, "vale0:p{1")


def test_a_null_port_needs_a_region(device: Device) -> None:
    assert refused(device, "nothing", mode=Mode.NULL).errno == errno.EINVAL
    _, a = register(device, "vale0:a")
    _, null = register(device, "nothing", mode=Mode.NULL, mem_id=a.mem_id, tx_rings=4)
    assert (null.mem_id, null.tx_rings) == (a.mem_id, 4)


def test_a_null_port_cannot_go_by_another_ports_name(device: Device) -> None:
    _, a = register(device, "vale0:a")
    register(device, "vale0:vm1", mode=Mode.NULL, mem_id=a.mem_id)
    assert [port.name for port in device.ports if port.kind is Kind.NULL] == ["null#1"]
    assert device.ports.get("vale0:vm1") is None


def test_a_port_that_is_refused_once_made_goes_again(device: Device) -> None:
    """A pipe of an interface is refused while that is attached to a switch."""
    interface = Port(
        "vale0:eth0",
        PortId(0),
        Kind.VALE,
        FrontEndKind.KERNEL,
        Geometry(),
        WorkerId(0),
        Group(),
        interface="eth0",
        attached=cast(Attached, object()),
    )
    device.ports.adopt(interface)
    assert refused(device, "eth0{1").errno == errno.EBUSY
    assert list(device.ports) == [interface]
    device.ports.disown("vale0:eth0")


def test_interfaces_are_not_there_without_those_who_know_them(device: Device) -> None:
    assert refused(device, "eth0").errno == errno.ENXIO
    assert refused(device, "valet").errno == errno.ENXIO


def test_port_info_is_told_with_and_without_an_open(device: Device) -> None:
    _, a = register(device, "vale0:a", rx_rings=2)
    told: PortInfo = new(device).request(Request.PORT_INFO_GET, "vale0:a", PortInfo())
    assert (told.mem_id, told.rx_rings, told.memsize) == (a.mem_id, 2, a.memsize)
    transient: PortInfo = new(device).request(Request.PORT_INFO_GET, "vale5:t", PortInfo())
    assert (transient.tx_rings, transient.tx_slots) == (1, 1024)
    assert device.ports.get("vale5:t") is None
    memory: PortInfo = new(device).request(Request.PORT_INFO_GET, "", PortInfo(mem_id=a.mem_id))
    assert (memory.memsize, memory.tx_rings) == (a.memsize, 0)


def test_pools_are_told_as_they_lie(device: Device) -> None:
    _, a = register(device, "vale0:a")
    told: PoolsInfo = new(device).request(Request.POOLS_INFO_GET, "vale0:a", PoolsInfo())
    assert (told.mem_id, told.memsize, told.buf_pool_objsize) == (a.mem_id, a.memsize, 2048)
    assert told.if_pool_offset <= a.offset < told.ring_pool_offset < told.buf_pool_offset
    end = told.buf_pool_offset + told.buf_pool_objtotal * told.buf_pool_objsize
    assert end <= told.memsize


def test_the_list_goes_through_all_ports_of_switches(device: Device) -> None:
    for name in ("vale0:a", "vale0:b", "vale1:c"):
        register(device, name)
    found, at = [], ValeList()
    each = new(device)
    for _ in range(3):
        name, at = each.named_request(Request.VALE_LIST, "", at)
        found.append(name)
        again = each.named_request(Request.VALE_LIST, name, ValeList())[1]
        assert again == at
        at.port_idx += 1
    assert found == ["vale0:a", "vale0:b", "vale1:c"]
    with pytest.raises(RingpassError) as caught:
        each.request(Request.VALE_LIST, "", at)
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    ("kind", "name", "body", "expected"),
    [
        (Request.PORT_INFO_GET, "", PortInfo(), errno.EINVAL),
        (Request.PORT_INFO_GET, "x{1}2", PortInfo(), errno.EINVAL),
        (Request.PORT_INFO_GET, "eth77", PortInfo(), errno.ENXIO),
        (Request.POOLS_INFO_GET, "", PoolsInfo(), errno.EINVAL),
        (Request.VALE_LIST, "vale0:no", ValeList(), errno.ENOENT),
        (Request.VALE_ATTACH, "vale0:eth0", ValeAttach(Register(mode=4).pack()), errno.EINVAL),
        (Request.VALE_ATTACH, "eth0", ValeAttach(Register(mode=1).pack()), errno.EINVAL),
        (Request.VALE_ATTACH, "vale0:e", ValeAttach(Register(mode=1).pack()), errno.ENXIO),
        (Request.VALE_DETACH, "vale0:no", ValeDetach(), errno.ENXIO),
        (Request.VALE_DETACH, "vale0:here", ValeDetach(), errno.EINVAL),
        (Request.PORT_HDR_SET, "vale0:no", PortHeader(12), errno.ENXIO),
        (Request.PORT_HDR_SET, "vale0:here", PortHeader(11), errno.EINVAL),
        (Request.PORT_HDR_SET, "vale0:here", PortHeader(12), errno.EBUSY),
        (Request.PORT_HDR_SET, "vale0:here", PortHeader(0), 0),
        (Request.PORT_HDR_GET, "vale0:here", PortHeader(7), 0),
        (Request.PORT_HDR_GET, "vale0:no", PortHeader(), errno.ENXIO),
        (Request.VALE_NEWIF, "valex", ValeNewif(), errno.EINVAL),
        (Request.VALE_NEWIF, "x" * 16, ValeNewif(), errno.ENXIO),
        (Request.VALE_NEWIF, "new0", ValeNewif(), errno.ENXIO),
        (Request.VALE_DELIF, "new0", None, errno.ENXIO),
        (Request.VALE_POLLING_ENABLE, "vale0:here", ValePolling(1, 0, 1), errno.EOPNOTSUPP),
        (Request.VALE_POLLING_DISABLE, "vale0:no", ValePolling(1, 0, 1), errno.ENXIO),
        (Request.SYNC_KLOOP_START, "", abi.KloopStart(), errno.ENXIO),
        (Request.SYNC_KLOOP_STOP, "", None, errno.ENXIO),
        (Request.CSB_ENABLE, "", None, errno.ENXIO),
        (Request.VALE_DELIF, "x", ValeDetach(), errno.EINVAL),
        (Request.REGISTER, "vale0:y", None, errno.EINVAL),
        (Request.REGISTER, "vale0:y", b"short", errno.EINVAL),
        (0, "vale0:y", Register(), errno.EINVAL),
        (16, "vale0:y", Register(), errno.EINVAL),
        (0xFFFF, "vale0:y", Register(), errno.EINVAL),
    ],
)
def test_each_request_has_netmaps_errno(
    device: Device, kind: int, name: str, body: abi.Body | bytes | None, expected: int
) -> None:
    register(device, "vale0:here")
    reply = control(new(device), kind, name, body)
    assert number(reply) == expected
    assert bool(reply.body) == (expected == 0), "a body comes back only on success"


def header(each: Open, name: str = "vale0:h") -> int:
    """Return how long the virtio-net header of a port is."""
    told: PortHeader = each.request(Request.PORT_HDR_GET, name, PortHeader())
    return told.hdr_len


def set_header(each: Open, length: int, name: str = "vale0:h") -> int:
    """Set how long it is; return the errno."""
    return number(control(each, Request.PORT_HDR_SET, name, PortHeader(length)))


def test_a_virtio_net_header_lasts_as_long_as_the_port_is_open(device: Device) -> None:
    own, _ = register(device, "vale0:h")
    for length in (10, 0, 12):
        assert set_header(own, length) == 0
        assert header(new(device)) == length
    other, _ = register(device, "vale0:h", flags=Flag.ACCEPT_VNET_HDR)
    own.close()
    assert header(new(device)) == 12
    assert set_header(new(device), 10) == 0, "who has the port open knows of headers"
    other.close()
    with pytest.raises(RingpassError):
        header(new(device))
    again, _ = register(device, "vale0:h")
    assert header(again) == 0


def test_older_programs_set_the_header_as_qemu_does(device: Device) -> None:
    own, _ = register(device, "vale0:h")
    request = LegacyRequest(name=abi.chars("vale0:h"), version=abi.API_MAX)
    request.cmd, request.arg1 = LegacyCommand.VNET_HDR, 10
    legacy.register(own, request.pack())
    request.cmd, request.arg1 = LegacyCommand.VNET_HDR_GET, 0
    assert LegacyRequest.unpack(legacy.register(own, request.pack())).arg1 == 10


def test_who_knows_of_no_header_does_not_get_one(device: Device) -> None:
    own, _ = register(device, "vale0:h")
    set_header(own, 12)
    error = refused(device, "vale0:h")
    assert error.errno == errno.EIO
    assert "12 bytes" in error.why
    assert "NR_ACCEPT_VNET_HDR" in error.fix
    register(device, "vale0:h", flags=Flag.MONITOR_TX)
    zero_copy = refused(device, "vale0:h", flags=Flag.ZCOPY_MON)
    assert "let it copy" in zero_copy.why
    register(device, "vale0:plain")
    assert set_header(new(device), 12, "vale0:plain") == errno.EBUSY


def test_pipes_have_no_header(device: Device) -> None:
    own, _ = register(device, "vale0:p{1")
    assert set_header(own, 12, "vale0:p{1") == errno.EOPNOTSUPP
    assert set_header(own, 0, "vale0:p{1") == 0
    assert header(own, "vale0:p{1") == 0


@pytest.mark.parametrize("changes", [0, 13, 16, 0xFFFF])
def test_other_versions_are_refused(device: Device, changes: int) -> None:
    header = Header(version=changes, reqtype=Request.VALE_LIST, body=1)
    assert number(new(device).control(header.pack(), ValeList().pack(), b"")) == errno.EINVAL
    reserved = Header(reqtype=Request.VALE_LIST, body=1, reserved=1)
    assert number(new(device).control(reserved.pack(), ValeList().pack(), b"")) == errno.EINVAL


def test_changing_what_concerns_everybody_is_for_the_daemons_user(device: Device) -> None:
    attach = ValeAttach(Register(mode=1).pack())
    assert refused(device, "eth0", STRANGER).errno == errno.EPERM
    for kind, name, body in (
        (Request.VALE_ATTACH, "vale0:lo", attach),
        (Request.VALE_DETACH, "vale0:lo", ValeDetach()),
        (Request.VALE_NEWIF, "new0", ValeNewif()),
        (Request.VALE_DELIF, "new0", None),
        (Request.VALE_POLLING_ENABLE, "vale0:lo", ValePolling(1, 0, 1)),
    ):
        assert number(control(new(device, STRANGER), kind, name, body)) == errno.EPERM


def test_an_unknown_option_fails_a_registration_and_nothing_else(device: Device) -> None:
    unknown = option(99)
    reply = control(new(device), Request.REGISTER, "vale0:a", Register(mode=1), unknown)
    assert number(reply) == errno.EOPNOTSUPP
    assert statuses(reply) == [errno.EOPNOTSUPP]
    register(device, "vale0:b")
    reply = control(new(device), Request.PORT_INFO_GET, "vale0:b", PortInfo(), unknown)
    assert number(reply) == 0
    assert statuses(reply) == [errno.EOPNOTSUPP]


@pytest.mark.parametrize(
    ("options", "expected", "told"),
    [
        (option(0), errno.EINVAL, [errno.EINVAL]),
        (option(OptionType.CSB, bytes(16)) * 2, errno.EINVAL, [errno.EINVAL] * 2),
        (option(OptionType.CSB, bytes(8)), errno.EINVAL, [errno.EINVAL]),
        (option(99) * 170, errno.EMSGSIZE, [errno.EOPNOTSUPP] * 170),
        (option(99, bytes(4096)), errno.EMSGSIZE, [errno.EOPNOTSUPP]),
        (option(OptionType.CSB, abi.Csb(64, 64).pack()), errno.EINVAL, [errno.EINVAL]),
        (option(OptionType.EXTMEM, bytes(72)), errno.EINVAL, [errno.EINVAL]),
    ],
)
def test_wrong_options_are_told_in_their_status(
    device: Device, options: bytes, expected: int, told: list[int]
) -> None:
    reply = control(new(device), Request.REGISTER, "vale0:a", Register(mode=1), options)
    assert number(reply) == expected
    assert statuses(reply) == told


def test_a_csb_needs_rings_of_its_own_and_alignment(device: Device) -> None:
    alone = Register(mode=1, flags=Flag.EXCLUSIVE)
    for csb, expected in ((abi.Csb(128, 4096), 0), (abi.Csb(8, 64), errno.EINVAL)):
        each = new(device)
        options = option(OptionType.CSB, csb.pack())
        reply = control(each, Request.REGISTER, "vale0:a", alone, options)
        assert number(reply) == expected
        assert statuses(reply) == [expected]
        each.close()
    each, _ = register(device, "vale0:b", flags=Flag.EXCLUSIVE)
    good = option(OptionType.CSB, abi.Csb(64, 128).pack())
    assert number(control(each, Request.CSB_ENABLE, "", None, good)) == 0
    assert number(control(each, Request.CSB_ENABLE, "", None)) == errno.EINVAL
    start = abi.KloopStart(1_000_001)
    assert number(control(each, Request.SYNC_KLOOP_START, "", start)) == errno.EINVAL
    events = option(OptionType.SYNC_KLOOP_EVENTFDS, bytes(16), 40)
    loop = abi.KloopStart(5)
    assert number(control(each, Request.SYNC_KLOOP_START, "", loop, events)) == 0
    few = option(OptionType.SYNC_KLOOP_EVENTFDS, bytes(8), 32)
    assert number(control(each, Request.SYNC_KLOOP_START, "", loop, few)) == errno.EINVAL
    direct = option(OptionType.SYNC_KLOOP_MODE, abi.KloopMode(1).pack())
    assert number(control(each, Request.SYNC_KLOOP_START, "", loop, direct)) == errno.EINVAL


def test_external_memory_becomes_a_region_of_its_size(device: Device) -> None:
    size = 3 << 20
    wanted = PoolsInfo(memsize=size, ring_pool_objtotal=8, buf_pool_objsize=1000)
    options = option(OptionType.EXTMEM, abi.Extmem(4096, wanted.pack()).pack())
    each = new(device)
    reply = control(each, Request.REGISTER, "vale0:e", Register(mode=1, tx_slots=256), options)
    assert number(reply) == 0
    assert Register.unpack(reply.body).memsize == size
    (told,) = opt.decode(reply.options).each
    pools = PoolsInfo.unpack(abi.Extmem.unpack(told.body).info)
    assert pools.buf_pool_objsize == 1024, "rounded to 64 bytes"
    assert pools.ring_pool_objtotal == 8
    end = pools.buf_pool_offset + pools.buf_pool_objtotal * pools.buf_pool_objsize
    assert size - 1024 < end <= size
    tiny = option(OptionType.EXTMEM, abi.Extmem(4096, PoolsInfo(memsize=4096).pack()).pack())
    reply = control(new(device), Request.REGISTER, "vale0:f", Register(mode=1), tiny)
    assert number(reply) == errno.ENOMEM


def test_external_memory_is_for_ports_that_have_none_yet(device: Device) -> None:
    first, got = register(device, "vale0:e")
    memory = abi.Extmem(4096, PoolsInfo(memsize=got.memsize).pack())
    options = option(OptionType.EXTMEM, memory.pack())
    reply = control(new(device), Request.REGISTER, "vale0:e", Register(mode=1), options)
    assert number(reply) == errno.EBUSY
    assert statuses(reply) == [errno.EBUSY]
    assert len(list(device.regions)) == 1
    first.close()
    reply = control(new(device), Request.REGISTER, "vale0:e", Register(mode=1), options)
    assert number(reply) == 0


def test_the_first_open_says_where_frames_begin(device: Device) -> None:
    def ask(offsets: abi.Offsets, name: str = "vale0:o", flags: int = 0) -> tuple[int, list[int]]:
        options = option(OptionType.OFFSETS, offsets.pack())
        request = Register(mode=1, flags=flags)
        reply = control(new(device), Request.REGISTER, name, request, options)
        return number(reply), statuses(reply)

    good = abi.Offsets(max_offset=128, initial_offset=64, offset_bits=16)
    assert ask(abi.Offsets(max_offset=64, initial_offset=128)) == (errno.EINVAL, [errno.EINVAL])
    assert ask(abi.Offsets(max_offset=1 << 60)) == (errno.EINVAL, [errno.EINVAL])
    assert ask(abi.Offsets(max_offset=64, offset_bits=4)) == (errno.EINVAL, [errno.EINVAL])
    assert ask(abi.Offsets(offset_bits=65)) == (errno.EINVAL, [errno.EINVAL])
    assert ask(good) == (0, [0])
    assert ask(good) == (0, [0])
    assert ask(abi.Offsets(max_offset=32)) == (errno.EBUSY, [errno.EBUSY])
    assert ask(good, flags=Flag.ZCOPY_MON) == (errno.EOPNOTSUPP, [errno.EOPNOTSUPP])
    assert ask(good, "vale0:o{1") == (0, [0])
    register(device, "vale0:plain")
    assert ask(good, "vale0:plain") == (errno.EBUSY, [errno.EBUSY])


def old(each: Open, name: str, **fields: int) -> LegacyRequest:
    """Do an ioctl(NIOCREGIF)."""
    return LegacyRequest.unpack(
        legacy.register(each, LegacyRequest(abi.chars(name), **fields).pack())
    )


def test_older_requests_register_and_keep_their_words(device: Device) -> None:
    flags = Mode.ALL_NIC | Flag.EXCLUSIVE
    got = old(new(device), "vale0:old", flags=flags, ringid=0x1000, tx_slots=256)
    assert (got.flags, got.ringid, got.tx_slots, got.rx_slots) == (flags, 0x1000, 256, 1024)
    assert got.memsize
    assert got.arg2
    port = device.ports.get("vale0:old")
    assert port is not None
    assert port.registrations[0].flags == Flag.EXCLUSIVE | Flag.NO_TX_POLL
    asked = LegacyRequest(abi.chars("vale0:old")).pack()
    assert LegacyRequest.unpack(legacy.info(new(device), asked)).arg2 == got.arg2


@pytest.mark.parametrize(
    ("fields", "name", "mode", "end"),
    [
        ({"flags": 0}, "vale0:q", Mode.ALL_NIC, "vale0:q"),
        ({"flags": 0, "ringid": 0x4000}, "vale0:q", Mode.ONE_NIC, "vale0:q"),
        ({"flags": 5, "ringid": 3}, "vale0:q", Mode.ALL_NIC, "vale0:q{3"),
        ({"flags": 6, "ringid": 3}, "vale0:q", Mode.ALL_NIC, "vale0:q}3"),
        ({"flags": 1}, "vale0:q{new", Mode.ALL_NIC, "vale0:q{new"),
    ],
)
def test_older_modes_are_todays(
    device: Device, fields: dict[str, int], name: str, mode: Mode, end: str
) -> None:
    each = new(device)
    old(each, name, **fields)
    assert each.registration is not None
    assert (each.registration.mode, each.registration.port.name) == (mode, end)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"version": 13}, errno.EINVAL),
        ({"cmd": LegacyCommand.PT_HOST_CREATE}, errno.EINVAL),
        ({"cmd": LegacyCommand.REGOPS}, errno.EINVAL),
        ({"cmd": 77}, errno.EINVAL),
        ({"cmd": LegacyCommand.POLLING_ON, "flags": 3}, errno.EINVAL),
        ({"cmd": LegacyCommand.DETACH}, errno.ENXIO),
        ({"cmd": LegacyCommand.VNET_HDR, "arg1": 12}, errno.ENXIO),
        ({"ringid": 0x2000}, errno.EINVAL),
    ],
)
def test_older_requests_have_netmaps_errno(
    device: Device, fields: dict[str, int], expected: int
) -> None:
    with pytest.raises(RingpassError) as caught:
        old(new(device), "vale0:old", **fields)
    assert caught.value.errno == expected


edges = st.sampled_from([0, 1, 2, 15, 16, 17, 4095, 4096, 0x7FFF, 0xFFFF])
words = st.one_of(edges, st.sampled_from([0x10000, 0x7FFF_FFFF, 0xFFFF_FFFF]))
requests = st.builds(
    Register,
    offset=st.integers(0, 2**64 - 1),
    tx_slots=words,
    rx_slots=words,
    tx_rings=edges,
    rx_rings=edges,
    host_tx_rings=edges,
    host_rx_rings=edges,
    mem_id=edges,
    ringid=edges,
    mode=st.one_of(st.integers(0, 9), words),
    extra_bufs=st.sampled_from([0, 1, 4096, 0xFFFF_FFFF]),
    flags=st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 0x100, 0x300, 0x700, 0x800])),
)
spelled = st.sampled_from(
    ["vale0:h", "vale0:h{1", "vale0:h}1", "vale1:h", "h", "h{1", "", "vale0:"]
)


def test_describing_rings_looks_at_each_port_once(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    each, _ = register(device, "p{1", tx_rings=8, rx_rings=8)
    asked: list[PortId] = []
    real = device.plane.port_rings

    def counted(port: PortId) -> PortRings:
        asked.append(port)
        return real(port)

    monkeypatch.setattr(device.plane, "port_rings", counted)
    assert each.registration is not None
    attach.describe(device.plane, device.regions, each.registration)
    assert len(asked) == len(set(asked)) == 2, "its own, and the other end"


def test_rings_that_cannot_be_described_are_closed(device: Device) -> None:
    def describe(_: Registration) -> attach.Attachment:
        raise ValueError

    session = Session(device, ME, describe)
    asked = asked_control(Request.REGISTER, "vale0:a", Register(mode=Mode.ALL_NIC))
    assert session.answer(message(Operation.CTRL, asked)).error == errno.EIO
    assert session.registration is None
    assert list(device.ports) == []


@given(st.lists(st.tuples(spelled, requests), max_size=4))
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_registrations_with_any_fields_succeed_or_are_refused_and_leave_nothing(
    device: Device, asked: list[tuple[str, Register]]
) -> None:
    before = open_fds()
    opens = []
    for name, request in asked:
        each = Open(device, ME)
        opens.append(each)
        reply = control(each, Request.REGISTER, name, request)
        assert number(reply) < 4096
        assert (each.registration is not None) == (reply.error is None)
        if reply.error is None:
            got = Register.unpack(reply.body)
            assert 0 < got.offset < got.memsize
            assert 1 <= got.tx_rings <= 16
    for each in opens:
        each.close()
    assert list(device.ports) == []
    assert list(device.switches) == []
    assert list(device.regions) == []
    assert open_fds() <= before


@given(st.binary(min_size=88, max_size=88), st.binary(max_size=200), st.binary(max_size=300))
@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_bytes_are_answered_or_no_request(
    device: Device, header: bytes, body: bytes, options: bytes
) -> None:
    each = Open(device, STRANGER)
    try:
        reply = each.control(header, body, options)
    except ValueError:
        pass
    else:
        assert number(reply) in range(4096)
    each.close()
