# SPDX-License-Identifier: BSD-2-Clause
"""What Linux makes of a frame in software is what ringpass makes of it, byte for byte.

The same frames, with the same virtio-net headers, go through a Linux bridge between two TAP devices
and through a switch; neither receiver takes any offload.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.support.packets import (
    ACK,
    CWR,
    DESTINATION,
    FIN,
    HOP_BY_HOP,
    PSH,
    ROUTING,
    VNET_HEADER,
    Packet,
    ones_sum,
)
from tests.support.taps import TUN_F_CSUM, BridgedTaps, Unavailable
from tests.support.vnet_path import GuestPath, VnetPath


@pytest.fixture(scope="module")
def linux() -> Iterator[BridgedTaps]:
    try:
        taps = BridgedTaps()
    except Unavailable as why:
        pytest.skip(str(why))
    with taps:
        yield taps


@pytest.fixture(scope="module")
def ringpass() -> Iterator[VnetPath]:
    with VnetPath() as path:
        yield path


C_TAG, S_TAG = 0x8100, 0x88A8
TIMESTAMPS = b"\x01\x01\x08\x0a" + bytes(range(8))

PACKETS = {
    "tcp4": Packet(),
    "tcp4-timestamps": Packet(tcp_options=TIMESTAMPS, ident=65533, flags=ACK | PSH),
    "tcp4-all-options": Packet(options=b"\x01" * 40, tcp_options=b"\x01" * 40),
    "tcp4-router-alert": Packet(options=b"\x94\x04\0\0", tcp_options=TIMESTAMPS),
    "tcp4-fin": Packet(flags=ACK | FIN | PSH, seq=0xFFFFFF00),
    "tcp4-cwr": Packet(flags=ACK | CWR | PSH, tcp_options=TIMESTAMPS),
    "tcp4-every-flag": Packet(flags=0xFF),
    "tcp4-vlan": Packet(vlans=(C_TAG,)),
    "tcp4-service-vlan": Packet(vlans=(S_TAG,), tcp_options=TIMESTAMPS),
    "tcp4-qinq": Packet(vlans=(S_TAG, C_TAG), options=b"\x01" * 8),
    "tcp4-three-vlans": Packet(vlans=(C_TAG, C_TAG, C_TAG), flags=ACK | FIN),
    "tcp6": Packet(ipv6=True),
    "tcp6-cwr-fin": Packet(ipv6=True, flags=ACK | CWR | FIN, tcp_options=TIMESTAMPS),
    "tcp6-vlan": Packet(ipv6=True, vlans=(C_TAG,)),
    "tcp6-qinq": Packet(ipv6=True, vlans=(S_TAG, C_TAG), tcp_options=TIMESTAMPS),
    "tcp6-hop-by-hop": Packet(ipv6=True, extensions=((HOP_BY_HOP, 1),)),
    "tcp6-routing": Packet(ipv6=True, extensions=((ROUTING, 1),)),
    "tcp6-destination": Packet(ipv6=True, extensions=((DESTINATION, 3),)),
    "tcp6-all": Packet(
        ipv6=True,
        vlans=(C_TAG,),
        extensions=((HOP_BY_HOP, 2), (DESTINATION, 1), (ROUTING, 1), (DESTINATION, 4)),
        tcp_options=TIMESTAMPS,
    ),
}

#: Payload, and what a segment holds of it.
SIZES = [(200, 100), (1449, 1448), (2896, 1448), (20000, 1448), (65000, 1448), (9000, 48)]
SIZES += [(50000, 8948)]


def expect_the_same(
    linux: BridgedTaps, ringpass: VnetPath, vnet: bytes, frame: bytes, *, descriptors: int = 1
) -> None:
    """Send a frame both ways; both must do all that was to be done, and the same."""
    theirs = linux.forward(vnet, frame)
    assert theirs, "Linux drops it"
    assert all(header == bytes(VNET_HEADER.size) for header, _ in theirs)
    ours = ringpass.forward(vnet, frame, descriptors=descriptors)
    assert [len(frame) for frame in ours] == [len(frame) for _, frame in theirs]
    for number, (our, (_, their)) in enumerate(zip(ours, theirs, strict=True)):
        assert our.hex(" ") == their.hex(" "), f"frame {number} of {len(ours)}"


@pytest.mark.parametrize("name", PACKETS)
@pytest.mark.parametrize(("payload", "gso_size"), SIZES)
def test_segments(
    linux: BridgedTaps, ringpass: VnetPath, name: str, payload: int, gso_size: int
) -> None:
    packet = PACKETS[name].of(payload)
    expect_the_same(linux, ringpass, packet.vnet(gso_size), packet.frame())


@pytest.mark.parametrize("name", PACKETS)
@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
@pytest.mark.parametrize("payload", [0, 1, 2, 57, 1400, 8900])
def test_checksums(
    linux: BridgedTaps, ringpass: VnetPath, name: str, udp: bool, payload: int
) -> None:
    packet = replace(PACKETS[name], udp=udp).of(payload)
    expect_the_same(linux, ringpass, packet.vnet(), packet.frame())


@pytest.fixture(scope="module")
def linux_that_leaves_sums() -> Iterator[BridgedTaps]:
    with BridgedTaps(offloads=TUN_F_CSUM) as taps:
        yield taps


@pytest.fixture(scope="module")
def guest() -> Iterator[GuestPath]:
    with GuestPath() as path:
        yield path


@pytest.mark.usefixtures("linux")
@pytest.mark.parametrize("name", PACKETS)
@pytest.mark.parametrize(("payload", "gso_size"), [(200, 100), (9000, 100), (20000, 1448)])
def test_segments_for_a_receiver_that_completes_checksums(
    linux_that_leaves_sums: BridgedTaps, guest: GuestPath, name: str, payload: int, gso_size: int
) -> None:
    packet = PACKETS[name].of(payload)
    vnet, frame = packet.vnet(gso_size), packet.frame()
    theirs = linux_that_leaves_sums.forward(vnet, frame)
    assert len(theirs) == -(-payload // gso_size)
    assert guest.forward(vnet, frame) == theirs


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_checksum_of_zero(linux: BridgedTaps, ringpass: VnetPath, udp: bool) -> None:
    """To UDP it means that there is none, so its other form, 0xffff, is sent; by TCP, too."""
    packet = Packet(payload=bytes(2), udp=udp)
    frame = packet.frame()
    rest = 0xFFFF ^ ones_sum(frame[packet.l4 :])
    packet = replace(packet, payload=rest.to_bytes(2, "big"))
    expect_the_same(linux, ringpass, packet.vnet(), packet.frame())
    (completed,) = ringpass.forward(packet.vnet(), packet.frame())
    field = packet.l4 + (6 if udp else 16)
    assert completed[field : field + 2] == b"\xff\xff"


def test_checksum_of_zero_in_a_segment(linux: BridgedTaps, ringpass: VnetPath) -> None:
    """There Linux sends a zero, for only TCP is segmented."""
    gso_size = 100
    packet = Packet(flags=0, ident=7).of(2 * gso_size)
    _, second = ringpass.forward(packet.vnet(gso_size), packet.frame())
    field = packet.l4 + 16
    last = int.from_bytes(packet.payload[-2:], "big") + int.from_bytes(second[field : field + 2])
    payload = packet.payload[:-2] + (last % 0xFFFF).to_bytes(2, "big")
    packet = replace(packet, payload=payload)
    expect_the_same(linux, ringpass, packet.vnet(gso_size), packet.frame())
    _, second = ringpass.forward(packet.vnet(gso_size), packet.frame())
    assert second[field : field + 2] == bytes(2)


@pytest.mark.parametrize("payload", [0, 1, 99, 100])
def test_what_might_be_a_segment_is_not_cut(
    linux: BridgedTaps, ringpass: VnetPath, payload: int
) -> None:
    packet = Packet().of(payload)
    expect_the_same(linux, ringpass, packet.vnet(100), packet.frame())


def test_what_only_options_make_longer_than_a_segment(
    linux: BridgedTaps, ringpass: VnetPath
) -> None:
    """Linux drops it: it takes the options for payload once, and the second time it does not."""
    packet = Packet(tcp_options=TIMESTAMPS).of(95)
    assert linux.forward(packet.vnet(100), packet.frame()) == []
    (whole,) = ringpass.forward(packet.vnet(100), packet.frame())
    assert [whole] == ringpass.forward(packet.vnet(), packet.frame())


FRAGMENT, AUTHENTICATION, NO_NEXT = 44, 51, 59
TSO = Packet().of(3000)
TSO6 = Packet(ipv6=True).of(3000)


def patched(packet: Packet, at: int, value: int) -> bytes:
    frame = bytearray(packet.frame())
    frame[at] = value
    return bytes(frame)


LIES = {
    "fragment-header": (TSO6, (20, FRAGMENT)),
    "authentication-header": (TSO6, (20, AUTHENTICATION)),
    "no-next-header": (TSO6, (20, NO_NEXT)),
    "udp": (TSO, (23, 17)),
    "arp": (TSO, (13, 6)),
    "ipv4-header-too-short": (TSO, (14, 0x44)),
    "ipv4-header-too-long": (TSO, (14, 0x46)),
    "tcp-header-too-short": (TSO, (46, 0x40)),
    "extension-too-long": (
        Packet(ipv6=True, extensions=((DESTINATION, 1),)).of(3000),
        (55, 1),
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_headers_that_linux_does_not_cut_behind(
    linux: BridgedTaps, ringpass: VnetPath, name: str
) -> None:
    packet, change = LIES[name]
    frame = patched(packet, *change)
    assert linux.forward(packet.vnet(1000), frame) == []
    before = ringpass.drops()
    assert ringpass.forward(packet.vnet(1000), frame) == []
    assert ringpass.drops() - before == {"header": 1}


@pytest.mark.parametrize(("packet", "other"), [(TSO, TSO6), (TSO6, TSO)], ids=["tcp4", "tcp6"])
def test_the_wrong_kind_of_segment(
    linux: BridgedTaps, ringpass: VnetPath, packet: Packet, other: Packet
) -> None:
    kind = VNET_HEADER.unpack(other.vnet(1000))[1]
    flags, _, *rest = VNET_HEADER.unpack(packet.vnet(1000))
    vnet = VNET_HEADER.pack(flags, kind, *rest)
    with contextlib.suppress(OSError):  # it does not even take it
        assert linux.forward(vnet, packet.frame()) == []
    before = ringpass.drops()
    assert ringpass.forward(vnet, packet.frame()) == []
    assert ringpass.drops() - before == {"header": 1}


options = st.integers(0, 10).map(lambda words: b"\x01" * 4 * words)
extensions = st.lists(
    st.tuples(st.sampled_from([ROUTING, DESTINATION]), st.integers(1, 6)), max_size=3
)


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    """Any packet; a hop-by-hop header is the first one if there is one."""
    chain = draw(extensions)
    if draw(st.booleans()):
        chain.insert(0, (HOP_BY_HOP, draw(st.integers(1, 6))))
    return Packet(
        vlans=tuple(draw(st.lists(st.sampled_from([C_TAG, S_TAG]), max_size=4))),
        ipv6=draw(st.booleans()),
        options=draw(options),
        extensions=tuple(chain),
        tcp_options=draw(options),
        flags=draw(st.integers(0, 255)),
        ident=draw(st.integers(0, 0xFFFF)),
        seq=draw(st.integers(0, 0xFFFFFFFF)),
    ).of(draw(st.integers(0, 60000)))


ANY = settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@ANY
@given(packet=packets(), gso_size=st.integers(48, 20000), descriptors=st.integers(1, 128))
def test_any_segments(
    linux: BridgedTaps, ringpass: VnetPath, packet: Packet, gso_size: int, descriptors: int
) -> None:
    excess = len(packet.payload) - gso_size
    assume(excess > 0 or excess + len(packet.tcp_options) <= 0)
    vnet, frame = packet.vnet(gso_size), packet.frame()
    expect_the_same(linux, ringpass, vnet, frame, descriptors=descriptors)


@ANY
@given(packet=packets(), udp=st.booleans(), descriptors=st.integers(1, 128))
def test_any_checksum(
    linux: BridgedTaps, ringpass: VnetPath, packet: Packet, udp: bool, descriptors: int
) -> None:
    packet = replace(packet, udp=udp)
    vnet, frame = packet.vnet(), packet.frame()
    expect_the_same(linux, ringpass, vnet, frame, descriptors=descriptors)


@pytest.fixture(scope="module")
def linux_1500() -> Iterator[BridgedTaps]:
    with BridgedTaps(mtu=1500) as taps:
        yield taps


@pytest.fixture(scope="module")
def ringpass_1500() -> Iterator[VnetPath]:
    with VnetPath(mtu=1500) as path:
        yield path


@pytest.mark.usefixtures("linux")
@pytest.mark.parametrize("vlans", [(), (C_TAG,)], ids=["untagged", "tagged"])
@pytest.mark.parametrize("packet_bytes", [1400, 1500, 1505, 2000])
def test_mtu(
    linux_1500: BridgedTaps, ringpass_1500: VnetPath, packet_bytes: int, vlans: tuple[int, ...]
) -> None:
    """Both leave room for a VLAN tag; which frames use it without a tag, Linux knows better."""
    packet = Packet(vlans=vlans)
    packet = packet.of(packet_bytes - (packet.headers - packet.ip))
    vnet, frame = bytes(VNET_HEADER.size), packet.frame()
    theirs = [frame for _, frame in linux_1500.forward(vnet, frame)]
    assert ringpass_1500.forward(vnet, frame) == theirs
    assert len(theirs) == (packet_bytes <= 1500)


def test_segments_are_measured_by_their_size(
    linux_1500: BridgedTaps, ringpass_1500: VnetPath
) -> None:
    packet = Packet(tcp_options=TIMESTAMPS).of(20000)
    expect_the_same(linux_1500, ringpass_1500, packet.vnet(1448), packet.frame())
    before = ringpass_1500.drops()
    assert ringpass_1500.forward(packet.vnet(1500), packet.frame()) == []
    assert ringpass_1500.drops() - before == {"mtu": 1}
