# SPDX-License-Identifier: BSD-2-Clause
"""A guest that migrates from one QEMU to another, on one port, while it sends and receives."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ringpass.image import Image
from ringpass.vm import migration, registry
from ringpass.vm.guest import Guest
from ringpass.vm.nic import Nic
from tests.support import traffic
from tests.support.lab import Lab, Station
from tests.support.wait import PATIENCE_S, wait_until

pytestmark = pytest.mark.guest

PORTS = {f"vale0:vm{number}": {"hold_us": 1_000_000} for number in (1, 2, 3)}
RATE = 250
BLOCK = "/tmp/block"
MIB_S = 32
"""Slow enough for some thousand frames to come while memory is copied."""


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, PORTS) as lab:
        yield lab


class Background:
    """`numbered.py` in a guest, which may be elsewhere when it ends."""

    def __init__(self, station: Station, name: str, *arguments: object) -> None:
        self.name = name
        script = traffic.install("numbered.py", station)
        words = " ".join(map(str, (name, station.interface, *arguments)))
        ready = f"until [ -s /tmp/{name} ]; do sleep 0.05; done" if name != "send" else ":"
        station.guest.check(
            f"rm -f /tmp/{name}; python3 {script} {words} >/tmp/{name} 2>&1 & {name}=$!; {ready}",
            PATIENCE_S,
        )

    def end(self, guest: Guest) -> dict[str, int]:
        """Return what it found."""
        command = f"kill ${self.name}; wait ${self.name}; cat /tmp/{self.name}"
        report: dict[str, int] = json.loads(guest.check(command, PATIENCE_S).splitlines()[-1])
        return report


def stand_by(lab: Lab, card: Nic, name: str, **options: Any) -> Guest:
    """Start a QEMU to which a guest with such a network card can migrate."""
    guest = lab.guest("qemu", name, [card], incoming=True, **options)
    wait_until(lambda: (guest.directory / registry.INCOMING).is_socket(), name)
    return guest


def dropped(lab: Lab, port: str) -> int:
    """Return how many frames from a port were lost, for whatever reason."""
    return sum(lab.daemon.port(port).tx.drops.values())


def memory(guest: Guest) -> Path:
    """Return the file of a guest's memory, by way of its QEMU."""
    for fd in Path(f"/proc/{guest.pid}/fd").iterdir():
        if "memfd:memory-backend" in str(fd.readlink()):
            return fd
    raise AssertionError(f"{guest.name} shares no memory")


def assert_same(one: Path, other: Path) -> None:
    """Compare two files in pieces: they are large, and mostly holes."""
    with one.open("rb") as first, other.open("rb") as second:
        while piece := first.read(1 << 20):
            at = first.tell() - len(piece)
            assert piece == second.read(1 << 20), f"they differ beyond byte {at:#x}"


@pytest.mark.parametrize(
    ("name", "options", "announced"),
    [
        ("split", {}, "gratuitous_arp"),
        ("packed", {"packed": True, "mrg_rxbuf": False}, "rarp"),
    ],
)
def test_guest_migrates_under_traffic(
    lab: Lab, name: str, options: dict[str, Any], announced: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its memory is whole, no frame comes twice, and what is lost in the pause is counted.

    One of the destinations waits before it runs the guest, so that each byte of both memories can
    be compared: a page that the back end wrote, and did not mark, differs.
    """
    waits = name == "packed"
    # Who announces a guest: itself, or QEMU through us.
    extra = ["-global", "virtio-net-pci.guest_announce=" + ("off" if name == "packed" else "on")]
    (peer,) = lab.up("uml2")
    card = lab.nic("vale0:vm1", address="10.0.0.1/24", **options)
    source = lab.guest("qemu", f"{name}-here", [card], extra=extra)
    here = Station(source, "vale0:vm1", card.mac, "10.0.0.1")
    source.wait_ready()
    there_extra = [*extra, "-S"] if waits else extra
    destination = stand_by(lab, card, f"{name}-there", extra=there_extra)
    there = replace(here, guest=destination)
    source.check(f"head -c 16777216 /dev/urandom >{BLOCK}")
    digest = source.check(f"sha256sum {BLOCK}", PATIENCE_S)
    traffic.ping(here, peer)
    handovers = lab.daemon.port(here.port).handovers
    lost = dropped(lab, peer.port)

    hoard = Background(here, "hoard")
    stream = traffic.Stream(here, peer, rate=RATE)
    listener = Background(peer, "listen")
    stream.begin()
    send = Background(peer, "send", here.mac, RATE)
    with source.qmp() as qmp:
        migration.begin(qmp, destination.directory, mib_s=MIB_S)
        moved = migration.finish(qmp)
    stream.sender = there
    if waits:
        assert_same(memory(source), memory(destination))
        with destination.qmp() as qmp:
            qmp.execute("cont")
    wait_until(lambda: lab.daemon.port(here.port).handovers == handovers + 1, "the handover")
    traffic_goes_on(lab, here.port)
    sent = send.end(peer.guest)["sent"]
    flood = stream.end()
    found = hoard.end(destination)
    lost = dropped(lab, peer.port) - lost
    port = lab.daemon.port(here.port)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{name}: {moved.total_ms} ms, {moved.bytes >> 20} MiB in {moved.rounds} rounds; "
            f"QEMU's downtime {moved.downtime_ms} ms, virtqueues stopped {port.pause_s * 1e3:.1f} "
            f"ms; to the guest: {sent} frames, {lost} lost, {found}; from it: {flood}\n"
        )
    assert (found["duplicates"], found["late"], found["corrupt"]) == (0, 0, 0)
    # Others than the numbered ones may be lost, too, such as an ARP request.
    missing = sent - found["frames"]
    assert missing <= lost
    # What comes while nobody runs, and while the event loops of three processes take their turns.
    assert found["longest_gap"] <= missing <= RATE * (port.pause_s + 5)
    received = flood.received
    assert (received.duplicates, received.late, received.corrupt) == (0, 0, 0)
    assert received.missing == port.tx.drops.get("reset", 0)
    assert destination.check(f"sha256sum {BLOCK}", PATIENCE_S) == digest
    assert listener.end(peer.guest)[announced] > 0
    source.kill()
    traffic.ping(there, peer)
    traffic.flood(peer, there).assert_whole()
    traffic.exchange_tcp(there, peer)
    assert lab.daemon.port(here.port).violations == 0
    destination.kill()


def traffic_goes_on(lab: Lab, port: str) -> None:
    """Wait until a second's worth of frames went each way."""
    before = lab.daemon.port(port)

    def moved() -> bool:
        now = lab.daemon.port(port)
        return min(now.tx.frames - before.tx.frames, now.rx.frames - before.rx.frames) >= RATE

    wait_until(moved, "traffic after the handover", PATIENCE_S)


def test_guest_stays_where_it_is_if_it_cannot_migrate(lab: Lab) -> None:
    """Its migration is cancelled, or its destination dies when it has taken over already."""
    (peer,) = lab.up("uml2")
    card = lab.nic("vale0:vm3", address="10.0.0.3/24")
    source = lab.guest("qemu", "stays", [card])
    station = Station(source, "vale0:vm3", card.mac, "10.0.0.3")
    source.wait_ready()
    destination = stand_by(lab, card, "not-there")
    with source.qmp() as qmp, traffic.Stream(peer, station, rate=RATE):
        migration.begin(qmp, destination.directory, mib_s=8)
        wait_until(lambda: logging(lab, station.port), "the log")
        qmp.execute("migrate_cancel")
        with pytest.raises(migration.MigrationFailed, match="cancelled"):
            migration.finish(qmp)
        wait_until(lambda: not logging(lab, station.port), "the end of the log")
    status = lab.daemon.port(station.port)
    assert (status.handovers, status.violations) == (0, 0)
    destination.kill()
    wait_until(lambda: lab.daemon.port(station.port).standby is None, "nobody standing by")

    destination = stand_by(lab, card, "gone")
    with source.qmp() as qmp:
        migration.begin(qmp, destination.directory)
        migration.finish(qmp)
        wait_until(lambda: lab.daemon.port(station.port).handovers == 1, "the handover")
        destination.kill()
        qmp.execute("cont")
    traffic.ping(station, peer)
    traffic.flood(peer, station).assert_whole()
    source.kill()


def logging(lab: Lab, port: str) -> bool:
    """Whether what is written to the memory of a port's guest is logged."""
    front_end = lab.daemon.port(port).front_end
    return front_end is not None and front_end.logging
