# SPDX-License-Identifier: BSD-2-Clause
"""What messages do to virtqueues: the orders that real front ends use, and what is refused."""

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringpass.dataplane import MAX_MEMORY_SLOTS, MemorySlot
from ringpass.errors import RingpassError
from ringpass.vhostuser import messages as m
from ringpass.vhostuser.device import Device, offered
from ringpass.vhostuser.messages import Feature, ProtocolError, ProtocolFeature, Request
from ringpass.vhostuser.session import Session
from tests.support.vhost import CheckedPlane, memfd, message, open_fds
from tests.support.vhost_model import PAIRS, Message
from tests.support.vhost_said import MESSAGES, descriptor
from tests.support.wait import PATIENCE_S

SERVED = Feature.CSUM | Feature.GUEST_CSUM | Feature.MRG_RXBUF | Feature.VERSION_1
ALL = offered(SERVED, 1, ["csum"])
SLOT = MemorySlot(0, 0x1000, 0x7F0000000000, 0)
NO_FD = m.VringFile.NO_FD


class Driver:
    """Speaks to a session as a front end would, and checks its answers."""

    def __init__(self, pairs: int = 1, *, standby: bool = False) -> None:
        self.plane = CheckedPlane()
        device = Device(
            offered(SERVED, pairs, ["csum"]), bytes.fromhex("525400000001"), 1500, pairs
        )
        self.session = Session(device, self.plane, standby=standby)

    def send(
        self,
        request: int,
        payload: m.Payload | bytes = b"",
        fds: Iterable[int] = (),
        *,
        need_reply: bool = False,
    ) -> bytes | None:
        return self.session.handle(message(request, payload, fds, need_reply=need_reply))

    def ask(self, request: int, payload: m.Payload | bytes = b"", fds: Iterable[int] = ()) -> int:
        """Return the number that answers a message."""
        answer = self.send(request, payload, fds, need_reply=True)
        assert answer is not None
        header, body = answer[:12], answer[12:]
        assert m.Header.unpack(header) == m.Header(request, 0x5, 8)
        return m.Number.unpack(body).value

    def share(self, *slots: MemorySlot) -> None:
        """Send the memory table."""
        fds = [memfd() for _ in slots]
        self.send(Request.SET_MEM_TABLE, m.MemoryTable(slots), fds)

    def describe(self, ring: int, base: int = 0) -> None:
        """Say all about a ring but KICK and ENABLE."""
        self.send(Request.SET_VRING_NUM, m.VringState(ring, 256))
        self.send(Request.SET_VRING_BASE, m.VringState(ring, base))
        self.send(Request.SET_VRING_ADDR, m.VringAddress(ring, 0, 0x10, 0x20, 0x30, 0))

    def kick(self, ring: int) -> None:
        self.send(Request.SET_VRING_KICK, m.VringFile(ring), [os.eventfd(0)])

    def enable(self, ring: int, value: int = 1) -> None:
        self.send(Request.SET_VRING_ENABLE, m.VringState(ring, value))

    def base(self, ring: int) -> int:
        """Stop a ring; return its index."""
        answer = self.send(Request.GET_VRING_BASE, m.VringState(ring, 0))
        assert answer is not None
        state = m.VringState.unpack(answer[12:])
        assert state.index == ring
        return state.value

    def start(self, features: int = ALL) -> None:
        """Bring all rings up, in QEMU's order."""
        for ring in self.session.rings:
            self.enable(ring.index)
        self.send(Request.SET_FEATURES, m.Number(features))
        self.share(SLOT)
        for ring in self.session.rings:
            self.describe(ring.index)
            self.kick(ring.index)

    @property
    def running(self) -> list[int]:
        return sorted(self.plane.rings)


@pytest.fixture
def driver() -> Iterator[Driver]:
    """Return a front end without a word said; afterwards nothing of its session is left."""
    before = open_fds()
    driver = Driver()
    yield driver
    driver.plane.refuse.clear()
    driver.session.close()
    assert driver.plane.rings == {}
    assert driver.plane.memory == []
    assert open_fds() <= before


# What real front ends say


def test_qemu_enables_rings_before_anything_else_and_never_again(driver: Driver) -> None:
    assert Feature(driver.ask(Request.GET_FEATURES)) == ALL | Feature.GUEST_ANNOUNCE
    protocol = ProtocolFeature(driver.ask(Request.GET_PROTOCOL_FEATURES))
    assert ProtocolFeature.CONFIG not in protocol, "QEMU warns of CONFIG on a network device"
    driver.send(Request.SET_PROTOCOL_FEATURES, m.Number(protocol))
    assert driver.ask(Request.GET_QUEUE_NUM) == 1
    assert driver.ask(Request.GET_MAX_MEM_SLOTS) == MAX_MEMORY_SLOTS
    driver.send(Request.SET_OWNER)
    for ring in (0, 1):
        driver.send(Request.SET_VRING_CALL, m.VringFile(ring), [os.eventfd(0)])
        driver.send(Request.SET_VRING_ERR, m.VringFile(ring), [os.eventfd(0)])
    for _ in range(4):
        assert driver.ask(Request.SET_VRING_ENABLE, m.VringState(0, 1)) == 0
        assert driver.ask(Request.SET_VRING_ENABLE, m.VringState(1, 1)) == 0
    driver.send(Request.SET_FEATURES, m.Number(ALL & ~Feature.MAC))
    assert driver.ask(Request.GET_STATUS) == 0
    driver.send(Request.SET_STATUS, m.Number(0xF))
    assert driver.ask(Request.ADD_MEM_REG, m.MemoryRow(SLOT), [memfd()]) == 0
    for ring in (0, 1):
        driver.describe(ring, base=5)
        driver.kick(ring)
        driver.send(Request.SET_VRING_CALL, m.VringFile(ring), [os.eventfd(0)])
    assert driver.running == [0, 1]
    assert driver.plane.rings[1].base == 5
    assert driver.plane.starts == 2
    # The guest stops and starts again.
    driver.plane.progress = {0: 7, 1: 9}
    driver.send(Request.SET_STATUS, m.Number(0))
    assert driver.running == []
    assert [driver.base(0), driver.base(1)] == [12, 14]
    driver.send(Request.SET_FEATURES, m.Number(ALL & ~Feature.MAC))
    for ring in (0, 1):
        driver.describe(ring)
        driver.kick(ring)
    assert driver.running == [0, 1]


def test_user_mode_linux_enables_rings_last(driver: Driver) -> None:
    driver.send(Request.SET_OWNER)
    protocol = ProtocolFeature(driver.ask(Request.GET_PROTOCOL_FEATURES))
    assert ProtocolFeature.CONFIG in protocol
    taken = ProtocolFeature.REPLY_ACK | ProtocolFeature.BACKEND_REQ | ProtocolFeature.CONFIG
    assert driver.ask(Request.SET_PROTOCOL_FEATURES, m.Number(taken)) == 0
    assert driver.ask(Request.SET_FEATURES, m.Number(ALL)) == 0
    config = driver.send(Request.GET_CONFIG, m.ConfigSpace(0, 0, bytes(12)))
    assert config is not None
    assert config == struct.pack("=III", Request.GET_CONFIG, 5, 24) + struct.pack(
        "=III", 0, 12, 0
    ) + bytes.fromhex("525400000001 0100 0100 dc05")
    driver.share(SLOT)
    for ring in (0, 1):
        write_end, read_end = socket.socketpair()
        driver.send(Request.SET_VRING_CALL, m.VringFile(ring), [write_end.detach()])
        read_end.close()
        driver.describe(ring)
    for ring in (0, 1):
        driver.kick(ring)
        assert driver.running == [*range(ring)], "a ring waits for ENABLE"
        driver.enable(ring)
    assert driver.running == [0, 1]
    # Its driver is unbound: memory goes without GET_VRING_BASE. Then it is bound again.
    driver.enable(1, 0)
    driver.enable(0, 0)
    assert driver.running == []
    driver.send(Request.SET_FEATURES, m.Number(ALL))
    driver.share(SLOT)
    for ring in (0, 1):
        driver.describe(ring)
    assert driver.running == []
    for ring in (0, 1):
        driver.kick(ring)
        driver.enable(ring)
    assert driver.running == [0, 1]
    assert [config.base for config in driver.plane.rings.values()] == [0, 0]


def test_a_front_end_without_bit_30_needs_no_enable(driver: Driver) -> None:
    driver.send(Request.SET_FEATURES, m.Number(ALL & ~Feature.PROTOCOL_FEATURES))
    driver.share(SLOT)
    driver.describe(0)
    driver.kick(0)
    assert driver.running == [0]


def test_disabled_rings_go_on_where_they_were(driver: Driver) -> None:
    driver.start()
    driver.plane.progress = {1: 100}
    driver.enable(1, 0)
    assert driver.running == [0]
    driver.enable(1, 1)
    assert driver.plane.rings[1].base == 100
    assert driver.base(1) == 200


def test_a_ring_starts_when_the_last_piece_comes_whichever_it_is() -> None:
    pieces: dict[str, Callable[[Driver], object]] = {
        "features": lambda d: d.send(Request.SET_FEATURES, m.Number(ALL)),
        "memory": lambda d: d.share(SLOT),
        "address": lambda d: d.send(
            Request.SET_VRING_ADDR, m.VringAddress(0, 0, 0x10, 0x20, 0x30, 0)
        ),
        "enable": lambda d: d.enable(0),
    }
    for last in pieces:
        driver = Driver()
        driver.send(Request.SET_VRING_NUM, m.VringState(0, 256))
        driver.kick(0)
        for name, piece in pieces.items():
            if name != last:
                piece(driver)
        assert driver.running == []
        pieces[last](driver)
        assert driver.running == [0], last
        driver.session.close()


def test_a_new_address_or_kick_restarts_a_ring_where_it_was(driver: Driver) -> None:
    driver.start()
    driver.plane.progress = {0: 3}
    driver.send(Request.SET_VRING_ADDR, m.VringAddress(0, 0, 0x100, 0x200, 0x300, 0))
    assert driver.plane.rings[0].desc == 0x100
    assert driver.plane.rings[0].base == 3
    driver.kick(0)
    assert driver.plane.rings[0].base == 6
    driver.send(Request.SET_VRING_KICK, m.VringFile(0 | NO_FD))
    assert driver.plane.rings[0].kick_fd == -1


def test_a_new_call_descriptor_does_not_restart_a_ring(driver: Driver) -> None:
    driver.start()
    starts = driver.plane.starts
    driver.send(Request.SET_VRING_CALL, m.VringFile(0), [os.eventfd(0)])
    assert driver.plane.rings[0].call_fd >= 0
    driver.send(Request.SET_VRING_CALL, m.VringFile(0 | NO_FD))
    assert driver.plane.rings[0].call_fd == -1
    assert driver.plane.starts == starts


@pytest.mark.parametrize("request_", [Request.RESET_DEVICE, Request.RESET_OWNER])
def test_a_reset_stops_and_disables(driver: Driver, request_: Request) -> None:
    driver.start()
    driver.send(request_)
    assert driver.running == []
    driver.describe(0)
    driver.kick(0)
    assert driver.running == []
    driver.enable(0)
    assert driver.running == [0]


def test_memory_comes_and_goes_region_by_region(driver: Driver) -> None:
    driver.start()
    more = MemorySlot(0x1000, 0x1000, 0x7F0000001000, 0)
    driver.send(Request.ADD_MEM_REG, m.MemoryRow(more), [memfd()])
    assert driver.plane.memory == [SLOT, more]
    # Whatever its offset, and with a descriptor that nobody needs.
    driver.send(Request.REM_MEM_REG, m.MemoryRow(more._replace(mmap_offset=9)), [memfd()])
    assert driver.plane.memory == [SLOT]
    assert driver.running == [0, 1]
    driver.send(Request.SET_MEM_TABLE, m.MemoryTable(()))
    assert driver.running == []
    driver.share(SLOT)
    assert driver.running == [0, 1]


def test_qemu_says_the_same_for_each_queue_pair(driver: Driver) -> None:
    offered = driver.ask(Request.GET_PROTOCOL_FEATURES)
    driver.send(Request.SET_PROTOCOL_FEATURES, m.Number(offered))
    for _ in range(2):
        assert driver.ask(Request.GET_PROTOCOL_FEATURES) == offered
        driver.send(Request.SET_OWNER)
    for _ in range(2):
        assert driver.ask(Request.ADD_MEM_REG, m.MemoryRow(SLOT), [memfd()]) == 0
    assert driver.plane.memory == [SLOT]
    for _ in range(2):
        assert driver.ask(Request.REM_MEM_REG, m.MemoryRow(SLOT)) == 0
    assert driver.plane.memory == []


def test_a_port_that_broke_is_repaired_when_its_front_end_starts_anew(driver: Driver) -> None:
    driver.send(Request.SET_PROTOCOL_FEATURES, m.Number(ProtocolFeature.REPLY_ACK))
    driver.start()
    driver.plane.reason = "descriptor loop"
    assert driver.ask(Request.GET_STATUS) == 0x40
    driver.base(0)
    driver.base(1)
    assert driver.plane.repairs == 0
    driver.describe(0)
    driver.kick(0)
    assert driver.plane.repairs == 1
    assert driver.running == [0]


def test_features_that_change_under_running_rings_restart_them(driver: Driver) -> None:
    driver.start()
    driver.plane.progress = {0: 1, 1: 1}
    driver.send(Request.SET_FEATURES, m.Number(ALL & ~Feature.MRG_RXBUF))
    assert driver.running == [0, 1]
    assert driver.plane.rings[0].base == 1
    assert driver.plane.features == ALL & ~Feature.MRG_RXBUF


# Acknowledgements


def test_messages_are_acknowledged_only_once_that_is_agreed(driver: Driver) -> None:
    assert driver.send(Request.SET_OWNER, need_reply=True) is None
    driver.send(Request.SET_PROTOCOL_FEATURES, m.Number(ProtocolFeature.REPLY_ACK))
    assert driver.ask(Request.SET_OWNER) == 0
    assert driver.send(Request.SET_OWNER) is None


@pytest.mark.parametrize(
    ("request_", "payload"),
    [
        (Request.NET_SET_MTU, m.Number(1501)),
        (Request.SET_CONFIG, m.ConfigSpace(0, 0, bytes(6))),
        (28, b""),
        (4000, b"what?"),
    ],
)
def test_what_we_do_not_do_is_refused_and_the_session_goes_on(
    driver: Driver, request_: int, payload: m.Payload | bytes
) -> None:
    driver.send(Request.SET_PROTOCOL_FEATURES, m.Number(ProtocolFeature.REPLY_ACK))
    assert driver.ask(request_, payload) == 1
    with pytest.raises(ProtocolError):
        driver.send(request_, payload)


def test_an_mtu_that_the_port_has_is_taken(driver: Driver) -> None:
    driver.send(Request.SET_PROTOCOL_FEATURES, m.Number(ProtocolFeature.REPLY_ACK))
    assert driver.ask(Request.NET_SET_MTU, m.Number(1500)) == 0


# What breaks a rule


@pytest.mark.parametrize(
    ("request_", "payload", "fds", "why"),
    [
        (Request.SET_FEATURES, m.Number(1 << 17), 0, "CTRL_VQ"),
        (Request.SET_FEATURES, m.Number(1 << 63), 0, "bit 63"),
        (Request.SET_PROTOCOL_FEATURES, m.Number(1 << 14), 0, "bit 14"),
        (Request.SET_VRING_NUM, m.VringState(2, 256), 0, "virtqueue 2 of a port that has 2"),
        (Request.SET_VRING_NUM, m.VringState(0, 0), 0, "power of two"),
        (Request.SET_VRING_NUM, m.VringState(0, 255), 0, "power of two"),
        (Request.SET_VRING_NUM, m.VringState(0, 65536), 0, "power of two"),
        (Request.SET_VRING_BASE, m.VringState(0, 65536), 0, "begin at index 65536"),
        (Request.SET_VRING_ENABLE, m.VringState(0, 2), 0, "enabled with 2"),
        (Request.SET_VRING_KICK, m.VringFile(255), 1, "virtqueue 255"),
        (Request.SET_VRING_KICK, m.VringFile(0), 0, "kick descriptor of virtqueue 0 is missing"),
        (Request.SET_VRING_KICK, m.VringFile(NO_FD), 1, "there although"),
        (Request.SET_VRING_CALL, m.VringFile(0), 0, "missing"),
        (Request.SET_VRING_ERR, m.VringFile(9), 1, "virtqueue 9"),
        (Request.SET_OWNER, b"", 1, "1 descriptors came with SET_OWNER"),
        (Request.SET_OWNER, b"x", 0, "SET_OWNER: a payload of 1 bytes"),
        (Request.SET_VRING_NUM, b"1234", 0, "SET_VRING_NUM: a payload of 4 bytes"),
        (Request.SET_BACKEND_REQ_FD, b"", 0, "missing"),
        (Request.SET_MEM_TABLE, m.MemoryTable((SLOT,)), 0, "not shared"),
        (Request.SET_MEM_TABLE, m.MemoryTable((SLOT,)), 2, "2 descriptors for 1"),
        (Request.SET_MEM_TABLE, m.MemoryTable((SLOT._replace(size=0),)), 1, "empty"),
        (
            Request.SET_MEM_TABLE,
            m.MemoryTable((SLOT._replace(guest_addr=2**64 - 0x800),)),
            1,
            "beyond the end",
        ),
        (
            Request.SET_MEM_TABLE,
            m.MemoryTable((SLOT._replace(mmap_offset=2**64 - 1),)),
            1,
            "beyond the end",
        ),
        (Request.SET_MEM_TABLE, m.MemoryTable((SLOT, SLOT)), 2, "overlaps"),
        (
            Request.SET_MEM_TABLE,
            m.MemoryTable((SLOT, SLOT._replace(guest_addr=0x10000))),
            2,
            "overlaps",
        ),
        (Request.ADD_MEM_REG, m.MemoryRow(SLOT), 0, "not shared"),
        (Request.GET_CONFIG, m.ConfigSpace.HEAD.pack(200, 100, 0) + bytes(100), 0, "bytes 200"),
    ],
)
def test_a_rule_that_is_broken_ends_the_session_with_the_reason(
    driver: Driver, request_: int, payload: m.Payload | bytes, fds: int, why: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        driver.send(request_, payload, [os.eventfd(0) for _ in range(fds)])
    assert why in caught.value.why


def test_memory_that_is_not_shared_says_how_to_share_it(driver: Driver) -> None:
    with pytest.raises(ProtocolError) as caught:
        driver.send(Request.SET_MEM_TABLE, m.MemoryTable((SLOT,)))
    assert "memory-backend-memfd" in caught.value.fix


def test_more_memory_regions_than_the_data_plane_has_room_for_are_refused(driver: Driver) -> None:
    for number in range(MAX_MEMORY_SLOTS):
        slot = MemorySlot(number * 0x1000, 0x1000, number * 0x1000, 0)
        driver.send(Request.ADD_MEM_REG, m.MemoryRow(slot), [memfd()])
    slot = MemorySlot(1 << 40, 0x1000, 1 << 40, 0)
    with pytest.raises(ProtocolError, match="more than"):
        driver.send(Request.ADD_MEM_REG, m.MemoryRow(slot), [memfd()])


def test_a_kick_descriptor_that_is_always_readable_is_refused(driver: Driver) -> None:
    for path in ("/dev/zero", "/proc/self/status"):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with pytest.raises(ProtocolError, match="is no eventfd"):
            driver.send(Request.SET_VRING_KICK, m.VringFile(0), [fd])


def test_a_call_descriptor_that_is_a_file_is_refused(driver: Driver, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    with pytest.raises(ProtocolError, match="is no eventfd"):
        driver.send(Request.SET_VRING_CALL, m.VringFile(0), [fd])


def test_backend_channel_that_is_full_or_gone_holds_nobody_up(driver: Driver) -> None:
    """Its other end is the front end's, who may let it block, never read it, or close it."""
    ours, theirs = socket.socketpair()
    driver.send(Request.SET_PROTOCOL_FEATURES, m.Number(0x8 | ProtocolFeature.CONFIG))
    assert driver.ask(Request.SET_BACKEND_REQ_FD, b"", [os.dup(theirs.fileno())]) == 0
    driver.session.tell_link()
    told = m.Header.unpack(ours.recv(100))
    assert (told.flags & 0x3, told.size) == (1, 0)
    with contextlib.suppress(BlockingIOError):
        while True:
            theirs.send(bytes(4096), socket.MSG_DONTWAIT)
    teller = threading.Thread(target=driver.session.tell_link, daemon=True)
    teller.start()
    teller.join(PATIENCE_S)
    assert not teller.is_alive()
    ours.close()
    driver.session.tell_link()
    theirs.close()


def test_a_backend_channel_that_is_no_socket_is_refused(driver: Driver) -> None:
    with pytest.raises(ProtocolError, match="is no socket"):
        driver.send(Request.SET_BACKEND_REQ_FD, b"", [os.eventfd(0)])


@pytest.mark.parametrize(
    "call", ["set_features", "set_memory", "start_ring", "repair", "stop_ring"]
)
def test_a_refusal_of_the_data_plane_is_passed_on_and_leaks_nothing(
    driver: Driver, call: str
) -> None:
    driver.plane.reason = "broken by an earlier front end"
    driver.plane.refuse = {call}

    def start_and_stop() -> None:
        driver.start()
        driver.base(0)

    with pytest.raises(RingpassError, match="the test says so"):
        start_and_stop()


# Anything at all, while the data plane refuses some of it


@settings(max_examples=200)
@given(
    st.lists(st.tuples(MESSAGES, st.booleans()), max_size=40),
    st.sets(st.sampled_from(["set_memory", "add_memory", "start_ring", "stop_ring", "set_call"])),
    st.booleans(),
)
def test_whatever_the_data_plane_refuses_it_is_left_clean_and_no_descriptor_open(
    conversation: list[tuple[Message, bool]], refuse: set[str], broken: bool
) -> None:
    before = open_fds()
    driver = Driver(pairs=PAIRS)
    driver.plane.refuse = refuse
    driver.plane.reason = "broken" if broken else None
    for said, need_reply in conversation:
        fds = [memfd() if kind == "memory" else descriptor(kind, -1) for kind in said.fds]
        try:
            driver.send(said.request, said.payload, fds, need_reply=need_reply)
        except RingpassError:
            break
        running = [ring.index for ring in driver.session.rings if ring.running]
        assert running == driver.running
    driver.plane.refuse = set()
    driver.session.close()
    assert driver.plane.rings == {}
    assert driver.plane.memory == []
    assert open_fds() <= before
