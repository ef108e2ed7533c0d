# SPDX-License-Identifier: BSD-2-Clause
"""`bench vhost`: from one front end's virtqueue through a VALE switch into another's.

On one core the backend is embedded, the drivers are C (csrc/bench), and one thread does it all.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

from ringpass.bench.machine import one_cpu
from ringpass.dataplane import DataPlane, FrontEndKind, PortSpec
from ringpass.dataplane.loops import VhostLoops

VIRTIO_RING_F_INDIRECT_DESC = 1 << 28
VIRTIO_F_RING_PACKED = 1 << 34
VIRTIO_F_IN_ORDER = 1 << 35

#: What drivers agree to, by the kind of their virtqueues; the rest is what all of them need.
FORMATS = {
    "split": VIRTIO_RING_F_INDIRECT_DESC,
    "packed": VIRTIO_RING_F_INDIRECT_DESC | VIRTIO_F_RING_PACKED,
    "split-in-order": VIRTIO_RING_F_INDIRECT_DESC | VIRTIO_F_IN_ORDER,
    "packed-in-order": VIRTIO_RING_F_INDIRECT_DESC | VIRTIO_F_RING_PACKED | VIRTIO_F_IN_ORDER,
}

SLOTS = 256
BATCH = 32


@contextmanager
def path(features: int) -> Iterator[VhostLoops]:
    """Yield the path between two drivers that agree to `features`, on an embedded backend."""
    with TemporaryFile() as counters, DataPlane(counters.fileno()) as dataplane:
        switch = dataplane.add_switch("vale0", ageing_s=0)
        sender, receiver = (
            dataplane.add_port(PortSpec(name, front_end=FrontEndKind.VHOST, switch=switch))
            for name in ("vale0:sender", "vale0:receiver")
        )
        with VhostLoops(dataplane, sender, receiver, features=features, slots=SLOTS) as loops:
            yield loops


def profile(argv: list[str]) -> None:
    """Run the loop of one core alone, a fixed number of times: for callgrind and perf.

    `valgrind --tool=callgrind python -m ringpass.bench.vhost --frames 100000`
    """
    parser = argparse.ArgumentParser(prog="python -m ringpass.bench.vhost")
    parser.add_argument("--format", choices=FORMATS, default="split")
    parser.add_argument("--frames", type=int, default=20_000_000)
    parser.add_argument("--size", type=int, default=60)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--cpu", type=int, default=one_cpu())
    chosen = parser.parse_args(argv)
    with path(FORMATS[chosen.format]) as loops:
        result = loops.run(
            size=chosen.size,
            batch=chosen.batch,
            seconds=86400,
            cpu=chosen.cpu,
            frames=chosen.frames,
        )
    sys.stdout.write(f"{result.frames} frames, {result.ns / result.frames:.2f} ns each\n")


if __name__ == "__main__":
    profile(sys.argv[1:])
