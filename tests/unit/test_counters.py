# SPDX-License-Identifier: BSD-2-Clause
"""The counters file is read as the compiler laid it out, and nothing else is taken for one."""

import os
import struct
import time
from pathlib import Path

import pytest

from ringpass._dp import ffi, lib
from ringpass.dataplane import DataPlane, FrontEndKind, Kind, Policy, PortSpec
from ringpass.errors import DaemonUnreachable, RingpassError
from ringpass.observe import counters
from ringpass.observe.counters import Counters
from tests.support.rings import RingUser
from tests.support.wait import wait_until


def offsets(layout: struct.Struct) -> list[int]:
    """Return where each value of `layout` begins that is not padding."""
    found, position = [], 0
    for count, code in _codes(layout.format):
        size = struct.calcsize(f"={count}{code}") if code == "s" else struct.calcsize(f"={code}")
        for _ in range(1 if code == "s" else count):
            if code != "x":
                found.append(position)
            position += size
    assert position == layout.size
    return found


def _codes(text: str) -> list[tuple[int, str]]:
    found, digits = [], ""
    for char in text.removeprefix("="):
        if char.isdigit():
            digits += char
        else:
            found.append((int(digits or 1), char))
            digits = ""
    return found


RING_FIELDS = ["port", "active", "dir", "ring", "broken", "frames", "bytes", "batches", "kicks"]
RING_FIELDS += ["calls", "copied", "holds", "checksums", "segments", "sleeps", "truncated"]
WORKER_FIELDS = ["active", "policy", "cpu", "tid", "loops", "busy", "sleeps", "wakes"]
HEADER_FIELDS = ["magic", "version", "ring_records", "worker_records", "reasons", "rings_offset"]
HEADER_FIELDS += ["workers_offset"]


@pytest.mark.parametrize(
    ("layout", "struct_name", "fields"),
    [
        (counters.HEADER, "struct rp_counters", HEADER_FIELDS),
        (counters.WORKER, "struct rp_worker_counters", WORKER_FIELDS),
    ],
)
def test_the_layout_is_the_compilers(
    layout: struct.Struct, struct_name: str, fields: list[str]
) -> None:
    assert offsets(layout) == [ffi.offsetof(struct_name, field) for field in fields]


def test_the_layout_of_rings_is_the_compilers() -> None:
    name = "struct rp_ring_counters"
    drops = ffi.offsetof(name, "drops")
    expected = [ffi.offsetof(name, field) for field in RING_FIELDS]
    expected += [drops + 8 * reason for reason in range(20)]
    assert offsets(counters.RING) == expected
    assert counters.RING.size == ffi.sizeof(name)
    assert counters.WORKER.size == ffi.sizeof("struct rp_worker_counters")
    assert ffi.offsetof("struct rp_counters", "reason_names") == counters.REASON_NAMES_OFFSET
    assert ffi.offsetof("struct rp_counters", "pid") == counters.LIFE_OFFSET
    assert ffi.offsetof("struct rp_counters", "alive_ns") == counters.LIFE_OFFSET + 24
    assert lib.NETMAP_DIR_TX == counters.DIRECTION_TX
    assert lib.RP_COUNTERS_VERSION == counters.VERSION


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counters"


def test_what_the_data_plane_counts_is_read(path: Path) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    with DataPlane(fd) as dataplane, Counters(path) as read:
        worker = dataplane.add_worker(Policy.SLEEP, 1000, cpu=0)
        switch = dataplane.add_switch("vale0")
        port = dataplane.add_port(PortSpec("vale0:a", switch=switch, worker=worker))
        rings = read.rings()
        assert [(ring.port, ring.tx, ring.ring) for ring in rings] == [
            ("vale0:a", True, 0),
            ("vale0:a", False, 0),
        ]
        assert all(ring.frames == 0 and ring.drops == {} for ring in rings)
        (seen,) = wait_until(read.workers, "the worker runs")
        assert (seen.worker, seen.policy, seen.cpu) == (worker, Policy.SLEEP, 0)
        status = dataplane.port_status(port)
        assert read.ring(status.tx_records[0]) == rings[0]
        assert read.reasons == [
            ffi.string(lib.rp_drop_name(reason)).decode()  # type: ignore[union-attr]
            for reason in range(lib.RP_DROP_REASONS)
        ]
        dataplane.remove_port(port)
        assert read.rings() == []
    os.close(fd)


def test_the_rings_that_a_worker_watches_when_it_sleeps_count_its_sleeps(path: Path) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    with DataPlane(fd) as dataplane, Counters(path) as read:
        worker = dataplane.add_worker(Policy.NOTIFY)
        switch = dataplane.add_switch("vale0")
        rings = FrontEndKind.RINGS
        dataplane.add_port(PortSpec("vale0:a", front_end=rings, switch=switch, worker=worker))
        wait_until(lambda: [ring.sleeps > 0 for ring in read.rings()] == [True, False], "it sleeps")
    os.close(fd)


def test_a_port_that_breaks_says_why_until_it_is_repaired(path: Path) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    with DataPlane(fd) as dataplane, Counters(path) as read, dataplane.caller() as caller:
        spec = PortSpec("a", kind=Kind.NULL, front_end=FrontEndKind.RINGS)
        port = dataplane.add_port(spec)
        user = RingUser(dataplane, caller, port)
        assert [ring.broken for ring in read.rings()] == ["", ""]
        user.tx.head = user.tx.num_slots
        with pytest.raises(RingpassError):
            user.send()
        why = dataplane.port_status(port).broken
        assert why
        assert [ring.broken for ring in read.rings()] == [why, why]
        dataplane.repair_port(port)
        assert [ring.broken for ring in read.rings()] == ["", ""]
    os.close(fd)


def test_who_counts_and_when_it_was_heard_of_is_read(path: Path) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    before = time.monotonic_ns()
    with DataPlane(fd) as dataplane, Counters(path) as read:
        life = read.life()
        assert (life.pid, life.alive_ns) == (os.getpid(), 0)
        assert before <= life.started_ns <= time.monotonic_ns()
        dataplane.beat()
        assert life.started_ns <= read.life().alive_ns <= time.monotonic_ns()
    os.close(fd)


def test_without_a_file_no_daemon_runs(path: Path) -> None:
    with pytest.raises(DaemonUnreachable, match="no daemon"):
        Counters(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"x" * 10, "too short"),
        (bytes(4096), "no counters file"),
        (struct.pack("=QIIII", counters.MAGIC, 99, 0, 0, 0) + bytes(600), "version 99"),
        (
            counters.HEADER.pack(counters.MAGIC, counters.VERSION, 10, 1, 3, 512, 512)
            + bytes(1000),
            "shorter",
        ),
    ],
)
def test_a_file_that_is_something_else_is_refused(path: Path, content: bytes, why: str) -> None:
    path.write_bytes(content)
    with pytest.raises(RingpassError) as caught:
        Counters(path)
    assert why in caught.value.why
