# SPDX-License-Identifier: BSD-2-Clause
"""Traffic between guests, each byte of it checked. Every wait has a limit."""

import json
import re
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec
from msgspec import Struct

from tests.support.lab import Station
from tests.support.wait import PATIENCE_S

SCRIPTS = Path(__file__).parents[1] / "guest" / "scripts"

IDLE_S = 15.0
"""Seconds without a frame after which a flood is over, though not all has come."""

SEGMENT = 65535
"""Bytes of the largest frame that Linux leaves to a network card to cut up."""


class Sent(Struct):
    """What rp-flood reports."""

    frames: int
    errors: int


class Received(Struct):
    """What rp-sink reports."""

    frames: int
    bytes: int
    missing: int
    late: int
    duplicates: int
    corrupt: int
    overrun: int


class Flood(NamedTuple):
    """A flood at both of its ends."""

    sent: Sent
    received: Received

    def assert_whole(self) -> None:
        """Every frame that was sent came, once, in its place, with each byte right."""
        assert self.sent.frames > 0
        assert self.received == Received(self.sent.frames, self.received.bytes, 0, 0, 0, 0, 0), self


def ping(source: Station, target: Station, *, count: int = 5, size: int = 56) -> None:
    """Exchange `count` echoes of `size` bytes, unfragmented.

    They may be late, or overtake each other in two queues: ping then sends some more, until so many
    have come back. Floods tell whether any are lost.
    """
    # A target that did not answer a moment ago would be thought unreachable for a while.
    source.guest.check(f"ip neigh flush dev {source.interface}")
    limits = f"-c {count} -i 0.05 -w 20 -s {size} -M do"
    output = source.guest.run(f"ping -n {limits} {target.address}", PATIENCE_S).output
    assert len(set(re.findall(r"icmp_seq=(\d+) ttl", output))) >= count, output


def introduce(station: Station, other: Station) -> None:
    """Let the switch hear a station, so that it neither floods nor drops what is for it."""
    ping(station, other, count=1)


def flood(sender: Station, receiver: Station, *, size: int = 60, count: int = 5000) -> Flood:
    """Send `count` numbered frames of `size` bytes as fast as the sender's driver takes them."""
    introduce(receiver, sender)
    start_sink(receiver, f"--seconds {PATIENCE_S} --idle {IDLE_S} --count {count}")
    sent = send_flood(sender, receiver.mac, size=size, count=count)
    return Flood(sent, end_sink(receiver))


def send_flood(sender: Station, mac: str, *, size: int = 60, count: int = 5000) -> Sent:
    """Send `count` numbered frames of `size` bytes to the address `mac`.

    From one processor: one that moves to another takes another queue, and overtakes itself.
    """
    command = (
        f"taskset 1 rp-flood {sender.interface} --vary --dst {mac} --size {size} --count {count}"
    )
    return msgspec.json.decode(sender.guest.check(command, PATIENCE_S), type=Sent)


class Stream:
    """Numbered frames from one guest to another for as long as the context lasts.

    Leaving it asserts that every frame arrived, once, in its place, with each of its bytes right.
    The guests' shells are free meanwhile.
    """

    def __init__(
        self, sender: Station, receiver: Station, *, rate: int = 500, size: int = 200
    ) -> None:
        self.sender = sender
        self.receiver = receiver
        self.rate = rate
        self.size = size

    def __enter__(self) -> Self:
        self.begin()
        return self

    def begin(self) -> None:
        """Start the receiver, then the sender; return when frames flow."""
        introduce(self.receiver, self.sender)
        start_sink(self.receiver, "--seconds 3600 --idle 3600")
        command = f"taskset 1 rp-flood {self.sender.interface} --vary --dst {self.receiver.mac}"
        limits = f"--seconds 3600 --rate {self.rate} --size {self.size}"
        sent = f"/sys/class/net/{self.sender.interface}/statistics/tx_packets"
        flowing = f"until [ $(cat {sent}) -ge $((before + 10)) ]; do sleep 0.02; done"
        self.sender.guest.check(
            f"before=$(cat {sent}); {command} {limits} >/tmp/flood.json & flood=$!; {flowing}",
            PATIENCE_S,
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.end().assert_whole()

    def end(self) -> Flood:
        """Stop the sender, let the last frames arrive, and return both reports."""
        report = self.sender.guest.check(
            "kill $flood; wait $flood; cat /tmp/flood.json", PATIENCE_S
        )
        return Flood(msgspec.json.decode(report, type=Sent), stop_sink(self.receiver))


def start_sink(receiver: Station, limits: str) -> None:
    """Begin to receive in the background."""
    command = f"rp-sink --check {limits} --background /tmp/sink.json {receiver.interface}"
    receiver.guest.check(command, PATIENCE_S)


def end_sink(receiver: Station) -> Received:
    """Return what was received, once the receiver is done."""
    wait = "until [ -e /tmp/sink.json ]; do sleep 0.05; done"
    report = receiver.guest.check(f"{wait}; cat /tmp/sink.json", PATIENCE_S)
    return msgspec.json.decode(report, type=Received)


def stop_sink(receiver: Station) -> Received:
    """Return what was received, once the guest has taken what is in its rings by now."""
    receiver.guest.check("sleep 0.5; killall rp-sink", PATIENCE_S)
    return end_sink(receiver)


def exchange_tcp(
    server: Station, client: Station, *, size: int = 4_000_000, segments: bool = False
) -> None:
    """Send `size` bytes over TCP each way at once; the ends compare them with what was sent.

    With `segments` one of SEGMENT bytes crosses each way, too, as `send_segment` sends it.
    """
    listening = "until grep -q ':1389 .* 0A ' /proc/net/tcp; do sleep 0.05; done"
    install("segment.py", server, client)
    # The guests' Python takes longest of all to start: without what it does not need.
    script = f"python3 -ES {install('tcp_exchange.py', server, client)}"
    arguments = f"{server.address} {size}"
    serve, connect = (
        f"{station.interface} {other.mac} {SEGMENT}" if segments else ""
        for station, other in ((server, client), (client, server))
    )
    server.guest.check(
        f"{script} serve {arguments} {serve} >/tmp/tcp 2>&1 & tcp=$!; {listening}", PATIENCE_S
    )
    client.guest.check(f"{script} connect {arguments} {connect}", PATIENCE_S)
    server.guest.check("wait $tcp || { cat /tmp/tcp; false; }", PATIENCE_S)


def send_segment(sender: Station, receiver: Station, *, size: int = SEGMENT) -> None:
    """Send a TCP segment of `size` bytes; it must arrive in one piece, each byte right."""
    script = install("segment.py", sender, receiver)
    listening = "until grep -qs listening /tmp/segment; do sleep 0.05; done"
    receiver.guest.check(
        f"rm -f /tmp/segment; python3 -ES {script} receive {receiver.interface} {size} "
        f">/tmp/segment 2>&1 & segment=$!; {listening}",
        PATIENCE_S,
    )
    sender.guest.check(
        f"python3 -ES {script} send {sender.interface} {receiver.mac} {size} 1", PATIENCE_S
    )
    receiver.guest.check("wait $segment || { cat /tmp/segment; false; }", PATIENCE_S)


class Iperf(NamedTuple):
    """What iperf3 measured, all streams together."""

    received: int
    """Bytes."""
    retransmits: int


def iperf(server: Station, client: Station, *, seconds: int = 1, options: str = "") -> Iperf:
    """Run iperf3 from `client` to `server`."""
    listening = "until grep -q ':1451 .* 0A ' /proc/net/tcp /proc/net/tcp6; do sleep 0.05; done"
    server.guest.check(f"iperf3 -s -1 -D; {listening}", PATIENCE_S)
    command = f"iperf3 -c {server.address} -t {seconds} {options} -J"
    end = json.loads(client.guest.check(command, PATIENCE_S + seconds))["end"]
    return Iperf(end["sum_received"]["bytes"], end["sum_sent"]["retransmits"])


def install(script: str, *stations: Station) -> str:
    """Put a script of `tests/guest/scripts` into guests; return its path there."""
    path = f"/tmp/{script}"
    for station in stations:
        if station.guest.run(f"test -e {path}").status != 0:
            station.guest.write_file(path, (SCRIPTS / script).read_bytes())
    return path
