# SPDX-License-Identifier: BSD-2-Clause
"""The example programs of ringport do what they say, on ports of a backend in this process."""

import asyncio
import importlib
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

import ringpass
from ringport import Port
from ringport.bridge import Bridge
from ringport.examples import bridge, counter, flood, generator, program, responder, sink
from ringport.examples import filter as udp_filter
from tests.support.wait import PATIENCE_S

HOST = socket.inet_aton("10.0.0.9")
ASKER = socket.inet_aton("10.0.0.1")
ASKER_MAC = bytes.fromhex("020000000001")


@pytest.fixture
def backend() -> Iterator[ringpass.Backend]:
    with ringpass.Backend() as made:
        yield made


@pytest.fixture(params=[False, True], ids=["batches", "slots"])
def by_slots(request: pytest.FixtureRequest) -> bool:
    """Return both ways that programs go: the second is that of a Python without numpy."""
    return bool(request.param)


def ethernet(kind: int, payload: bytes, to: bytes = b"\xff" * 6) -> bytes:
    return (to + ASKER_MAC + kind.to_bytes(2) + payload).ljust(60, b"\0")


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo(ident: int) -> bytes:
    body = struct.pack(">BBHHH", 8, 0, 0, ident, 1) + b"0123456789"
    body = body[:2] + checksum(body).to_bytes(2) + body[4:]
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, 1, 0, ASKER, HOST)
    return ethernet(0x0800, head + body)


def udp(port: int) -> bytes:
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 46, 0, 0, 64, 17, 0, ASKER, HOST)
    return ethernet(0x0800, head + struct.pack(">HHHH", 1000, port, 26, 0))


def send(port: Port, *frames: bytes) -> None:
    for frame in frames:
        assert port.tx[0].put(frame)
    port.txsync()


def receive(port: Port) -> list[bytes]:
    port.rxsync()
    return list(iter(port.rx[0].get, None))


def test_the_responder_answers_arp(backend: ringpass.Backend) -> None:
    with backend.open("vale0:a") as asker, backend.open("vale0:b") as host:
        request = bytes.fromhex("0001080006040001") + ASKER_MAC + ASKER + bytes(6) + HOST
        others = request[:-1] + b"\x08"
        send(asker, ethernet(0x0806, others), ethernet(0x0806, request))
        host.rxsync()
        assert responder.respond(host, HOST) == 1
        (reply,) = receive(asker)
        assert reply[:14] == ASKER_MAC + responder.MAC + b"\x08\x06"
        fields = bytes.fromhex("0001080006040002") + responder.MAC + HOST + ASKER_MAC + ASKER
        assert reply[14:42] == fields


@pytest.mark.parametrize("ident", [0, 1, 0xEDB8, 0xFFFF])
def test_the_responder_answers_ping(backend: ringpass.Backend, ident: int) -> None:
    with backend.open("vale0:a") as asker, backend.open("vale0:b") as host:
        send(asker, echo(ident))
        host.rxsync()
        assert responder.respond(host, HOST) == 1
        (reply,) = receive(asker)
        assert reply[:12] == ASKER_MAC + responder.MAC
        assert reply[26:34] == HOST + ASKER
        assert reply[34] == 0
        assert reply[38:52] == echo(ident)[38:52]
        assert checksum(reply[34:52]) == 0


def test_the_responder_says_nothing_to_the_rest(backend: ringpass.Backend) -> None:
    with backend.open("vale0:a") as asker, backend.open("vale0:b") as host:
        send(asker, udp(7), ethernet(0x86DD, bytes(40)), ethernet(0x0806, bytes(28)))
        host.rxsync()
        assert responder.respond(host, HOST) == 0
        assert receive(asker) == []


def test_the_filter_drops_one_udp_port(backend: ringpass.Backend, by_slots: bool) -> None:
    with (
        backend.open("vale0:a") as sender,
        backend.open("vale0:b") as source,
        backend.open("vale1:a") as drain,
        backend.open("vale1:b") as receiver,
    ):
        send(sender, udp(53), udp(54), echo(1), udp(53))
        assert udp_filter.hand_on(source, drain, 53, by_slots) == 4
        assert receive(receiver) == [udp(54), echo(1)]


def test_the_counter_counts_by_type(backend: ringpass.Backend, by_slots: bool) -> None:
    with backend.open("vale0:a") as sender, backend.open("vale0:b") as port:
        send(sender, udp(1), udp(2), ethernet(0x0806, b""))
        assert port.wait_readable(0)
        seen: Counter[int] = Counter()
        counter.count(port, seen, by_slots)
        assert seen == {0x0800: 2, 0x0806: 1}


def test_the_bridge_joins_two_switches(backend: ringpass.Backend, by_slots: bool) -> None:
    with (
        backend.open("vale0:a") as a,
        backend.open("vale0:b") as one,
        backend.open("vale1:b") as other,
        backend.open("vale1:a") as b,
    ):
        send(a, udp(1), udp(2))
        assert bridge.hand_on(one, other, by_slots) == 2
        assert receive(b) == [udp(1), udp(2)]


def test_the_bridge_swaps_the_buffers_of_pipes(backend: ringpass.Backend, by_slots: bool) -> None:
    long = ethernet(0x0800, bytes(range(256)) * 20)  # in several slots
    with (
        backend.open("vale0:x{1") as a,
        backend.open("vale0:x}1") as one,
        backend.open("vale0:x{2") as other,
        backend.open("vale0:x}2") as b,
    ):
        send(a, udp(1), long, udp(2))
        one.rxsync()
        received, free = one.rx[0][0].buf_idx, other.tx[0][0].buf_idx
        done = len(one.rx[0])
        assert bridge.hand_on(one, other, by_slots) == done > 3
        assert (one.rx[0].slot(0).buf_idx, other.tx[0].slot(0).buf_idx) == (free, received)
        assert receive(b) == [udp(1), long, udp(2)]


def test_frames_wait_for_room_whole(backend: ringpass.Backend, by_slots: bool) -> None:
    long = ethernet(0x0800, bytes(8000))
    with (
        backend.open("vale0:x{1") as a,
        backend.open("vale0:x}1") as one,
        backend.open("vale0:x{2") as other,
        backend.open("vale0:x}2") as b,
    ):
        ring = other.tx[0]
        while len(ring) > 2:
            assert ring.put(udp(7))
        send(a, udp(1), long)
        assert bridge.hand_on(one, other, by_slots) == 1
        assert receive(b)[-1] == udp(1)
        b.rxsync()
        other.txsync()
        assert bridge.hand_on(one, other, by_slots) > 1
        assert receive(b) == [long]


def test_the_generator_fills_the_sink(backend: ringpass.Backend, by_slots: bool) -> None:
    total = 5000

    def generate() -> None:
        sent = 0
        while sent < total:
            taken.acquire()
            sender.wait_writable()
            sent += generator.generate(sender, sent, min(total - sent, 200), 60, by_slots)

    async def drain() -> int:
        frames = expected = 0
        while expected < total:
            await receiver.readable()
            got, expected = sink.receive(receiver, expected, by_slots)
            frames += got
            taken.release()
        return expected - frames

    taken = threading.Semaphore(2)
    with backend.open("vale0:a") as sender, backend.open("vale0:b") as receiver:
        thread = threading.Thread(target=generate)
        thread.start()
        assert asyncio.run(drain()) == 0
        thread.join()


def test_both_directions_of_a_bridge_are_counted(backend: ringpass.Backend) -> None:
    with (
        backend.open("vale0:a") as a,
        backend.open("vale0:b") as one,
        backend.open("vale1:b") as other,
        backend.open("vale1:a") as b,
    ):
        joined = Bridge(one, other, batch=2)
        assert not joined.wait(0)
        send(a, *[udp(i) for i in range(3)])
        send(b, ethernet(0x0800, bytes(86)))
        assert joined.wait(0)
        assert [joined.step() for _ in range(3)] == [3, 1, 0]
        assert len(receive(b)) == 3
        assert [len(frame) for frame in receive(a)] == [100]
        assert [(way.slots, way.bytes) for way in joined.directions] == [(3, 180), (1, 100)]


def test_a_flood_is_counted_by_its_receiver(backend: ringpass.Backend) -> None:
    with backend.open("vale0:a") as a, backend.open("vale0:b") as b:
        sender, receiver = flood.Sender(a, 64, ASKER_MAC, b"\xff" * 6), flood.Receiver(b)
        for _ in range(5):  # several times around the rings
            while sender.step(300):
                receiver.step()
                if sender.sent % 1500 == 0:
                    break
        receiver.step()
        send(a, echo(1))  # which is none of them
        assert receiver.step() == 0
        assert (receiver.frames, receiver.expected, receiver.late) == (7500, 7500, 0)
        sender.sent = 7510  # ten of them never leave
        assert sender.step(1) == 1
        assert receiver.step() == 1
        assert receiver.expected - receiver.frames == 10


def test_a_flood_fills_buffers_that_its_ring_got_anew(backend: ringpass.Backend) -> None:
    with backend.open("vale0:p{1@conf:slots=16") as a, backend.open("vale0:p}1") as b:
        sender, receiver = flood.Sender(a, 64, ASKER_MAC, b"\xff" * 6), flood.Receiver(b)
        for _ in range(6):
            sender.step()
            receiver.step()
        (rx,) = b.rx
        sender.step()
        b.rxsync()
        rx[0].swap(rx[1])
        for slot in rx[:2]:
            slot.buffer[:64] = b"x" * 64
        rx.advance(len(rx))
        b.rxsync()
        receiver.expected = before = sender.sent
        for _ in range(12):
            sender.step()
            b.rxsync()
            for slot in rx:
                assert (slot.len, bytes(slot.data[:14])) == (64, sender.frame[:14].tobytes())
            receiver.step()
        assert sender.sent > before + 2 * a.tx[0].num_slots
        assert (receiver.expected, receiver.late) == (sender.sent, 0)


@pytest.mark.parametrize(
    ("batches", "missing", "late"),
    [
        ([[0, 1, 2], [3, 4]], 0, 0),
        ([[0, 1, 3], [6]], 3, 0),
        ([[0, 2, 1], [3]], 0, 1),
        ([[5], [0, 1, 2, 3, 4], [6]], 0, 1),
        ([[0, 1], [1, 2]], 0, 1),
    ],
)
def test_a_receiver_goes_by_the_numbers(
    backend: ringpass.Backend, batches: list[list[int]], missing: int, late: int
) -> None:
    with backend.open("vale0:p{1") as a, backend.open("vale0:p}1") as b:
        receiver = flood.Receiver(b)
        head = bytes(12) + flood.ETHERTYPE.to_bytes(2)
        for numbers in batches:
            for number in numbers:
                a.tx[0].put((head + number.to_bytes(8)).ljust(60, b"\0"))
            a.txsync()
            assert receiver.step() == len(numbers)
        assert receiver.frames == sum(map(len, batches))
        assert receiver.late == late
        assert receiver.expected - receiver.frames == missing - (batches == [[0, 1], [1, 2]])


def test_a_flood_says_what_it_did(
    backend: ringpass.Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    options = flood.parse(["vale0:a", "--count", "3000", "--size", "100"])
    with backend.open("vale0:p{1") as a, backend.open("vale0:p}1") as b:
        taker = threading.Thread(target=lambda: sums.update(flood.receive(b, options)))
        sums: dict[str, float] = {}
        taker.start()
        sent = flood.send(a, options)
        taker.join(PATIENCE_S)
    assert sent["frames"] == sums["frames"] == 3000
    assert (sums["missing"], sums["late"]) == (0, 0)
    with pytest.raises(SystemExit):
        flood.parse(["vale0:a", "--size", "29"])
    assert "30 to 2048" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["bridge", "counter", "filter", "flood", "generator", "responder", "sink"]
)
def test_an_example_says_what_it_wants(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = importlib.import_module(f"ringport.examples.{name}")
    for arguments, status in ((["--help"], 0), ([], 2)):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(SystemExit) as left:
            example.main()
        assert left.value.code == status
    printed = capsys.readouterr()
    assert "vale0:a" in printed.out
    assert "required" in printed.err


def test_a_program_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["counter", "vale0:"])
    with pytest.raises(SystemExit, match="error: "):
        program.run(counter.main)
