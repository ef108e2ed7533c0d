# SPDX-License-Identifier: BSD-2-Clause
"""NICs as ports of a switch: frames go through them as they are, and the host's stack sees none."""

import os
from collections.abc import Iterator

import pytest

from ringpass.dataplane import NO_WORKER, Policy, PortId
from tests.support.networks import Network, Raw, echo_over_tcp, frame
from tests.support.nics import Bench, bench, lay
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may use the host's interfaces")

MODES = ["xdp-copy", "packet"]
COUNT = 300
TAG = bytes.fromhex("8100 2005")


@pytest.fixture
def here() -> Iterator[Network]:
    with Network() as net:
        yield net


@pytest.fixture
def left() -> Iterator[Network]:
    with Network() as net:
        yield net


@pytest.fixture
def right() -> Iterator[Network]:
    with Network() as net:
        yield net


@pytest.fixture
def table(here: Network) -> Iterator[Bench]:
    with bench(here) as found:
        yield found


@pytest.mark.parametrize("mode", MODES)
def test_frames_cross_byte_for_byte_and_in_order(
    mode: str, here: Network, left: Network, right: Network, table: Bench
) -> None:
    a = table.nic(lay(here, left, "eth0", mode))
    b = table.nic(lay(here, right, "eth1", mode))
    assert (a.mode, b.mode) == (mode, mode)
    frames = [frame(number, 60 + number % 1455) for number in range(COUNT)]
    with Raw(left, "eth0") as one, Raw(right, "eth1") as other:
        for sender, receiver in ((one, other), (other, one)):
            sender.send(*frames)
            assert receiver.receive(COUNT) == frames


@pytest.mark.parametrize("mtu", [3000, 9000])
def test_long_frames_take_several_buffers(
    mtu: int, here: Network, left: Network, right: Network, table: Bench
) -> None:
    here.cable("eth0", left, "eth0", mtu)
    here.cable("eth1", right, "eth1", mtu)
    assert (table.nic("eth0").mode, table.nic("eth1").mode) == ("xdp-copy", "xdp-copy")
    # A socket of the test has room for a few of these.
    frames = [frame(number, mtu + 14 - number) for number in range(50)]
    with Raw(left, "eth0") as one, Raw(right, "eth1") as other:
        for sender, receiver in ((one, other), (other, one)):
            sender.send(*frames)
            assert receiver.receive(50) == frames


@pytest.mark.parametrize("mode", MODES)
def test_tags_of_vlans_stay_in_their_frames(
    mode: str, here: Network, left: Network, right: Network, table: Bench
) -> None:
    table.nic(lay(here, left, "eth0", mode))
    table.nic(lay(here, right, "eth1", mode))
    frames = [frame(1, 1514, TAG), frame(2, 60, TAG), frame(3, 60)]
    with Raw(left, "eth0") as one, Raw(right, "eth1") as other:
        one.send(*frames)
        assert other.receive(3) == frames


@pytest.mark.parametrize("mode", MODES)
def test_tcp_crosses_with_its_checksums_completed(
    mode: str, here: Network, left: Network, right: Network, table: Bench
) -> None:
    table.nic(lay(here, left, "eth0", mode))
    table.nic(lay(here, right, "eth1", mode))
    left.ip("addr add 10.0.0.1/24 dev eth0")
    right.ip("addr add 10.0.0.2/24 dev eth1")
    data = os.urandom(1 << 19)
    assert echo_over_tcp(right, "10.0.0.2", left, data) == data


@pytest.mark.parametrize("mode", MODES)
def test_the_stack_neither_receives_nor_sends(
    mode: str, here: Network, left: Network, table: Bench
) -> None:
    interface = lay(here, left, "eth0", mode)
    here.ip(f"addr add 10.0.0.1/24 dev {interface}")
    left.ip("addr add 10.0.0.2/24 dev eth0")
    assert left.reaches("10.0.0.1")
    left.ip("neigh flush dev eth0")
    here.ip(f"neigh flush dev {interface}")
    nic = table.nic(interface)
    with Raw(left, "eth0") as peer:
        assert not here.reaches("10.0.0.2", 0.3)
        assert peer.silent(b"\x08\x06"), "the stack asked for an address"
        assert not left.reaches("10.0.0.1", 0.3)
        here.do(nic.close)
    wait_until(lambda: left.reaches("10.0.0.1", 0.3), "the stack has the interface again")


def test_each_queue_of_a_nic_is_a_ring_pair(
    here: Network, left: Network, right: Network, table: Bench
) -> None:
    here.ip("link add name eth0 numrxqueues 2 numtxqueues 2 type veth peer name x numrxqueues 2")
    here.run("ethtool", "-L", "eth0", "rx", "2", "tx", "2")
    here.ip(f"link set x netns {left.tid}", "link set eth0 up")
    left.ip("link set x up")
    assert table.nic("eth0", queues=2).mode == "xdp-copy"
    table.nic(lay(here, right, "eth1", "xdp-copy"))
    with Raw(left, "x") as one, Raw(right, "eth1") as other:
        one.send(*(frame(number) for number in range(COUNT)))
        assert len(other.receive(COUNT)) == COUNT
        other.send(*(frame(number) for number in range(COUNT)))
        assert one.receive(COUNT) == [frame(number) for number in range(COUNT)]


def test_a_queue_moves_to_another_worker_while_frames_pass(
    here: Network, left: Network, right: Network, table: Bench
) -> None:
    nic = table.nic(lay(here, left, "eth0", "xdp-copy"))
    table.nic(lay(here, right, "eth1", "xdp-copy"))
    busy = table.plane.add_worker(Policy.BUSY, cpu=0)
    frames = [frame(number) for number in range(COUNT)]
    with Raw(left, "eth0") as one, Raw(right, "eth1") as other:
        for at, worker in ((100, busy), (200, table.worker), (COUNT, busy)):
            one.send(*frames[at - 100 : at])
            table.plane.kernel(PortId(0)).serve(0, worker)
        assert other.receive(COUNT) == frames
    # What is left of it goes home with its port.
    here.do(nic.close)
    table.plane.remove_port(PortId(0))
    table.plane.remove_worker(busy)


@pytest.mark.parametrize("mode", MODES)
def test_what_the_kernel_could_not_keep_is_counted(
    mode: str, here: Network, left: Network, table: Bench
) -> None:
    table.worker = NO_WORKER  # nobody comes until all has run over
    table.nic(lay(here, left, "eth0", mode))
    with Raw(left, "eth0") as one, table.plane.caller() as caller:
        count = 40_000
        one.send(*[frame(1, 60)] * count)
        assert wait_until(lambda: caller.txsync(PortId(0), 0) == 0, "all is taken")
        status = table.plane.port_status(PortId(0))
    [taken] = [table.counters.ring(record) for record in status.tx_records]
    assert taken is not None
    assert taken.frames > 0
    assert taken.drops["missed"] > 0
    assert taken.frames + taken.drops["missed"] == count
