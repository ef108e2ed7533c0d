# SPDX-License-Identifier: BSD-2-Clause
"""Programs from Debian's source packages, not a line of them changed, on the backend's ports.

tcpdump with libpcap's netmap, tcpreplay, and QEMU's own -netdev netmap, which no patch of ours
touches: over a VALE switch, a pipe and a NIC, with what they sent and received compared byte for
byte.
"""

import os
import random
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from ringpass import image as images
from ringpass.vm.guest import Guest
from ringpass.vm.launch import qemu_guest
from tests.support.daemon import Daemon
from tests.support.netmap_programs import program
from tests.support.netmap_run import compiled, received, running, send, served
from tests.support.networks import Network, Raw, frame
from tests.support.nics import lay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # the first run builds the programs

COUNT = 200
FRAMES = [frame(number, 60 + 7 * number) for number in range(COUNT)]
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may use the host's interfaces")


class Place(NamedTuple):
    """Where a program is tried: its port, and the one of who is on the other side."""

    port: str
    other: str
    net: Network | None = None
    wire: Network | None = None
    """Where the NIC's cable ends, if `port` is a NIC."""


@pytest.fixture(params=["vale", "pipe", pytest.param("nic", marks=ROOT_ONLY)])
def place(request: pytest.FixtureRequest, runtime_dir: Path) -> Iterator[Place]:
    if request.param != "nic":
        pair = ("vale0:a", "vale0:b") if request.param == "vale" else ("vale0:p{1", "vale0:p}1")
        with Daemon(runtime_dir, ""):
            yield Place(*pair)
        return
    with Network() as here, Network() as there:
        lay(here, there, "eth0", "xdp-copy")
        daemon = Daemon(runtime_dir, "")
        here.do(daemon.__enter__)
        yield Place("netmap:eth0", "", here, there)
        daemon.__exit__(None, None, None)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    return compiled("frames", tmp_path)


def test_tcpdump_shows_what_arrives(place: Place, frames: Path) -> None:
    capture = frames.with_name("capture")
    # -Z: Debian's tcpdump becomes another user before it writes.
    command: list[str | Path] = [
        program("tcpdump"),
        "-Z",
        "root",
        "-i",
        place.port,
        "-w",
        capture,
        "-c",
        str(COUNT),
    ]
    with running(served(*command), "listening on", place.net) as tcpdump:
        if place.wire is not None:
            with Raw(place.wire, "eth0") as wire:
                wire.send(*FRAMES)
                assert tcpdump.wait(60) == 0
        else:
            with running(served(frames, "send", place.other), "ready") as sender:
                send(sender, FRAMES)
                assert tcpdump.wait(60) == 0
    assert pcap(capture.read_bytes()) == FRAMES


def test_tcpreplay_sends_what_it_is_given(place: Place, frames: Path) -> None:
    replayed = frames.with_name("replayed")
    replayed.write_bytes(to_pcap(FRAMES))
    command: list[str | Path] = [
        program("tcpreplay"),
        "--netmap",
        "--nm-delay=0",
        "--pps=2000",
        "-i",
    ]
    if place.wire is not None:
        with Raw(place.wire, "eth0") as wire:
            run_replay([*command, place.port.removeprefix("netmap:"), replayed], place.net)
            assert wire.receive(COUNT) == FRAMES
        return
    with running(served(frames, "receive", place.other, str(COUNT)), "ready") as receiver:
        run_replay([*command, place.port, replayed], place.net)
        assert received(receiver, COUNT) == FRAMES


def run_replay(command: list[str | Path], net: Network | None) -> None:
    """Run tcpreplay to its end."""
    start = subprocess.run if net is None else lambda *a, **k: net.do(subprocess.run, *a, **k)
    done = start(served(*command), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


#: Sends TCP segments for others to cut up, in a guest.
SEGMENT = Path(__file__).parents[1] / "guest" / "scripts" / "segment.py"

# In the guest: says that it listens, then returns each datagram of the host's with its bytes
# turned around, to everybody.
ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.bind(("", 4321))
print("listening", flush=True)
for _ in range(%d):
    data, sender = s.recvfrom(2000)
    s.sendto(data[::-1], ("10.9.0.255", 4322))
"""
DATAGRAMS = 40


@pytest.mark.guest
def test_qemus_netdev_netmap_connects_a_guest(
    place: Place, frames: Path, patched_qemu: Path
) -> None:
    launch = qemu_guest(
        images.ensure("guest"),
        name="netmap",
        extra=[
            *("-netdev", f"netmap,id=n,ifname={place.port}"),
            *("-device", "virtio-net-pci,netdev=n,romfile="),
        ],
    )
    argv = [str(word) for word in served(patched_qemu, *launch.argv[1:])]
    guest = Guest(replace(launch, argv=argv))
    asked = [datagram(number) for number in range(DATAGRAMS)]
    answers = [bytes(reversed(payload(number))) for number in range(DATAGRAMS)]
    start = place.net.do if place.net is not None else lambda function: function()
    try:
        start(guest.start)
        guest.wait_ready()
        guest.check("ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up")
        guest.write_file("/tmp/echo.py", (ECHO % DATAGRAMS).encode())
        guest.check("(python3 /tmp/echo.py > /tmp/echo.log 2>&1 &)")
        guest.check("until grep -q listening /tmp/echo.log; do sleep 0.1; done", 60)
        assert said(place, frames, asked) == answers
        assert offers_segmentation(guest) == (place.other == "vale0:b")
        if offers_segmentation(guest):
            check_segments(place, frames, guest)
    finally:
        guest.kill()


def offers_segmentation(guest: Guest) -> bool:
    """Whether QEMU lets the guest leave it to the network to cut TCP segments: HOST_TSO4."""
    return guest.check("cat /sys/class/net/eth0/device/features").strip()[11] == "1"


def check_segments(place: Place, frames: Path, guest: Guest) -> None:
    """Let the guest send segments of 20000 bytes to a program that knows of no offload."""
    large, count = 20000 + 54, 3
    pieces = -(-20000 // 1448)
    guest.write_file("/tmp/segment.py", SEGMENT.read_bytes())
    command = served(frames, "receive", place.other, str(count * pieces))
    with running(command, "ready") as receiver:
        guest.check(f"python3 /tmp/segment.py send eth0 02:00:00:00:00:09 {large} {count}")
        got = received(receiver, count * pieces)
    for at in range(0, len(got), pieces):
        for one in got[at : at + pieces]:
            assert checksum(one[14:34]) == 0
            assert checksum(one[26:34] + struct.pack("!HH", 6, len(one) - 34) + one[34:]) == 0
        data = b"".join(one[54:] for one in got[at : at + pieces])
        assert data == random.Random(large).randbytes(20000)


def said(place: Place, frames: Path, asked: list[bytes]) -> list[bytes]:
    """Send `asked` to the guest one by one; return the payload of each answer."""
    answers = []
    if place.wire is not None:
        with Raw(place.wire, "eth0") as wire:
            for one in asked:
                wire.send(one)
                answers += [payload_of(got) for got in wire.receive(1, b"\x08\x00")]
        return answers
    command = served(frames, "exchange", place.other)
    with running(command, "ready") as peer:
        for one in asked:
            send(peer, [one])
            while not (found := payload_of(received(peer, 1)[0])):
                pass
            answers.append(found)
    return answers


def payload(number: int) -> bytes:
    """Return what datagram `number` carries: no two are alike, and all lengths differ."""
    return b"".join(struct.pack("!I", number * 1000 + i) for i in range(1 + 9 * number))


def datagram(number: int) -> bytes:
    """Return a broadcast of UDP from 10.9.0.1 to the guest's port 4321."""
    data = payload(number)
    udp = struct.pack("!HHHH", 4322, 4321, 8 + len(data), 0) + data
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number, 0, 64, 17, 0, SOURCE, ALL)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return b"\xff" * 6 + b"\x02\0\0\0\0\x01" + b"\x08\0" + head + udp


SOURCE, ALL = bytes([10, 9, 0, 1]), b"\xff" * 4


def checksum(data: bytes) -> int:
    """Return the Internet checksum of `data`; of data with its own checksum: 0."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def payload_of(frame: bytes) -> bytes:
    """Return the payload of a datagram to port 4322; nothing if it is another frame."""
    if frame[12:14] != b"\x08\0" or frame[23] != 17 or frame[36:38] != struct.pack("!H", 4322):
        return b""
    return frame[42 : 34 + struct.unpack("!H", frame[38:40])[0]]


def to_pcap(frames: list[bytes]) -> bytes:
    """Return a file of libpcap's format, a millisecond between frames."""
    records = b"".join(
        struct.pack("<IIII", 0, number * 1000, len(data), len(data)) + data
        for number, data in enumerate(frames)
    )
    return struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + records


def pcap(data: bytes) -> list[bytes]:
    """Return the frames in a file of libpcap's format."""
    found, at = [], 24
    while at < len(data):
        size, length = struct.unpack_from("<II", data, at + 8)
        assert size == length
        found.append(data[at + 16 : at + 16 + size])
        at += 16 + size
    return found
