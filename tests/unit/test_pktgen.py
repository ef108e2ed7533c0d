# SPDX-License-Identifier: BSD-2-Clause
"""pktgen's roles, on ports of a backend in this process."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ringpass
from ringpass.errors import ConfigError
from ringpass.interrupt import Interrupt
from ringpass.pktgen import frame
from ringpass.pktgen.check import Checker
from ringpass.pktgen.roles import Pinger, Ponger, Receiver, Sender
from ringpass.pktgen.run import run, summarize
from ringport import Port
from tests.support.netmap_region import FakeRegion

A = frame.Address(bytes.fromhex("020000000001"), bytes([10, 0, 0, 1]), 1111)
B = frame.Address(bytes.fromhex("020000000002"), bytes([10, 0, 0, 2]), 2222)
EVERYBODY = B._replace(mac=b"\xff" * 6)


@pytest.fixture
def ports() -> Iterator[tuple[Port, Port]]:
    with ringpass.Backend() as backend:
        yield backend.open("vale0:a"), backend.open("vale0:b")


def sender(port: Port, *, size: int = 60, frames: int = 1000, rate: int = 0) -> Sender:
    template = frame.build(size, A, EVERYBODY, stream=7)
    return Sender(port, template, frames=frames, burst=100, rate=rate, check=True)


def checksum(words: bytes) -> int:
    total = sum(int.from_bytes(words[i : i + 2]) for i in range(0, len(words), 2))
    return (total & 0xFFFF) + (total >> 16)


@pytest.mark.parametrize("size", [60, 61, 1500, 9000])
def test_a_frame_is_udp_of_its_size(size: int) -> None:
    made = frame.build(size, A, B, stream=7)
    assert len(made) == size
    assert made[:14] == B.mac + A.mac + b"\x08\0"
    assert checksum(made[14:34]) == 0xFFFF
    assert int.from_bytes(made[16:18]) == size - 14
    assert int.from_bytes(made[38:40]) == size - 34
    assert made[42:46] == b"ring"


def test_a_short_frame_is_cut_off() -> None:
    assert frame.build(20, A, B, stream=7) == frame.build(58, A, B, stream=7)[:20]


@pytest.mark.parametrize("text", ["", "02:00:00:00:00", "02-00-00-00-00-01", "0x2:0:0:0:0:1"])
def test_what_is_no_mac_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no MAC address"):
        frame.parse_mac(text)


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.1:", "10.0.0.1:65536", "host:7"])
def test_what_is_no_ip_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no address"):
        frame.parse_ip(text)


def test_addresses_are_read() -> None:
    assert frame.parse_mac("2:00:0:0:0:aB") == bytes.fromhex("0200000000ab")
    assert frame.parse_ip("10.0.0.1") == (A.ip, 1234)
    assert frame.parse_ip("10.0.0.1:7") == (A.ip, 7)


@pytest.mark.parametrize("size", [60, 1500, 5000])
def test_what_is_sent_is_received_in_order(ports: tuple[Port, Port], size: int) -> None:
    tx = sender(ports[0], size=size)
    rx = Receiver(ports[1], frames=1000, burst=64, check=size < 2048)
    while not rx.done:
        tx.step()
        while rx.step():
            pass
    assert tx.done
    assert (rx.counts.frames, rx.counts.bytes) == (1000, 1000 * size)
    summary = summarize("rx", "b", rx, 0.5)
    assert (summary.pps, summary.bps) == (2000, 16000 * size)
    if rx.checker:
        assert (summary.lost, summary.reordered, summary.foreign) == (0, 0, 0)


def test_a_sender_keeps_its_rate(ports: tuple[Port, Port]) -> None:
    with Interrupt() as interrupt:
        tx = sender(ports[0], frames=21, rate=1000)
        seconds = run(tx, interrupt, report_s=0, talk=print)
    assert tx.counts.frames == 21
    assert seconds >= 0.015  # 20 ms, but for what passed before the first step


@given(
    numbers=st.lists(st.integers(0, 40), min_size=1, max_size=40),
    cuts=st.lists(st.integers(1, 10)),
)
def test_the_checker_counts_as_one_would_by_hand(numbers: list[int], cuts: list[int]) -> None:
    fake = FakeRegion([(False, 64)], buf_bytes=128)
    template = frame.build(60, A, B, stream=3)
    at = frame.SEQUENCE_AT
    checker = Checker()
    with fake.port() as port:
        fake.binding.waiting += [
            template[:at] + n.to_bytes(8) + template[at + 8 :] for n in numbers
        ]
        port.rxsync()
        for cut in [*cuts, 64]:
            batch = port.rx[0].batch(cut)
            checker.look(batch)
            batch.advance()
    late, expected = 0, numbers[0]
    for number in numbers:
        late += number < expected
        expected = max(expected, number + 1)
    assert (checker.frames, checker.reordered) == (len(numbers), late)
    assert checker.lost == expected - numbers[0] - len(numbers)


def test_streams_are_told_apart_and_foreign_frames_counted(ports: tuple[Port, Port]) -> None:
    for stream in (1, 2):
        for number in (0, 1):
            made = bytearray(frame.build(60, A, EVERYBODY, stream))
            made[frame.SEQUENCE_AT + 7] = number
            ports[0].tx[0].put(made)
    ports[0].tx[0].put(b"\xff" * 6 + A.mac + bytes(60))
    ports[0].txsync()
    rx = Receiver(ports[1], frames=5, burst=64, check=True)
    rx.step()
    assert rx.checker is not None
    found = rx.checker
    assert (found.frames, found.lost, found.reordered, found.foreign) == (4, 0, 0, 1)


def test_pong_turns_frames_around(ports: tuple[Port, Port]) -> None:
    plain = b"\xff" * 6 + A.mac + b"\x88\xb5" + bytes(range(46))
    ports[0].tx[0].put(frame.build(60, A, EVERYBODY, stream=7))
    ports[0].tx[0].put(plain)
    ports[0].txsync()
    pong = Ponger(ports[1], frames=0, burst=64)
    assert pong.step()
    ports[0].rxsync()
    answers = list(iter(ports[0].rx[0].get, None))
    assert answers[0][6:] == frame.build(60, EVERYBODY, A, stream=7)[6:]
    assert answers[1] == A.mac + b"\xff" * 6 + plain[12:]


def test_ping_measures_round_trips(ports: tuple[Port, Port]) -> None:
    # The answer comes from a station that has an address.
    ping = Pinger(ports[0], frame.build(60, A, EVERYBODY, stream=7), frames=10, rate=0)
    pong = Ponger(ports[1], frames=0, burst=64)
    while not ping.done:
        ping.step()
        pong.step()
    summary = summarize("ping", "a", ping, 1.0)
    assert summary.rtt_us is not None
    assert (summary.frames, summary.lost, len(ping.rtt_ns)) == (10, 0, 10)
    assert 0 < summary.rtt_us["min"] <= summary.rtt_us["median"] <= summary.rtt_us["max"]


def test_a_ping_that_does_not_return_is_lost(
    ports: tuple[Port, Port], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringpass.pktgen.roles.TIMEOUT_S", 0.001)
    ping = Pinger(ports[0], frame.build(60, A, EVERYBODY, stream=7), frames=2, rate=0)
    while not ping.done:
        if not ping.step():
            ping.wait(1)
    assert (ping.lost, summarize("ping", "a", ping, 1.0).rtt_us) == (2, {})


def test_rates_are_told_and_a_signal_ends_the_run(ports: tuple[Port, Port]) -> None:
    said: list[str] = []

    def talk(line: str) -> None:
        said.append(line)
        if len(said) == 2:
            threading.Timer(0.001, os.kill, (os.getpid(), signal.SIGINT)).start()

    with Interrupt() as interrupt:
        rx = Receiver(ports[1], frames=0, burst=64, check=False)
        run(rx, interrupt, report_s=0.005, talk=talk)
        assert interrupt.came
    assert said[0].startswith("0.000 Mpps")


def test_a_signal_between_steps_ends_the_next_wait_at_once() -> None:
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.came
        interrupt.sleep(1000)
        interrupt.wait(lambda: pytest.fail("it waits"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
