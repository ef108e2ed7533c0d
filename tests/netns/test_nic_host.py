# SPDX-License-Identifier: BSD-2-Clause
"""The host's stack as a port, interfaces of our own, and what becomes of interfaces that change."""

import errno
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass.errors import RingpassError
from ringpass.netlink import filters, links
from ringpass.nic import bpf, programs
from ringpass.nic.interface import Interface
from tests.support.miniguest import wait_for
from tests.support.networks import Network, Raw, echo_over_tcp, frame
from tests.support.nics import Bench, bench, lay

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may use the host's interfaces")

MODES = ["xdp-copy", "packet"]
DATA = os.urandom(1 << 19)


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


def descriptors() -> int:
    gc.collect()  # what other tests left to the collector must not go meanwhile
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("mode", MODES)
def test_the_stack_keeps_its_address_on_a_nic_that_is_a_port(
    mode: str, here: Network, there: Network, table: Bench
) -> None:
    interface = lay(here, there, "eth0", mode)
    here.ip(f"addr add 10.0.0.1/24 dev {interface}")
    there.ip("addr add 10.0.0.2/24 dev eth0")
    assert table.nic(interface, host=True).mode == mode
    assert here.reaches("10.0.0.2")
    assert there.reaches("10.0.0.1")
    assert echo_over_tcp(there, "10.0.0.2", here, DATA) == DATA
    assert echo_over_tcp(here, "10.0.0.1", there, DATA) == DATA


@pytest.mark.parametrize("mode", MODES)
def test_the_stack_receives_what_is_for_it_and_not_what_is_for_others(
    mode: str, here: Network, there: Network, table: Bench
) -> None:
    interface = lay(here, there, "eth0", mode)
    here.ip(f"addr add 10.0.0.1/24 dev {interface}")
    there.ip(
        "addr add 10.0.0.2/24 dev eth0",
        "neigh add 10.0.0.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent",
    )
    table.nic(interface, host=True)
    # The switch floods it to the stack's port; the address says that it is for somebody else.
    assert not there.reaches("10.0.0.1", 0.3)
    there.ip("neigh del 10.0.0.1 dev eth0")
    assert there.reaches("10.0.0.1")


@pytest.mark.parametrize("mode", MODES)
def test_a_nic_is_given_back_as_it_was(
    mode: str, here: Network, there: Network, table: Bench
) -> None:
    interface = lay(here, there, "eth0", mode)
    here.ip(f"addr add 10.0.0.1/24 dev {interface}")
    there.ip("addr add 10.0.0.2/24 dev eth0")
    before, open_before = here.traces(interface), descriptors()
    nic = table.nic(interface, host=True)
    assert here.traces(interface) != before
    here.do(nic.close)
    assert here.traces(interface) == before
    assert descriptors() == open_before
    assert here.reaches("10.0.0.2")


@pytest.fixture
def old_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let BPF links be for XDP only, as before Linux 6.6."""
    attach = bpf.attach

    def attach_xdp(program_fd: int, ifindex: int, where: bpf.Attach, flags: int = 0) -> int:
        if where is not bpf.Attach.XDP:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return attach(program_fd, ifindex, where, flags)

    monkeypatch.setattr(bpf, "attach", attach_xdp)


@pytest.mark.usefixtures("old_kernel")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("qdisc", [False, True])
def test_an_older_kernel_has_filters_in_the_place_of_links(
    mode: str, qdisc: bool, here: Network, there: Network, table: Bench
) -> None:
    interface = lay(here, there, "eth0", mode)
    here.ip(f"addr add 10.0.0.1/24 dev {interface}")
    there.ip("addr add 10.0.0.2/24 dev eth0")
    if qdisc:
        here.run("tc", "qdisc", "add", "dev", interface, "clsact")
    before = here.traces(interface)
    nic = table.nic(interface, host=True)
    assert nic.mode == mode
    assert here.reaches("10.0.0.2")
    assert echo_over_tcp(there, "10.0.0.2", here, DATA) == DATA
    here.do(nic.close)
    assert here.traces(interface) == before
    assert here.reaches("10.0.0.2")


@pytest.mark.usefixtures("old_kernel")
def test_filters_that_a_killed_process_left_are_replaced(
    here: Network, there: Network, table: Bench
) -> None:
    interface = lay(here, there, "eth0", "xdp-copy")
    before = here.traces(interface)
    link = here.do(links.get, interface)
    left = bpf.load(bpf.ProgramType.SCHED_CLS, "rp_drop", programs.drop())
    for egress in (False, True):
        here.do(filters.add, link, left, egress=egress)
    os.close(left)
    nic = table.nic(interface, host=True)
    here.do(nic.close)
    assert here.traces(interface) == before


@pytest.mark.parametrize("qdisc", [False, True])
def test_a_filter_that_is_refused_leaves_nothing(
    here: Network, there: Network, qdisc: bool
) -> None:
    lay(here, there, "eth0", "xdp-copy")
    if qdisc:
        here.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    before = here.traces("eth0")
    link = here.do(links.get, "eth0")
    with Path("/dev/null").open("rb") as no_program, pytest.raises(RingpassError):
        here.do(filters.add, link, no_program.fileno(), egress=False)
    assert here.traces("eth0") == before


def test_a_nic_that_cannot_be_taken_stays_as_it_is(
    here: Network, there: Network, table: Bench
) -> None:
    bridge = lay(here, there, "eth0", "packet")
    before, open_before = here.traces(bridge), descriptors()
    with pytest.raises(Exception, match="its driver has no XDP"):
        table.nic(bridge, host=True, fallback="refuse")
    with pytest.raises(Exception, match="it has 1 receive queues, and the port was made for 2"):
        table.nic(bridge, queues=2)
    with pytest.raises(Exception, match="has none of that name"):
        table.nic("eth7")
    assert here.traces(bridge) == before
    assert descriptors() == open_before


def test_a_nic_that_has_an_xdp_program_is_refused(
    here: Network, there: Network, table: Bench
) -> None:
    number = here.do(links.get, lay(here, there, "eth0", "xdp-copy")).number
    sockets = bpf.socket_map(1)
    program = bpf.load(bpf.ProgramType.XDP, "other", programs.to_sockets(sockets))
    attached = here.do(bpf.attach, program, number, bpf.Attach.XDP, bpf.XDP_DRIVER_MODE)
    with pytest.raises(Exception, match="it already has an XDP program"):
        table.nic("eth0")
    for fd in (attached, program, sockets):
        os.close(fd)
    assert table.nic("eth0").mode == "xdp-copy"


@pytest.mark.parametrize("mode", MODES)
def test_a_nic_belongs_to_one_port(mode: str, here: Network, there: Network, table: Bench) -> None:
    interface = lay(here, there, "eth0", mode)
    first = table.nic(interface, host=True)
    with pytest.raises(Exception, match="another port has it"):
        table.nic(interface)
    here.do(first.close)
    assert table.nic(interface).mode == mode


def test_a_nic_that_goes_down_goes_on_when_it_is_up(
    here: Network, there: Network, table: Bench
) -> None:
    here.ip("link add name other type veth peer name end", "link set end up")
    nic, other = table.nic(lay(here, there, "eth0", "xdp-copy")), table.nic("other")
    assert "is down: ip link set dev other up" in other.problem
    here.ip("link set other up")
    here.do(other.look)
    assert other.problem == ""
    here.ip("link set eth0 down")
    here.do(nic.look)
    assert "is down" in nic.problem
    with Raw(here, "end") as end, Raw(there, "eth0") as far:
        end.send(frame(1))
        here.ip("link set eth0 up")
        here.do(nic.look)

        def passes() -> bool:
            end.send(frame(2))
            return not far.silent()

        wait_for(passes, "the kernel to use the link again")


def test_a_nic_that_vanishes_is_taken_again_when_it_returns(
    here: Network, there: Network, table: Bench
) -> None:
    here.ip("link add name other type veth peer name end", "link set other up", "link set end up")
    table.nic("other")
    nic = table.nic(lay(here, there, "eth0", "xdp-copy"), host=True)
    here.ip("link del eth0")
    here.do(nic.look)
    assert (nic.problem, nic.mode) == ("the interface was removed", "")
    here.cable("eth0", there, "eth0", mtu=3000)
    here.do(nic.look)
    assert (nic.problem, nic.mode) == ("", "xdp-copy")
    with Raw(here, "end") as end, Raw(there, "eth0") as far:
        here.ip("link set eth0 mtu 1400")
        here.do(nic.look)
        assert (nic.problem, nic.mode) == ("", "xdp-copy")
        far.send(frame(1, 1400))
        assert end.receive(1) == [frame(1, 1400)]
        end.send(frame(2, 1400))
        assert far.receive(1) == [frame(2, 1400)]


def test_an_interface_of_our_own_is_a_port(here: Network, there: Network, table: Bench) -> None:
    lan = Interface(table.plane, "lan0", table.port("vale0:lan0"), mac="02:00:00:00:00:01")
    here.do(lan.open)
    here.ip("addr add 10.0.0.1/24 dev lan0")
    there.ip("link add name x type veth peer name y")  # an index that is not the same
    table.nic(lay(here, there, "eth0", "xdp-copy"))
    there.ip("addr add 10.0.0.2/24 dev eth0")
    assert here.do(links.get, "lan0").mac == bytes.fromhex("020000000001")
    assert echo_over_tcp(there, "10.0.0.2", here, DATA) == DATA
    assert echo_over_tcp(here, "10.0.0.1", there, DATA) == DATA
    here.do(lan.close)
    assert here.do(links.find, "lan0") is None


def test_an_interface_of_our_own_that_is_removed_breaks_its_port(
    here: Network, table: Bench
) -> None:
    port = table.port("vale0:lan0")
    lan = Interface(table.plane, "lan0", port)
    here.do(lan.open)
    here.do(lan.look)
    assert lan.problem == ""
    here.ip("link set lan0 down")
    here.do(lan.look)
    assert "is down" in lan.problem
    here.ip("link del lan0")
    here.do(lan.look)
    assert lan.problem == "the interface was removed"
    here.do(lan.close)
    here.do(lan.open)
    assert lan.problem == ""
    assert table.plane.port_status(port).tx_live == 1


def test_a_name_that_is_taken_is_refused(here: Network, table: Bench) -> None:
    here.ip("link add name lan0 type veth peer name x")
    with pytest.raises(Exception, match="the name is taken by another interface"):
        here.do(Interface(table.plane, "lan0", table.port("vale0:lan0")).open)
