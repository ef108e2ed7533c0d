# SPDX-License-Identifier: BSD-2-Clause
"""The traffic tools count right: also when frames are lost, repeated, swapped or damaged."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringpass.image import Image
from ringpass.vm.guest import Guest
from tests.support.traffic import IDLE_S
from tests.support.wait import PATIENCE_S

pytestmark = [pytest.mark.guest, pytest.mark.usefixtures("runtime_dir")]

VETH = "ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up"

# Sends frames of rp-flood's making, except where told otherwise: what it is given is a list of
# (sequence number, byte to damage or -1).
FORGE = """
import json, socket, struct, sys
MASK = (1 << 64) - 1
FIRST, STEP = 0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f
def frame(seq, damage, size=100):
    head = b"\\xff" * 6 + b"\\x02" * 6 + struct.pack(">HQIHBB", 0x88b5, seq, size, 3, 1, 0)
    word, body = FIRST ^ (seq * STEP & MASK), b""
    while len(body) < size - 30:
        body += struct.pack("<Q", word)
        word = (word + STEP) & MASK
    data = bytearray(head + body[: size - 30])
    if damage >= 0:
        data[damage] ^= 1
    return bytes(data)
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("v0", 0))
for seq, damage in json.loads(sys.argv[1]):
    s.send(frame(seq, damage))
s.send(b"\\xff" * 12 + b"\\x08\\x06" + b"foreign" * 10)
"""


@pytest.fixture(scope="module")
def guest(image: Image) -> Iterator[Guest]:
    """Return a User-mode Linux guest with a pair of linked interfaces, v0 and v1."""
    with (
        tempfile.TemporaryDirectory(prefix="rp-") as directory,
        Guest.uml(image, name="tools", directory=Path(directory) / "vm") as guest,
    ):
        guest.check(VETH)
        guest.write_file("/tmp/forge.py", FORGE.encode())
        yield guest


def sink(guest: Guest, options: str, send: str, count: int | None = None) -> dict[str, Any]:
    """Run rp-sink while `send` runs, and return what it reports.

    It ends when `count` frames have come; else when none has come for a second.
    """
    limit = "" if count is None else f"--count {count} --idle {IDLE_S}"
    guest.check(f"rp-sink {options} {limit} --background /tmp/sink.json v1")
    guest.check(send, PATIENCE_S)
    wait = "until [ -e /tmp/sink.json ]; do sleep 0.05; done"
    result: dict[str, Any] = json.loads(guest.check(f"{wait}; cat /tmp/sink.json", PATIENCE_S))
    return result


def forge(frames: list[tuple[int, int]]) -> str:
    return f"python3 /tmp/forge.py '{json.dumps(frames)}'"


@pytest.mark.parametrize("mode", ["--mode xdp", "--mode tc", "--check"])
@pytest.mark.parametrize("size", [60, 1514])
def test_every_frame_of_a_flood_is_counted(guest: Guest, mode: str, size: int) -> None:
    flood = f"rp-flood v0 --count 20000 --rate 50000 --size {size} --vary"
    report = sink(guest, mode, flood, 20000)
    assert report["mode"] in mode or mode == "--check"
    assert report["frames"] == 20000
    assert report["bytes"] == 20000 * size
    assert report["missing"] == report["late"] == 0
    # A guest that waits for a processor is slower than it was told to be.
    assert report["seconds"] > 0.7 * 20000 / 50000
    assert report["pps"] == pytest.approx(20000 / report["seconds"], rel=0.05)
    if mode == "--check":
        assert report["duplicates"] == report["corrupt"] == report["overrun"] == 0


def test_flood_reports_what_it_sent(guest: Guest) -> None:
    before = int(guest.check("cat /sys/class/net/v0/statistics/tx_packets"))
    report = json.loads(guest.check("rp-flood v0 --count 12345"))
    assert report["frames"] == 12345
    assert report["errors"] == 0
    sent = int(guest.check("cat /sys/class/net/v0/statistics/tx_packets")) - before
    assert sent == pytest.approx(12345, abs=20)  # others may send a frame as well


@pytest.mark.parametrize("mode", ["--mode xdp", "--mode tc", "--check"])
def test_gaps_and_late_frames_are_found(guest: Guest, mode: str) -> None:
    order = [*range(10), *range(15, 20), 12, 13, *range(20, 30)]
    report = sink(guest, mode, forge([(seq, -1) for seq in order]), len(order))
    assert report["frames"] == len(order)
    assert report["missing"] == 5
    assert report["late"] == 2


def test_first_frame_may_have_any_number(guest: Guest) -> None:
    report = sink(guest, "", forge([(seq, -1) for seq in range(1000, 1010)]), 10)
    assert (report["frames"], report["missing"], report["late"]) == (10, 0, 0)


def test_duplicates_are_told_from_late_frames(guest: Guest) -> None:
    order = [0, 1, 2, 5, 2, 3, 4, 4, 6]
    report = sink(guest, "--check", forge([(seq, -1) for seq in order]), len(order))
    assert report["late"] == 4  # 2 again, 3, 4, 4 again
    assert report["duplicates"] == 2
    assert report["corrupt"] == 0


@pytest.mark.parametrize("damage", [24, 25, 28, 29, 30, 64, 99])
def test_one_wrong_bit_is_corrupt(guest: Guest, damage: int) -> None:
    report = sink(guest, "--check", forge([(0, -1), (1, damage), (2, -1)]), 3)
    assert report["frames"] == 3
    assert report["corrupt"] == 1


def test_wrong_sequence_number_is_corrupt_in_frames_that_vary(guest: Guest) -> None:
    report = sink(guest, "--check", forge([(0, -1), (1, 21), (2, -1)]), 3)
    assert report["corrupt"] == 1


def test_foreign_frames_pass_and_are_counted_only_if_asked(guest: Guest) -> None:
    assert sink(guest, "--mode tc", forge([(0, -1)]))["frames"] == 1
    assert sink(guest, "--mode tc --any", forge([(0, -1)]))["frames"] == 2


def test_frames_too_large_are_an_error(guest: Guest) -> None:
    result = guest.run("rp-flood v0 --size 1515 --count 10")
    assert result.status == 1
    assert '"frames": 0' in result.output
    assert "Message too long" in result.output


@pytest.mark.parametrize(
    "command",
    [
        "rp-flood",
        "rp-flood nosuch",
        "rp-flood v0 --size 10",
        "rp-flood v0 --size 1e3x",
        "rp-flood v0 --rate nan",
        "rp-flood v0 --dst 1:2:3",
        "rp-flood v0 --dst 02:00:00:00:00:01x",
        "rp-flood v0 --dst 02:00:00:00:00:001",
        "rp-sink",
        "rp-sink nosuch",
        "rp-sink v1 --mode fast",
        "rp-sink v1 --check --any",
    ],
)
def test_wrong_arguments_are_refused(guest: Guest, command: str) -> None:
    assert guest.run(command).status in (1, 2)


def test_nothing_stays_attached(guest: Guest) -> None:
    for mode in ("xdp", "tc"):
        sink(guest, f"--mode {mode} --seconds 0", "true")
    assert "clsact" not in guest.check("tc qdisc show dev v1")
    assert "xdp" not in guest.check("ip link show v1")


def test_virtio_driver_runs_the_counting_program(image: Image, runtime_dir: Path) -> None:
    """Two QEMU guests joined by a datagram socket: QEMU's own virtio-net, no back end of ours."""

    def guest(name: str, peer: str, number: int) -> Guest:
        local, remote = runtime_dir / name, runtime_dir / peer
        netdev = f"dgram,id=n0,local.type=unix,local.path={local}"
        netdev += f",remote.type=unix,remote.path={remote}"
        device = f"virtio-net-pci,netdev=n0,romfile=,mac=52:54:00:00:00:0{number}"
        parameters = [f"rp.ip0=10.0.0.{number}/24"]
        extra = ["-netdev", netdev, "-device", device]
        return Guest.qemu(image, name=name, parameters=parameters, extra=extra)

    with guest("vm1", "vm2", 1) as sender, guest("vm2", "vm1", 2) as receiver:
        sender.check("ping -c 2 -W 10 10.0.0.2")
        receiver.check("rp-sink --background /tmp/sink.json eth0")
        sent = json.loads(
            sender.check("rp-flood eth0 --seconds 1 --rate 2000 --dst 52:54:00:00:00:02")
        )
        receiver.check("until [ -e /tmp/sink.json ]; do sleep 0.1; done")
        report = json.loads(receiver.check("cat /tmp/sink.json"))
        assert report["mode"] == "xdp"
        assert 0 < report["frames"] <= sent["frames"]
        assert report["missing"] == sent["frames"] - report["frames"] or report["late"] == 0
        sender.check("ping -c 1 -W 10 10.0.0.2")
