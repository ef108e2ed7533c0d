# SPDX-License-Identifier: BSD-2-Clause
"""What a guest may open beside its port, and what is refused to it."""

import errno
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass.netmap.abi import (
    BODIES,
    Extmem,
    Flag,
    LegacyCommand,
    Mode,
    OptionType,
    PortHeader,
    PortInfo,
    Register,
    Request,
)
from ringpass.netmap.server import FILE_NAME
from ringpass.netmap.session import Operation
from ringpass.passthrough.guest import MAX_OPENS, Op
from tests.support.daemon import Daemon
from tests.support.miniguest import frame, wait_for
from tests.support.netmap import Program, message, option
from tests.support.passthrough import FakeDriver, FakeQemu, booted, nothing_left, qemu, serving

CONFIG = """
[switch.vale0]
[region.common]
buffers = 8192
[port."vale0:a"]
kind = "passthrough"
slots = 64
extra_rings = 6
extra_buffers = 100
[port."vale0:b"]
kind = "passthrough"
slots = 64
[port."vale0:c"]
kind = "passthrough"
slots = 64
region = "common"
[port."vale0:vm"]
[port."p{1"]
kind = "passthrough"
slots = 64
[port."p}1"]
kind = "passthrough"
slots = 64
[port."q{1"]
kind = "passthrough"
slots = 64
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that the tests of this module share."""
    with serving(tmp_path_factory.mktemp("p"), CONFIG) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def _nothing_left(daemon: Daemon) -> Iterator[None]:
    """What a test leaves in the daemon makes it fail."""
    with nothing_left(daemon):
        yield


@pytest.fixture
def client(daemon: Daemon) -> Iterator[FakeQemu]:
    """Return the QEMU of vale0:a."""
    with qemu(daemon, "vale0:a") as client:
        yield client


@pytest.fixture
def driver(client: FakeQemu) -> FakeDriver:
    """Return its driver."""
    return booted(client)


def device(daemon: Daemon) -> Path:
    """Return the socket of netmap's device."""
    return daemon.runtime_dir / FILE_NAME


def some(number: int) -> list[bytes]:
    """Return frames."""
    source = "52:54:00:00:00:0a"
    return [frame("ff:ff:ff:ff:ff:ff", source, b"%d" % i) for i in range(number)]


@pytest.mark.parametrize("name", ["vale0:a{1", "rp0}x", "{1"])
def test_both_ends_of_a_pipe_are_in_the_guests_memory(driver: FakeDriver, name: str) -> None:
    ends = [name, name.translate(str.maketrans("{}", "}{"))]
    answers = [driver.register(end, number) for number, end in enumerate(ends)]
    for answer in answers:
        assert answer.error == 0, answer.text
    assert len({answer.registered.mem_id for answer in answers}) == 1
    kicks = [ring.kick for answer in answers for ring in answer.rings]
    assert kicks == [-1] * 4, "nobody but the other end is woken"
    pairs = [ring.call for answer in answers for ring in answer.rings]
    assert sorted(pairs) == [3, 4, 5, 6]
    assert [ring.peer_call for ring in answers[0].rings] == pairs[:2]


def test_a_doorbell_of_one_end_is_a_vector_of_the_other(driver: FakeDriver) -> None:
    master, slave = driver.register("rp0{1", 0), driver.register("rp0}1", 1)
    for one, other in ((master, slave), (slave, master)):
        driver.doorbell(one.rings[0].peer_call)
        driver.wait(other.rings[1].call)
        driver.doorbell(one.rings[1].peer_call)
        driver.wait(other.rings[0].call)


def test_two_guests_have_the_ends_of_a_pipe(daemon: Daemon) -> None:
    with qemu(daemon, "p{1") as one, qemu(daemon, "p}1") as other:
        assert one.id != other.id
        left, right = booted(one), booted(other)
        ours, theirs = left.register().rings, right.register().rings
        assert (ours[0].peer_csb, ours[1].peer_csb) == (theirs[1].csb, theirs[0].csb)
        left.doorbell(ours[0].peer_call)
        right.wait(theirs[1].call)
        right.doorbell(theirs[0].peer_call)
        left.wait(ours[1].call)
        assert left.register("rp0}1", 1).error == errno.EINVAL, "a pipe has no pipes"
    status = {port["name"]: port for port in daemon.call("port.list")}
    assert status["p{1"]["region"] == status["p}1"]["region"]
    assert status["p{1"]["region"] != status["q{1"]["region"]


def test_a_program_has_the_other_end_of_a_guests_pipe(daemon: Daemon) -> None:
    with qemu(daemon, "q{1") as client, Program(device(daemon)) as program:
        driver = booted(client)
        mine = driver.register().rings
        with program.register("q}1") as answer:
            theirs = answer.rings
            assert answer.registered.mem_id == daemon.call("port.show", name="q{1")["region"]
            driver.doorbell(mine[0].peer_call)
            wait_for(lambda: readable(answer.fds[theirs[1].call]), "the program's call")
        with Program(device(daemon)) as other:
            assert other.register("q{1").error == errno.EBUSY
            assert other.register("vale0:b").error in (errno.EACCES, errno.EBUSY)


def readable(eventfd: int) -> bool:
    """Return whether an eventfd was signalled."""
    return FakeQemu.signalled(eventfd)


def test_a_monitor_shows_the_guests_own_frames(daemon: Daemon, driver: FakeDriver) -> None:
    own = driver.register()
    for number, flags in ((1, Flag.MONITOR_TX), (2, Flag.ZCOPY_MON | Flag.MONITOR_TX)):
        with qemu(daemon, "vale0:b") as client:
            booted(client).register()
            answer = driver.register("rp0", number, flags=flags)
            assert answer.error == 0, answer.text
            assert answer.registered.mem_id == own.registered.mem_id
            assert [ring.flags for ring in answer.rings] == [2, 2]
            shown = driver.ring(answer.rings[1])
            driver.ring(own.rings[0]).send(*some(3))
            got: list[bytes] = []
            if flags & Flag.ZCOPY_MON:  # nobody calls its user
                wait_for(shown.pending, "frames")
            while len(got) < 3:
                got += shown.receive()
            assert got == some(3)
        driver.close(number)


def test_a_guest_watches_nobody_else(daemon: Daemon) -> None:
    with qemu(daemon, "q{1") as client, Program(device(daemon)) as program:
        driver = booted(client)
        assert driver.register().error == 0
        program.register("q}1").close()
        both = Flag.ZCOPY_MON | Flag.MONITOR_RX
        assert driver.register("rp0", 1, flags=both).error == 0
        assert driver.register("q}1", 2, flags=both).error == errno.EINVAL


@pytest.mark.parametrize(
    "name", ["vale0:a@1", "rp0-0", "rp0/t", "rp0^", "rp0*", "rp0{1}2", "rp0{", "rp0{a b", "rp0/{1"]
)
def test_other_names_are_refused(driver: FakeDriver, name: str) -> None:
    assert driver.register(name).error == errno.EINVAL
    assert driver.control(Request.PORT_INFO_GET, name, PortInfo()).error == errno.EINVAL


def test_other_ports_have_no_names(daemon: Daemon, driver: FakeDriver) -> None:
    mine = daemon.call("port.show", name="vale0:a")["region"]
    for number, name in enumerate(("vale0:b", "vale0:vm", "netmap:lo", "lo", "p", "vale0:vm{")):
        answer = driver.register(name.rstrip("{"), number)
        assert answer.registered.mem_id == mine
        driver.close(number)


def test_other_regions_are_refused(daemon: Daemon, driver: FakeDriver) -> None:
    mine = daemon.call("port.show", name="vale0:a")["region"]
    for region in daemon.call("status")["regions"]:
        expected = 0 if region["number"] == mine else errno.EACCES
        body = PortInfo(mem_id=region["number"])
        assert driver.control(Request.PORT_INFO_GET, "rp0", body).error == expected
        answer = driver.register("rp0{9", mem_id=region["number"])
        assert answer.error == expected
        driver.close()
    assert driver.register(mem_id=60000).error == errno.EINVAL


def test_a_null_port_is_in_the_guests_memory(daemon: Daemon, driver: FakeDriver) -> None:
    answer = driver.register(mode=Mode.NULL, tx_slots=64, rx_slots=64)
    assert answer.registered.mem_id == daemon.call("port.show", name="vale0:a")["region"]


@pytest.mark.parametrize(
    "kind",
    [
        Request.VALE_ATTACH,
        Request.VALE_DETACH,
        Request.VALE_LIST,
        Request.VALE_NEWIF,
        Request.VALE_DELIF,
        Request.VALE_POLLING_ENABLE,
        Request.VALE_POLLING_DISABLE,
    ],
)
def test_requests_about_the_host_are_refused(driver: FakeDriver, kind: Request) -> None:
    body = BODIES[kind]
    assert driver.control(kind, "vale0:vm", None if body is None else body()).error == errno.EPERM


def test_older_requests_know_the_same_limits(driver: FakeDriver) -> None:
    for command, expected in (
        (LegacyCommand.NONE, 0),
        (LegacyCommand.DETACH, errno.EPERM),
        (LegacyCommand.DELIF, errno.EPERM),
    ):
        assert driver.legacy("rp0", cmd=command, flags=1).error == expected
        driver.close()
    assert driver.legacy("rp0", Operation.GINFO, cmd=LegacyCommand.LIST).error == errno.EPERM
    assert driver.ask(Op.CALL, 0, message(Operation.CONFIG, b"x")).error == errno.EINVAL
    assert driver.legacy("rp0", flags=Mode.PIPE_MASTER, ringid=7).error == 0


def test_external_memory_is_refused(driver: FakeDriver) -> None:
    wanted = option(OptionType.EXTMEM, Extmem().pack())
    assert driver.register("rp0", options=wanted).error == errno.EOPNOTSUPP


def test_rings_are_a_quota(daemon: Daemon, driver: FakeDriver) -> None:
    assert driver.register().error == 0
    assert driver.register("rp0{1", 1).error == 0
    assert driver.register("rp0}1", 2).error == 0
    assert driver.register("rp0{2", 3).error == 0
    assert daemon.call("port.show", name="vale0:a")["guest"]["extra_rings"] == 6
    for name in ("rp0}2", "rp0{3"):
        refused = driver.register(name, 4)
        assert (refused.error, "extra_rings" in refused.text) == (errno.EDQUOT, True)
    assert driver.close(1).error == 0
    assert driver.register("rp0}2", 4).error == 0


def test_memory_is_a_quota(driver: FakeDriver) -> None:
    for number in range(3):
        assert driver.register(f"rp0{{{number}", number, flags=Flag.RX_RINGS_ONLY).error == 0
    refused = driver.register("rp0{9", 3)
    assert (refused.error, "extra_rings" in refused.text) == (errno.ENOMEM, True)


def test_a_ring_that_is_open_twice_has_one_pair(driver: FakeDriver) -> None:
    first, second = driver.register(number=0), driver.register(number=1)
    calls = [[ring.call for ring in answer.rings] for answer in (first, second)]
    assert calls[0] == calls[1]
    driver.close(0)
    driver.ring(second.rings[0]).send(*some(1))
    third = driver.register(number=2)
    assert [ring.call for ring in third.rings] == calls[0]


def test_extra_buffers_are_a_quota(driver: FakeDriver) -> None:
    assert driver.register(number=0, extra_bufs=70).registered.extra_bufs == 70
    assert driver.register(number=1, extra_bufs=70).registered.extra_bufs == 30
    assert driver.register("rp0{1", 2, extra_bufs=1).registered.extra_bufs == 0
    driver.close(0)
    assert driver.register("rp0}1", 3, extra_bufs=99).registered.extra_bufs == 70


def test_opens_are_a_quota(driver: FakeDriver) -> None:
    answers = [
        driver.control(Request.PORT_INFO_GET, "rp0", PortInfo(), number=number).error
        for number in range(MAX_OPENS + 1)
    ]
    assert answers == [0] * MAX_OPENS + [errno.EMFILE]


def test_rings_that_a_port_does_not_have_cannot_exhaust_the_host(driver: FakeDriver) -> None:
    wide = driver.register("rp0{1", tx_rings=16, rx_rings=16, mode=Mode.ONE_NIC)
    assert wide.error == errno.ENOMEM


def test_a_guest_may_share_a_region_of_the_configuration(daemon: Daemon) -> None:
    with qemu(daemon, "vale0:c") as client:
        driver = booted(client)
        regions = {row["name"]: row["number"] for row in daemon.call("status")["regions"]}
        assert driver.register().registered.mem_id == regions["common"]
        assert driver.register("rp0{1", 1).registered.mem_id == regions["common"]


def test_bad_requests_are_answered(driver: FakeDriver) -> None:
    assert driver.ask(99).error == errno.EPROTO
    assert driver.ask(Op.CALL, 0, b"").error == errno.EPROTO
    assert driver.ask(Op.CALL, 0, b"\xff" * 3840).error == errno.EPROTO
    assert driver.ask(Op.CALL, MAX_OPENS, b"").error == errno.EMFILE
    assert driver.ask(Op.CLOSE, 2**32 - 1).error == 0
    assert driver.ask(Op.OFFLOADS, 0, b"123").error == errno.EPROTO
    assert driver.ask(Op.OFFLOADS, 0, bytes(8)).error == 0
    assert driver.ask(Op.OFFLOADS, 0, b"\xff" * 8).error == errno.EOPNOTSUPP


def test_a_request_that_is_too_long_is_answered(driver: FakeDriver) -> None:
    driver.page.op, driver.page.bytes = Op.CALL, 4000
    driver.page.sent = driver.record.answered + 1
    driver.doorbell(0)
    wait_for(lambda: driver.record.answered == driver.page.sent, "the answer")
    assert driver.close(1).error == 0


def test_an_answer_that_does_not_fit_ends_its_open(daemon: Daemon, driver: FakeDriver) -> None:
    options = option(0x7777) * 112
    body = Register(mode=1)
    assert driver.control(Request.REGISTER, "rp0", body, options).error == errno.EMSGSIZE
    assert daemon.call("port.show", name="vale0:a")["users"] == []
    assert driver.register().error == 0


def header_bytes(driver: FakeDriver) -> int:
    """Return how long the virtio-net headers of the port's frames are."""
    answer = driver.control(Request.PORT_HDR_GET, "rp0", PortHeader(), number=60)
    assert answer.error == 0, answer.text
    return PortHeader.unpack(answer.body).hdr_len


def test_a_header_that_was_set_before_is_there_when_rings_are_registered(
    driver: FakeDriver,
) -> None:
    assert driver.control(Request.PORT_HDR_SET, "rp0", PortHeader(12)).error == 0
    assert header_bytes(driver) == 12
    assert driver.register(number=1, flags=Flag.ACCEPT_VNET_HDR).error == 0
    assert header_bytes(driver) == 12
    driver.close(1)
    assert header_bytes(driver) == 0, "it ends with who had the port open"


def test_a_header_of_offloads_is_its_opens_alone(driver: FakeDriver) -> None:
    assert driver.ask(Op.OFFLOADS, 0, (1).to_bytes(8, "little")).error == 0
    assert driver.control(Request.PORT_INFO_GET, "rp0", PortInfo()).error == 0
    assert header_bytes(driver) == 0, "it has registered nothing"
    for again in range(2):
        assert driver.register(number=1).error == 0, again
        driver.close(1)
        assert driver.ask(Op.OFFLOADS, 0, (1).to_bytes(8, "little")).error == 0
        assert driver.register(flags=Flag.ACCEPT_VNET_HDR).error == 0
        assert header_bytes(driver) == 12
        driver.close()


def test_a_header_ends_with_the_driver(driver: FakeDriver) -> None:
    assert driver.control(Request.PORT_HDR_SET, "rp0", PortHeader(12)).error == 0
    assert driver.hello().error == 0
    assert header_bytes(driver) == 0


def test_requests_in_a_storm_are_slowed_down(daemon: Daemon, driver: FakeDriver) -> None:
    began = time.monotonic()
    for _ in range(300):
        assert driver.ask(Op.CLOSE, 5).error == 0
    slowed = time.monotonic() - began
    assert slowed > 0.1
    assert daemon.call("ping")["pid"]
