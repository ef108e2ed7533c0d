# SPDX-License-Identifier: BSD-2-Clause
"""Traffic between two running guests, made and measured by programs inside them."""

import math
import re
import shlex
from dataclasses import dataclass

import msgspec

from ringpass.bench.tools import PACKET, SINK_FILE, Tool
from ringpass.errors import RingpassError
from ringpass.vm.guest import Guest

#: Seconds that a program in a guest may take longer than it was told to: guests are slow.
SLACK_S = 60.0

#: Bytes of payload of a datagram: an Ethernet frame of 1500 bytes beside its header.
UDP_BYTES = 1472

_TIME = re.compile(r"time=([0-9.]+) ms")


class Flooded(msgspec.Struct):
    """What rp-flood says."""

    frames: int
    pps: float


class Sunk(msgspec.Struct):
    """What rp-sink says; `pps` is from the first frame to the last."""

    frames: int
    pps: float
    missing: int


@dataclass(frozen=True)
class Flood:
    """One flood: what the sender's driver took, and what the receiver's driver was given."""

    sent: int
    sent_pps: float
    received: int
    pps: float
    missing: int
    """Frames that never arrived, by their sequence numbers."""


@dataclass(frozen=True)
class Tcp:
    """One transfer by iperf3, all its streams together."""

    gbps: float
    """Of payload, at the receiver."""
    retransmits: int


def ping(guest: Guest, address: str, count: int) -> list[float]:
    """Return round trip times in microseconds; each echo is sent when the last has returned.

    Raises RingpassError if one is lost.
    """
    guest.check(f"ping -n -q -c 1 -W 5 {address}")  # learns the address, which takes its time
    output = guest.check(f"ping -n -A -c {count} {address}", timeout=SLACK_S)
    times = [1000 * float(time) for time in _TIME.findall(output)]
    if len(times) < count:
        raise RingpassError(
            f"guest {guest.name} lost echoes of {address}", f"{len(times)} of {count} came back"
        )
    return times


def serve_tcp(guest: Guest) -> None:
    """Start an iperf3 server in `guest` and wait until it listens on its port, 5201."""
    listening = "grep -qs ':1451 .* 0A ' /proc/net/tcp /proc/net/tcp6"
    guest.check("iperf3 -s -D", SLACK_S)
    guest.check(f"until {listening}; do sleep 0.1; done", SLACK_S)


def tcp(
    guest: Guest, address: str, seconds: float, *, streams: int = 1, reverse: bool = False
) -> Tcp:
    """Send by TCP from `guest` to the server at `address`; the other way if `reverse`.

    iperf3 knows whole seconds only, so `seconds` is rounded up.
    """
    whole = math.ceil(seconds)
    command = f"iperf3 -J -i 0 -c {address} -t {whole} -P {streams}" + " -R" * reverse
    output = guest.check(command, whole + SLACK_S)
    end = msgspec.json.decode(output[output.index("{") :])["end"]
    return Tcp(
        gbps=end["sum_received"]["bits_per_second"] / 1e9,
        retransmits=end["sum_sent"]["retransmits"],
    )


def udp(guest: Guest, address: str, seconds: float) -> float:
    """Send by UDP from `guest` as fast as it can; return the Gbit/s of payload that arrive.

    The server at `address` has been started; iperf3 knows whole seconds only.
    """
    whole = math.ceil(seconds)
    command = f"iperf3 -J -i 0 -u -b 0 -l {UDP_BYTES} -c {address} -t {whole}"
    output = guest.check(command, whole + SLACK_S)
    end = msgspec.json.decode(output[output.index("{") :])["end"]
    return float(end["sum_received"]["bits_per_second"]) / 1e9


def flood(
    sender: Guest,
    receiver: Guest,
    *,
    size: int,
    seconds: float,
    sender_nic: str = "eth0",
    receiver_nic: str = "eth0",
    tool: Tool = PACKET,
    counter: Tool | None = None,
) -> Flood:
    """Send frames of `size` bytes for `seconds`; the receiver counts them where they enter it.

    It counts with `tool`, too, unless there is a `counter`.
    """
    mac = hardware_address(receiver, receiver_nic)
    begin_count(receiver, receiver_nic, counter or tool)
    sent = flood_to(sender, mac, size=size, seconds=seconds, nic=sender_nic, tool=tool)
    return flooded(sent, end_count(receiver))


def flooded(sent: Flooded, sunk: Sunk) -> Flood:
    """Return what became of a flood, as its two ends saw it."""
    return Flood(sent.frames, sent.pps, sunk.frames, sunk.pps, sunk.missing)


def flood_to(
    sender: Guest,
    mac: str,
    *,
    size: int,
    seconds: float,
    nic: str = "eth0",
    tool: Tool = PACKET,
) -> Flooded:
    """Send frames of `size` bytes to `mac` for `seconds`, whoever receives them."""
    command = tool.send.format(nic=shlex.quote(nic), mac=mac, size=size, seconds=seconds)
    return msgspec.json.decode(sender.check(command, seconds + SLACK_S), type=Flooded)


def begin_count(receiver: Guest, nic: str, tool: Tool) -> None:
    """Begin to count the frames of a flood that come to `nic`."""
    receiver.check(tool.receive.format(nic=shlex.quote(nic)), SLACK_S)


def end_count(receiver: Guest) -> Sunk:
    """Return what has been counted, when the flood is over."""
    command = f"until [ -e {SINK_FILE} ]; do sleep 0.1; done; cat {SINK_FILE}; rm {SINK_FILE}"
    return msgspec.json.decode(receiver.check(command, SLACK_S), type=Sunk)


def hardware_address(guest: Guest, nic: str) -> str:
    """Return the MAC address of a network card of `guest`."""
    return guest.check(f"cat /sys/class/net/{shlex.quote(nic)}/address").strip()
