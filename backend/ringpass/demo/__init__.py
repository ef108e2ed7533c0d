# SPDX-License-Identifier: BSD-2-Clause
"""The main job, to be seen: two real guests exchange packets through a VALE switch."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ringpass.bench import traffic
from ringpass.bench.machine import describe_machine
from ringpass.bench.testbed import Testbed
from ringpass.demo.result import Result, Rtt, Step, step
from ringpass.image import Image, ensure
from ringpass.vm.guest import Guest

CONFIG = """\
[daemon]
workers = 1

[switch.vale0]

[port."vale0:vm1"]

[port."vale0:vm2"]
"""

#: Name of the guest -> its address; the port of each is vale0:NAME.
ADDRESSES = {"vm1": "10.0.0.1", "vm2": "10.0.0.2"}

PINGS = 200
TCP_S = 3.0
FLOOD_S = 3.0
SIZES = (60, 1514)

Talk = Callable[[str], None]


def run(talk: Talk, keep_logs: Path | None = None) -> Result:
    """Boot, measure, clean up; tell by `talk` what is going on.

    The daemon's log and the consoles of the guests go to `keep_logs`, also after a failure.
    Raises RingpassError.
    """
    begun = time.monotonic()
    image = ensure(progress=_once(talk))
    with Testbed("demo", CONFIG) as bed:
        try:
            talk("starting the backend: switch vale0 with ports vale0:vm1 and vale0:vm2")
            vm1, vm2 = boot(bed, image, talk)
            rtts, ping_step = ping(bed, vm1, talk)
            steps = [ping_step, *tcp(bed, vm1, vm2, talk), *floods(bed, vm1, vm2, talk)]
        finally:
            if keep_logs is not None:
                bed.save_logs(keep_logs)
        talk("removing everything")
    return Result(
        label="tcg",
        machine=describe_machine(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - begun, 1),
        steps=steps,
        rtts_us=rtts,
    )


def boot(bed: Testbed, image: Image, talk: Talk) -> tuple[Guest, Guest]:
    """Boot both guests at the same time."""
    talk("booting two QEMU guests (TCG), each with a virtio-net card on its port")
    vm1, vm2 = (
        bed.qemu(image, name, {f"vale0:{name}": f"{address}/24"})
        for name, address in ADDRESSES.items()
    )
    bed.boot([vm1, vm2])
    return vm1, vm2


def ping(bed: Testbed, vm1: Guest, talk: Talk) -> tuple[list[float], Step]:
    """Ping; return every round trip time, too."""
    talk(f"{PINGS} pings from vm1 to vm2")
    before = bed.usage()
    rtts = traffic.ping(vm1, ADDRESSES["vm2"], PINGS)
    usage = bed.usage() - before
    return rtts, step("ping", usage, rtt_us=Rtt.of(rtts))


def tcp(bed: Testbed, vm1: Guest, vm2: Guest, talk: Talk) -> list[Step]:
    """Transfer by TCP, both ways."""
    steps = []
    traffic.serve_tcp(vm2)
    for name, reverse in (("vm1 to vm2", False), ("vm2 to vm1", True)):
        talk(f"TCP, {name}, {TCP_S:.0f} s")
        before = bed.usage()
        done = traffic.tcp(vm1, ADDRESSES["vm2"], TCP_S, reverse=reverse)
        usage = bed.usage() - before
        steps.append(step(f"TCP {name}", usage, gbps=done.gbps, retransmits=done.retransmits))
    return steps


def floods(bed: Testbed, vm1: Guest, vm2: Guest, talk: Talk) -> list[Step]:
    """Flood with small frames and with full ones; the receiver counts and drops in its driver."""
    steps = []
    for size in SIZES:
        talk(f"flood of {size}-byte frames from vm1 to vm2, {FLOOD_S:.0f} s")
        before = bed.usage()
        done = traffic.flood(vm1, vm2, size=size, seconds=FLOOD_S)
        usage = bed.usage() - before
        steps.append(
            step(
                f"flood {size} B",
                usage,
                frames_per_s=done.pps,
                gbps=done.pps * size * 8 / 1e9,
                offered_per_s=done.sent_pps,
            )
        )
    return steps


def _once(talk: Talk) -> Callable[[str, float], None]:
    """Return a progress callback of the image builder that tells each thing once."""
    said = ""

    def progress(text: str, fraction: float) -> None:
        nonlocal said
        if text != said:
            said = text
            talk(f"guest image: {text} ({fraction:.0%})")

    return progress
