# SPDX-License-Identifier: BSD-2-Clause
"""The counters file, read by any process that may open it, without asking the daemon.

The layout is `struct rp_counters` of the ABI header, written out here once more so that a reader
needs no compiled code; a test holds the two together. Each number is read at some instant between
the beginning and the end of the call; numbers of one record need not be of the same instant.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ringpass.errors import DaemonUnreachable, RingpassError

FILE_NAME = "counters"

MAGIC = int.from_bytes(b"rpcountr", "little")
VERSION = 3

#: magic, version, ring_records, worker_records, reasons, rings_offset, workers_offset
HEADER = struct.Struct("=QIIIIQQ")
REASON_NAMES_OFFSET = HEADER.size
REASON_NAME_BYTES = 16
#: pid, pid_ns, started_ns, alive_ns
LIFE = struct.Struct("=4Q")
LIFE_OFFSET = 360
#: port, active, dir, ring, broken, then from byte 256 on the numbers, then the drops by reason
RING = struct.Struct("=64sIHH184s11Q8x20Q")
RING_ACTIVE = struct.Struct("=64xI")
#: active, policy, cpu, tid, loops, busy, sleeps, wakes
WORKER = struct.Struct("=IIii4Q80x")

DIRECTION_TX = 1


@dataclass(frozen=True, slots=True)
class RingCounters:
    """One ring of a port, since the port was made. tx: from the front end; rx: to it."""

    port: str
    tx: bool
    ring: int
    broken: str
    """Why the port is broken; empty: it is not."""
    frames: int
    bytes: int
    """Of Ethernet frames, without virtio-net headers."""
    batches: int
    kicks: int
    """Notifications from the front end."""
    calls: int
    """Notifications to the front end."""
    copied: int
    """Bytes of payload that were copied for this ring."""
    holds: int
    """Times that a sender was held back because this ring was full."""
    checksums: int
    """Checksums completed in software, for receivers that do not complete them."""
    segments: int
    """Frames made in software of longer ones, for receivers that do not take these."""
    sleeps: int
    """Times that its worker slept until a kick, with this ring to watch."""
    truncated: int
    """Frames of which a monitor shows only the beginning."""
    drops: dict[str, int]
    """Frames that were not delivered, by reason; reasons that never came up are left out."""


@dataclass(frozen=True, slots=True)
class WorkerCounters:
    """One worker since it was started."""

    worker: int
    policy: int
    """As in `ringpass.dataplane.Policy`."""
    cpu: int
    """-1: any."""
    tid: int
    loops: int
    busy: int
    """Loops that moved a frame."""
    sleeps: int
    wakes: int


@dataclass(frozen=True, slots=True)
class Life:
    """Whose the counters are. Times are of the clock `time.monotonic_ns`."""

    pid: int
    pid_ns: int
    """The PID namespace that `pid` is of, by inode; 0: unknown."""
    started_ns: int
    alive_ns: int
    """The last sign of life of the control plane; 0: it gives none."""


class Counters:
    """The counters file of a daemon, mapped read-only. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Raises DaemonUnreachable without a file, RingpassError for one that is something else."""
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except FileNotFoundError as error:
            raise DaemonUnreachable(
                f"there are no counters at {path}", "no daemon runs there", "ringpass up FILE.toml"
            ) from error
        except (OSError, ValueError) as error:
            raise RingpassError(f"cannot read the counters at {path}", str(error)) from error
        try:
            self._check(path)
        except RingpassError:
            self._map.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()

    def life(self) -> Life:
        """Return who counts, and when it was heard of last."""
        return Life(*LIFE.unpack_from(self._map, LIFE_OFFSET))

    def rings(self) -> list[RingCounters]:
        """Return the counters of every ring that a port uses now."""
        records = (self.ring(record) for record in range(self._ring_records))
        return [ring for ring in records if ring is not None]

    def ring(self, record: int) -> RingCounters | None:
        """Return ring record `record`, or None if no port uses it."""
        offset = self._rings_offset + record * RING.size
        if RING_ACTIVE.unpack_from(self._map, offset) == (0,):
            return None
        port, active, direction, ring, broken, *numbers = RING.unpack_from(self._map, offset)
        if not active:
            return None
        frames, size, batches, kicks, calls, copied, holds, checksums, segments = numbers[:9]
        sleeps, truncated, *drops = numbers[9:]
        return RingCounters(
            port=_text(port),
            tx=direction == DIRECTION_TX,
            ring=ring,
            broken=_text(broken),
            frames=frames,
            bytes=size,
            batches=batches,
            kicks=kicks,
            calls=calls,
            copied=copied,
            holds=holds,
            checksums=checksums,
            segments=segments,
            sleeps=sleeps,
            truncated=truncated,
            drops={name: n for name, n in zip(self.reasons, drops, strict=False) if n},
        )

    def workers(self) -> list[WorkerCounters]:
        """Return the counters of every worker that runs now."""
        found = []
        for number in range(self._worker_records):
            offset = self._workers_offset + number * WORKER.size
            active, *fields = WORKER.unpack_from(self._map, offset)
            if active:
                found.append(WorkerCounters(number, *fields))
        return found

    def _check(self, path: Path) -> None:
        what, fix = f"cannot read the counters at {path}", "use the ringpass of the daemon"
        if len(self._map) < HEADER.size:
            raise RingpassError(what, "the file is too short")
        magic, version, rings, workers, reasons, rings_offset, workers_offset = HEADER.unpack_from(
            self._map
        )
        if magic != MAGIC:
            raise RingpassError(what, "it is no counters file")
        if version != VERSION:
            raise RingpassError(what, f"it has version {version}, not {VERSION}", fix)
        ends = rings_offset + rings * RING.size, workers_offset + workers * WORKER.size
        if max(ends) > len(self._map):
            raise RingpassError(what, "the file is shorter than it says")
        self._ring_records, self._rings_offset = rings, rings_offset
        self._worker_records, self._workers_offset = workers, workers_offset
        offsets = (REASON_NAMES_OFFSET + REASON_NAME_BYTES * i for i in range(reasons))
        self.reasons = [_text(self._map[at : at + REASON_NAME_BYTES]) for at in offsets]


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(errors="replace")
