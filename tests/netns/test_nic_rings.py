# SPDX-License-Identifier: BSD-2-Clause
"""What netmap's device does with interfaces: their queues and host stacks linked to rings."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ringpass.dataplane import Caller, FrontEndKind, Kind, PortSpec
from ringpass.errors import RingpassError
from ringpass.netlink import links
from ringpass.netmap.abi import ValePolling
from ringpass.netmap.rings import Geometry
from ringpass.nic.provider import Interfaces, Taken
from tests.support.networks import Network, Raw, echo_over_tcp, frame
from tests.support.nics import Bench, bench, lay
from tests.support.rings import RingUser
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may use the host's interfaces")

MODES = ["xdp-copy", "packet"]
COUNT = 100


@pytest.fixture
def here() -> Iterator[Network]:
    with Network() as net:
        yield net


@pytest.fixture
def there() -> Iterator[Network]:
    with Network() as net:
        yield net


@pytest.fixture
def table(here: Network) -> Iterator[Bench]:
    with bench(here) as found:
        yield found


@pytest.fixture
def interfaces(here: Network, table: Bench) -> Iterator[Interfaces]:
    found = Interfaces(table.plane, lambda: table.worker)
    yield found
    here.do(found.close)


def rings(table: Bench, caller: Caller, name: str) -> RingUser:
    spec = PortSpec(name, Kind.LINK, FrontEndKind.RINGS, tx_rings=1, rx_rings=1)
    return RingUser(table.plane, caller, table.plane.add_port(spec))


@contextmanager
def opened(table: Bench, interfaces: Interfaces, interface: str) -> Iterator[tuple[RingUser, ...]]:
    """Give the rings of an interface and of its host stack."""
    with table.plane.caller() as caller:
        nic, host = rings(table, caller, interface), rings(table, caller, f"{interface}^")
        taken = table.net.do(interfaces.open, interface, nic.port, host.port)
        yield nic, host
        table.net.do(taken.close)
        table.plane.remove_port(nic.port)
        table.plane.remove_port(host.port)


def take(user: RingUser, count: int) -> list[bytes]:
    """Return the next frames of our own kind."""
    found: list[bytes] = []

    def look() -> bool:
        found.extend(one for one in user.receive(count) if one[12:14] == b"\x88\xb5")
        return len(found) >= count

    wait_until(look, f"{count} frames")
    return found


@pytest.mark.parametrize("mode", MODES)
def test_frames_pass_between_rings_and_the_network(
    mode: str, here: Network, there: Network, table: Bench, interfaces: Interfaces
) -> None:
    name = lay(here, there, "eth0", mode)
    before = here.traces(name)
    frames = [frame(number, 60 + 14 * number) for number in range(COUNT)]
    with opened(table, interfaces, name) as (nic, host), Raw(there, "eth0") as peer:
        peer.send(*frames)
        assert take(nic, COUNT) == frames
        for one in frames:
            nic.put([one])
        nic.send()
        assert peer.receive(COUNT) == frames
        assert [one for one in host.receive(COUNT) if one in frames] == []
    assert here.traces(name) == before


@pytest.mark.parametrize("mode", MODES)
def test_a_program_between_the_rings_carries_tcp(
    mode: str, here: Network, there: Network, table: Bench, interfaces: Interfaces
) -> None:
    name = lay(here, there, "eth0", mode)
    here.ip(f"addr add 10.0.0.1/24 dev {name}")
    there.ip("addr add 10.0.0.2/24 dev eth0")
    data = os.urandom(1 << 18)
    with opened(table, interfaces, name) as (nic, host):
        stop = threading.Event()

        def forward() -> None:
            while not stop.is_set():
                for source, sink in ((nic, host), (host, nic)):
                    for one in source.receive(256):
                        sink.put([one])
                    sink.send()

        forwarder = threading.Thread(target=forward)
        forwarder.start()
        try:
            assert echo_over_tcp(there, "10.0.0.2", here, data) == data
            assert echo_over_tcp(here, "10.0.0.1", there, data) == data
        finally:
            stop.set()
            forwarder.join()


def assert_polling(attached: Taken, on: bool) -> None:
    assert attached.polling is on


def test_an_attached_interface_can_be_polled_by_a_processor(
    here: Network, there: Network, table: Bench, interfaces: Interfaces
) -> None:
    lay(here, there, "eth0", "xdp-copy")
    here.ip("addr add 10.0.0.1/24 dev eth0")
    there.ip("addr add 10.0.0.2/24 dev eth0")
    attached = here.do(
        interfaces.attach, "eth0", "vale0:eth0", table.switch, table.worker, host=True
    )
    for wrong in (
        ValePolling(mode=1, first_cpu=0, num_cpus=2),
        ValePolling(mode=3, first_cpu=0, num_cpus=1),
        ValePolling(mode=2, first_cpu=0, num_cpus=os.cpu_count() or 1),
        ValePolling(mode=1, first_cpu=4096, num_cpus=1),
    ):
        with pytest.raises(RingpassError) as refused:
            attached.start_polling(wrong)
        assert refused.value.errno == errno.EINVAL
        assert_polling(attached, False)
    attached.start_polling(ValePolling(mode=1, first_cpu=0, num_cpus=1))
    assert_polling(attached, True)
    assert here.reaches("10.0.0.2")
    with pytest.raises(RingpassError) as refused:
        attached.start_polling(ValePolling(mode=1, first_cpu=0, num_cpus=1))
    assert refused.value.errno == errno.EBUSY
    attached.stop_polling(ValePolling())
    assert_polling(attached, False)
    assert here.reaches("10.0.0.2")
    attached.start_polling(ValePolling(mode=2, first_cpu=0, num_cpus=1))
    here.do(attached.close)
    wait_until(lambda: here.reaches("10.0.0.2", 0.3), "the stack has the interface again")


def test_a_persistent_interface_is_of_the_host_and_of_a_program_or_a_switch(
    here: Network, there: Network, table: Bench, interfaces: Interfaces
) -> None:
    here.do(interfaces.create, "v1", Geometry())
    with pytest.raises(RingpassError) as refused:
        here.do(interfaces.create, "v1", Geometry())
    assert refused.value.errno == errno.EEXIST
    here.ip("addr add 10.0.0.1/24 dev v1", "link set v1 up")
    with opened(table, interfaces, "v1") as (rings_of_v1, _), Raw(here, "v1") as stack:
        rings_of_v1.put([frame(1)])
        rings_of_v1.send()
        assert stack.receive(1) == [frame(1)]
    # The next user: a switch, on which a NIC is.
    lay(here, there, "eth0", "xdp-copy")
    there.ip("addr add 10.0.0.2/24 dev eth0")
    here.do(interfaces.attach, "eth0", "vale0:eth0", table.switch, table.worker, host=False)
    v1 = here.do(interfaces.attach, "v1", "vale0:v1", table.switch, table.worker, host=False)
    assert here.reaches("10.0.0.2")
    here.do(v1.close)
    here.do(interfaces.delete, "v1")
    assert here.do(links.find, "v1") is None
    with pytest.raises(RingpassError) as refused:
        here.do(interfaces.delete, "v1")
    assert refused.value.errno == errno.ENXIO


def test_an_interface_that_is_not_there_has_no_rings(here: Network, interfaces: Interfaces) -> None:
    with pytest.raises(RingpassError) as refused:
        here.do(interfaces.geometry, "eth7")
    assert refused.value.errno == errno.ENXIO
