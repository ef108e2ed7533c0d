# SPDX-License-Identifier: BSD-2-Clause
"""Capture files: what is recorded of a port, block by block, and what is replayed on one."""

import io
import struct
import time
from collections.abc import Iterator
from typing import Any

import pcapng
import pytest
from pcapng.blocks import EnhancedPacket, InterfaceDescription, InterfaceStatistics

import ringpass
from ringpass.capture import Limits, Pace, Packet, Writer, read_packets, record, replay
from ringpass.capture.pcapng import INBOUND, OUTBOUND
from ringpass.capture.recording import write_ring
from ringpass.errors import RingpassError
from ringport import Error, Port
from ringport.abi import NS_REPORT
from tests.support.netmap_region import FakeRegion

HOST_A, HOST_B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


def frame(to: bytes, sender: bytes, size: int, number: int = 0) -> bytes:
    """Return a frame of `size` bytes that tells which it is."""
    return (to + sender + b"\x88\xb5" + struct.pack(">I", number)).ljust(size, b"\xaa")


@pytest.fixture
def backend() -> Iterator[ringpass.Backend]:
    with ringpass.Backend() as made:
        yield made


def exchange(port: Port, *frames: bytes) -> None:
    """Send frames of a port at once."""
    for each in frames:
        assert port.tx[0].put(each)
    port.txsync()


def recorded(monitor: Port, **settings: Any) -> tuple[bytes, Any]:
    """Record what is there; return the file and the summary."""
    stream = io.BytesIO()
    writer = Writer(stream, "vale0:a", settings.pop("snaplen", 65535))
    summary = record(monitor, writer, Limits(**settings or {"seconds": 0.01}))
    return stream.getvalue(), summary


def blocks(data: bytes) -> list[Any]:
    return list(pcapng.FileScanner(io.BytesIO(data)))


def packets(data: bytes) -> list[Any]:
    return [block for block in blocks(data) if isinstance(block, EnhancedPacket)]


def test_a_recording_has_direction_time_and_drops(backend: ringpass.Backend) -> None:
    with (
        backend.open("vale0:a") as a,
        backend.open("vale0:b") as b,
        backend.open("vale0:a/rt") as monitor,
    ):
        before = time.time_ns()
        exchange(a, frame(HOST_B, HOST_A, 60))
        exchange(b, frame(HOST_A, HOST_B, 1001))
        data, summary = recorded(monitor)

    (interface,) = (block for block in blocks(data) if isinstance(block, InterfaceDescription))
    assert interface.options["if_name"] == "vale0:a"
    assert interface.link_type == 1
    sent, received = packets(data)
    assert sent.packet_data == frame(HOST_B, HOST_A, 60)
    assert sent.options["epb_flags"].inout == "outbound"
    assert received.packet_data == frame(HOST_A, HOST_B, 1001)
    assert received.options["epb_flags"].inout == "inbound"
    for block in (sent, received):
        assert before <= block.timestamp_high << 32 | block.timestamp_low <= time.time_ns()
    (statistics,) = (block for block in blocks(data) if isinstance(block, InterfaceStatistics))
    assert statistics.options["isb_ifrecv"] == 2
    assert statistics.options["isb_ifdrop"] == 0
    assert summary == (2, 0)


def test_a_pipe_is_recorded_without_a_copy(backend: ringpass.Backend) -> None:
    with (
        backend.open("vale0:a{1") as master,
        backend.open("vale0:a}1") as slave,
        backend.open("vale0:a{1/z") as monitor,
    ):
        exchange(master, frame(HOST_B, HOST_A, 60))
        slave.rxsync()
        assert slave.rx[0].get() == frame(HOST_B, HOST_A, 60)
        slave.rxsync()
        data, summary = recorded(monitor, packets=1)
    (shown,) = packets(data)
    assert shown.packet_data == frame(HOST_B, HOST_A, 60)
    assert shown.options["epb_flags"].inout == "outbound"
    assert summary == (1, 0)


def test_drops_are_told(backend: ringpass.Backend) -> None:
    with backend.open("vale0:a@conf:slots=64") as a, backend.open("vale0:a/t@conf:slots=8") as m:
        exchange(a, *(frame(HOST_B, HOST_A, 60, number) for number in range(10)))
        data, summary = recorded(m)
    assert summary == (7, 3)
    assert blocks(data)[-1].options["isb_ifdrop"] == 3
    assert blocks(data)[-1].options["isb_ifrecv"] == 10


def test_long_frames_are_joined_and_cut_ones_tell_their_length(backend: ringpass.Backend) -> None:
    with backend.open("vale0:a") as a, backend.open("vale0:a/t@conf:slots=4") as m:
        exchange(a, frame(HOST_B, HOST_A, 5000))
        exchange(a, frame(HOST_B, HOST_A, 9000))
        first, _ = recorded(m, packets=1)
        m.rxsync()
        exchange(a, frame(HOST_B, HOST_A, 9000))
        second, _ = recorded(m, packets=1)
    (whole,), (cut,) = packets(first), packets(second)
    assert whole.packet_data == frame(HOST_B, HOST_A, 5000)
    assert cut.packet_data == frame(HOST_B, HOST_A, 9000)[: 3 * 2048]
    assert cut.packet_len == 9000


def test_a_snap_length_and_a_count(backend: ringpass.Backend) -> None:
    with backend.open("vale0:a") as a, backend.open("vale0:a/t") as m:
        exchange(a, *(frame(HOST_B, HOST_A, 100, number) for number in range(5)))
        data, summary = recorded(m, packets=3, snaplen=30)
        assert summary.packets == 3
        rest, _ = recorded(m, packets=2)
    assert [block.packet_data for block in packets(data)] == [
        frame(HOST_B, HOST_A, 100, number)[:30] for number in range(3)
    ]
    assert {block.packet_len for block in packets(data)} == {100}
    assert len(packets(rest)) == 2


def test_a_port_that_goes_ends_the_recording(backend: ringpass.Backend) -> None:
    a = backend.open("vale0:a")
    with backend.open("vale0:a/rt") as monitor:
        a.close()
        stream = io.BytesIO()
        with pytest.raises(Error, match="which it monitored, is gone"):
            record(monitor, Writer(stream, "vale0:a", 100), Limits())
    assert isinstance(blocks(stream.getvalue())[-1], InterfaceStatistics)


def test_nobody_to_monitor(backend: ringpass.Backend) -> None:
    with pytest.raises(Error, match="no program has it open"):
        backend.open("vale0:a/rt")


@pytest.mark.parametrize("size", range(60, 65))
def test_packets_are_padded_as_the_library_reads_them(size: int) -> None:
    stream = io.BytesIO()
    writer = Writer(stream, "x", 1000)
    writer.packet(1 << 60, bytes(size), INBOUND)
    writer.packet((1 << 60) + 1, memoryview(bytes(size)), OUTBOUND, length=2000)
    stream.seek(0)
    assert list(read_packets(io.BufferedReader(stream), "x")) == [
        Packet(1 << 60, bytes(size)),
        Packet((1 << 60) + 1, bytes(size)),
    ]


def pcap(nanoseconds: bool, *frames: tuple[int, int, bytes], link: int = 1) -> bytes:
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    head = struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    records = (struct.pack("<IIII", s, part, len(d), len(d)) + d for s, part, d in frames)
    return head + b"".join(records)


def read(data: bytes) -> list[Packet]:
    return list(read_packets(io.BufferedReader(io.BytesIO(data)), "file"))


def test_pcap_is_read_too() -> None:
    assert read(pcap(False, (7, 5, b"abc"))) == [Packet(7_000_005_000, b"abc")]
    assert read(pcap(True, (7, 5, b"abc"))) == [Packet(7_000_000_005, b"abc")]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no pcap or pcapng"),
        (b"GIF89a" + bytes(100), "no pcap or pcapng"),
        (b"\x0a\x0d\x0d\x0a" + bytes(10), "no pcap or pcapng"),
        (pcap(False, (1, 1, b"abc"), link=113), "link type is 113"),
    ],
)
def test_what_is_no_capture_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(RingpassError) as caught:
        read(data)
    assert why in caught.value.why


def test_a_packet_of_an_interface_that_is_not_described_is_refused() -> None:
    stream = io.BytesIO()
    Writer(stream, "x", 1000).packet(1, b"abc", INBOUND)
    data = bytearray(stream.getvalue())
    at = data.rindex(struct.pack("<I", 6), 0, data.index(b"abc"))
    data[at + 8 : at + 12] = struct.pack("<I", 3)
    with pytest.raises(RingpassError, match="KeyError 3"):
        read(bytes(data))


def test_a_length_that_no_file_has_room_for_is_cut() -> None:
    fake = FakeRegion([(False, 4)])
    stream = io.BytesIO()
    with fake.port() as port:
        fake.binding.waiting.append(b"abc")
        port.rxsync()
        (slot,) = port.rx[0]
        slot.flags, slot.ptr = NS_REPORT, 2**40
        assert write_ring(port.rx[0], Writer(stream, "x", 1000), None) == 1
    assert packets(stream.getvalue())[0].packet_len == 2**32 - 1


def test_a_replay_sends_what_fits(backend: ringpass.Backend) -> None:
    frames = [frame(HOST_B, HOST_A, 60 + number, number) for number in range(600)]
    source = [Packet(1000, each) for each in [*frames, b"", bytes(200_000)]]
    with backend.open("vale0:a") as a, backend.open("vale0:b") as b:
        done = replay(source, a, Pace(0))
        b.rxsync()
        assert [b.rx[0].get() for _ in frames] == frames
        assert b.rx[0].get() is None
    assert done == (600, sum(map(len, frames)), 1, 1)


@pytest.mark.parametrize(("pace", "due_ms"), [(Pace(None), (0, 10, 30)), (Pace(100), (0, 10, 20))])
def test_no_frame_is_replayed_before_its_time(
    backend: ringpass.Backend, pace: Pace, due_ms: tuple[int, ...]
) -> None:
    source = [Packet(10**18 + at * 1_000_000, frame(HOST_B, HOST_A, 60)) for at in (0, 10, 30)]
    with backend.open("vale0:a") as a, backend.open("vale0:a/t") as monitor:
        start = time.time_ns()
        assert replay(source, a, pace).packets == 3
        data, _ = recorded(monitor)
    times = [block.timestamp_high << 32 | block.timestamp_low for block in packets(data)]
    for at, due in zip(times, due_ms, strict=True):
        assert at - start >= (due - 1) * 1_000_000


def test_a_replay_ends_when_it_is_told_to(backend: ringpass.Backend) -> None:
    source = [Packet(0, frame(HOST_B, HOST_A, 60)), Packet(10**15, frame(HOST_B, HOST_A, 60))]
    answers = iter([True, True, False])
    with backend.open("vale0:a") as a:
        assert replay(source, a, Pace(), lambda: next(answers, False)).packets == 1
