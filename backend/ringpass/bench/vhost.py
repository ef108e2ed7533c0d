# SPDX-License-Identifier: BSD-2-Clause
"""`bench vhost`: from one front end's virtqueue through a VALE switch into another's.

    vhost/...  one core: two drivers in C (csrc/bench) and an embedded backend, all in one thread.
               Reference: testpmd, its two virtio-user ports connected through its two vhost ports.

                  driver ==> driver            virtio-user ==> vhost --> vhost ==> virtio-user

    ovs/...    two cores: testpmd with two virtio-user ports on one, a daemon's worker on the other.
               Reference: the same testpmd, connected to a learning switch of Open vSwitch.

                  virtio-user ==> virtio-user            virtio-user ==> OVS ==> virtio-user

Each `==>` is a copy. The frames of testpmd go in circles, in both directions: each time that one
reaches a virtio-user port is counted. Its payload is touched by nobody; our drivers write and
check what our frames begin with.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import NamedTuple

from ringpass.bench.machine import one_cpu, paused, prefer, two_cpus
from ringpass.bench.measure import Options, in_turn
from ringpass.bench.ovs import Ovs
from ringpass.bench.report import Goal, Row, row
from ringpass.bench.testbed import Testbed
from ringpass.bench.testpmd import BURST, Testpmd, virtio_user
from ringpass.bench.workplace import NotInstalled, Workplace
from ringpass.dataplane import DataPlane, FrontEndKind, PortSpec
from ringpass.dataplane.loops import VhostLoops

VIRTIO_RING_F_INDIRECT_DESC = 1 << 28
VIRTIO_F_RING_PACKED = 1 << 34
VIRTIO_F_IN_ORDER = 1 << 35


class Format(NamedTuple):
    """The kind of virtqueue that drivers agree to."""

    name: str
    packed: bool
    in_order: bool

    @property
    def features(self) -> int:
        """The mask of virtio features, beside those that every driver needs."""
        return (
            VIRTIO_RING_F_INDIRECT_DESC
            | (VIRTIO_F_RING_PACKED if self.packed else 0)
            | (VIRTIO_F_IN_ORDER if self.in_order else 0)
        )


FORMATS = {
    form.name: form
    for form in (
        Format("split", packed=False, in_order=False),
        Format("packed", packed=True, in_order=False),
        Format("split-in-order", packed=False, in_order=True),
        Format("packed-in-order", packed=True, in_order=True),
    )
}

SIZES = (60, 1500)
SLOTS = 256
BATCH = BURST

ONE_CORE_GOAL = Goal("at most 0.6 times DPDK's way", 0.6)
TWO_CORES_GOAL = Goal("at least 1.5 times the frames/s of Open vSwitch", 1 / 1.5)

#: The worker has a core for itself and never sleeps, as Open vSwitch's thread.
CONFIG = """\
[daemon]
workers = [{{ cpu = {cpu}, policy = "busy" }}]

[switch.vale0]

[port."vale0:p0"]

[port."vale0:p1"]
"""
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")

Talk = Callable[[str], None]


def measure(options: Options, talk: Talk) -> list[Row]:
    """Measure all wanted cases; `talk` is told which one is running.

    Cases whose reference is not installed are left out, which `talk` is told, too. Raises
    RingpassError if that leaves none.
    """
    rows: list[Row] = []
    missing: list[NotInstalled] = []
    for kind, cores, measure_formats in (("vhost", 1, one_core), ("ovs", 2, two_cores)):
        for form in FORMATS.values():
            name = f"{kind}/{form.name}"
            sizes = [size for size in SIZES if options.want(name, size, cores)]
            if not sizes:
                continue
            talk(f"{name}, {', '.join(map(str, sizes))} bytes, {cores} core{'s' * (cores > 1)}")
            try:
                rows += measure_formats(name, form, sizes, options)
            except NotInstalled as error:
                talk(f"note: {name} is left out\n{error}")
                missing.append(error)
    if missing and not rows:
        raise missing[0]
    return rows


def one_core(name: str, form: Format, sizes: Sequence[int], options: Options) -> list[Row]:
    """Measure drivers and switch in one thread, beside DPDK's vhost and virtio-user on its core."""
    cpu = one_cpu()
    with Workplace("bench-vhost") as place, path(form.features) as loops:
        sockets = [place.directory / f"vhost{number}" for number in (0, 1)]
        testpmd = Testpmd(
            place,
            "testpmd",
            cpu=cpu,
            devices=[f"net_vhost{n},iface={socket},queues=1" for n, socket in enumerate(sockets)],
            later=[
                virtio_user(n, socket, packed=form.packed, in_order=form.in_order)
                for n, socket in enumerate(sockets)
            ],
        )
        with testpmd:
            return [one_core_row(name, size, loops, testpmd, cpu, options) for size in sizes]


def one_core_row(
    name: str, size: int, loops: VhostLoops, testpmd: Testpmd, cpu: int, options: Options
) -> Row:
    """Return the row of a case of one core."""
    lost = 0

    def ours() -> float:
        nonlocal lost
        result = loops.run(size=size, batch=BATCH, seconds=options.seconds, cpu=cpu)
        lost += result.lost
        return result.ns / result.frames

    def reference() -> float:
        return 1e9 / testpmd.forward(size, options.seconds, ports=(2, 3))

    samples, ref_samples = in_turn(options.runs, ours, reference)
    return row(
        name,
        size,
        samples,
        ref="testpmd: virtio-user, vhost, vhost, virtio-user",
        ref_samples=ref_samples,
        goal=ONE_CORE_GOAL,
        threads={"sender, switch, receiver": f"{cpu}"},
        via="vhost-vale",
        label="native",
        lost=lost,
    )


def two_cores(name: str, form: Format, sizes: Sequence[int], options: Options) -> list[Row]:
    """Measure a daemon's switch between two virtio-user ports, beside Open vSwitch."""
    first, second = two_cpus()
    with Testbed("bench-vhost", CONFIG.format(cpu=second)) as bed, ExitStack() as stack:
        prefer(bed.daemon_pid)
        known = {port.name: port.path for port in bed.status().ports}

        def circle(switch: str, sockets: Sequence[object]) -> Testpmd:
            devices = [
                virtio_user(n, socket, packed=form.packed, in_order=form.in_order, mac=mac)
                for n, (socket, mac) in enumerate(zip(sockets, MACS, strict=True))
            ]
            peers = [f"--eth-peer={n},{mac}" for n, mac in enumerate(reversed(MACS))]
            return stack.enter_context(
                Testpmd(bed.place, switch, cpu=first, devices=devices, arguments=peers)
            )

        ovs = stack.enter_context(Ovs(bed.place, ("p0", "p1"), cpu=second, other_cpu=first))
        ours = circle("testpmd", [known["vale0:p0"], known["vale0:p1"]])
        with paused(bed.daemon_pid), ovs.awake():
            theirs = circle("testpmd-ovs", [ovs.socket("p0"), ovs.socket("p1")])
        return [two_cores_row(name, size, bed, ours, ovs, theirs, options) for size in sizes]


def two_cores_row(
    name: str, size: int, bed: Testbed, ours: Testpmd, ovs: Ovs, theirs: Testpmd, options: Options
) -> Row:
    """Return the row of a case of two cores."""
    first, second = two_cpus()

    def through_ovs() -> float:
        with paused(bed.daemon_pid), ovs.awake():
            return 1e9 / theirs.forward(size, options.seconds, ports=(0, 1))

    before = bed.usage()
    samples, ref_samples = in_turn(
        options.runs,
        lambda: 1e9 / ours.forward(size, options.seconds, ports=(0, 1)),
        through_ovs,
    )
    return row(
        name,
        size,
        samples,
        ref="Open vSwitch with DPDK",
        ref_samples=ref_samples,
        goal=TWO_CORES_GOAL,
        threads={"testpmd": f"{first}", "switch": f"{second}"},
        via="vhost-vale",
        label="native",
        drops={reason: n for reason, n in (bed.usage() - before).drops.items() if n},
    )


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
    with path(FORMATS[chosen.format].features) as loops:
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
