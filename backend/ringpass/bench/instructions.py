# SPDX-License-Identifier: BSD-2-Clause
"""`bench instructions`: what a frame costs in instructions, part by part, as callgrind counts them.

The one figure that does not depend on the weather: it repeats exactly. The loops of one core run
the data plane in one thread, under valgrind; callgrind writes what each function took when a loop
ends. A part is some functions with all that they call. Beside a figure stands its bound, a tenth
above what was counted when it was set: who makes a part cheaper lowers its bound.

What `ns` is of a row here: instructions a frame; `ref_ns` is the bound.
"""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ringpass.bench import switch, vhost
from ringpass.bench.machine import one_cpu
from ringpass.bench.measure import Options
from ringpass.bench.report import Goal, Row, row
from ringpass.dataplane.loops import Loop
from ringpass.errors import RingpassError

SIZE = 60
FRAMES = 20_000
BATCHES = (1, 256)
#: The functions of csrc/bench that are such a loop: callgrind counts inside them only.
LOOPS = ("port_one", "vhost_one")
#: Longer than any run under valgrind takes.
PATIENCE_S = 600


class Part(NamedTuple):
    """Functions of the data plane, with all that they call but for `without`."""

    name: str
    run: str
    """Which kind of path the frames take; see `count`."""
    functions: Sequence[str]
    without: Sequence[str] = ()

    def of(self, costs: Mapping[str, int]) -> int:
        """Return the instructions of this part, from those of each function."""
        return sum(costs[name] for name in self.functions) - sum(
            costs[name] for name in self.without
        )


#: The verbs by which the switch reaches a ring: what they take is the ring's.
RINGS_TX, RINGS_RX = ("rp_rings_pull", "rings_complete"), ("rp_rings_lease", "rings_publish")
VHOST_TX, VHOST_RX = ("vhost_pull", "vhost_complete"), ("vhost_lease", "vhost_publish")

PARTS = (
    Part("switch", "netmap", ["vale_txsync"], [*RINGS_TX, *RINGS_RX]),
    Part("netmap-tx", "netmap", RINGS_TX),
    Part("netmap-rx", "netmap", [*RINGS_RX, "rings_rxsync"]),
    Part(
        "netmap-sync",
        "netmap",
        ["rp_port_txsync", "rp_port_rxsync"],
        ["vale_txsync", "rings_rxsync"],
    ),
    Part("vhost-split-tx", "split", VHOST_TX),
    Part("vhost-split-rx", "split", VHOST_RX),
    Part("vhost-packed-tx", "packed", VHOST_TX),
    Part("vhost-packed-rx", "packed", VHOST_RX),
)

#: Instructions a frame by part, for each of BATCHES.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "switch": (499, 62),
    "netmap-tx": (250, 33),
    "netmap-rx": (320, 47),
    "netmap-sync": (139, 0.54),
    "vhost-split-tx": (869, 202),
    "vhost-split-rx": (486, 205),
    "vhost-packed-tx": (852, 239),
    "vhost-packed-rx": (552, 240),
}

Talk = Callable[[str], None]


def measure(options: Options, talk: Talk) -> list[Row]:
    """Count the instructions of every wanted part; `options.runs` and `.seconds` mean nothing.

    Raises RingpassError if valgrind is missing or fails.
    """
    wanted = [
        (part, batch)
        for part in PARTS
        for batch in BATCHES
        if options.want(case_name(part.name, batch), SIZE, 1)
    ]
    if not wanted:
        return []
    talk("counting under valgrind, which takes some seconds")
    counted = count()
    return [part_row(part, batch, counted[part.run, batch]) for part, batch in wanted]


def case_name(part: str, batch: int) -> str:
    """Return the name of the case of a part with batches of so many frames."""
    return f"{part}/batch-{batch}"


class Counted(NamedTuple):
    """What callgrind saw of one loop: instructions by function, with all that each called."""

    frames: int
    costs: Mapping[str, int]


def part_row(part: Part, batch: int, counted: Counted) -> Row:
    """Return the row of a part."""
    bound = BOUNDS[part.name][BATCHES.index(batch)]
    return row(
        case_name(part.name, batch),
        SIZE,
        [part.of(counted.costs) / counted.frames],
        ref="bound",
        ref_samples=[bound],
        goal=Goal(f"at most {bound} instructions", 1.0),
        threads={"sender, switch, receiver": f"{one_cpu()}"},
        via="rings-vale" if part.run == "netmap" else "vhost-vale",
        label="native",
        metric="instructions",
    )


def count() -> dict[tuple[str, int], Counted]:
    """Run every loop under valgrind; return what was counted, by kind of path and batch."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise RingpassError(
            "cannot count instructions", "valgrind is not installed", "apt install valgrind"
        )
    with TemporaryDirectory() as directory:
        argv = [valgrind, "--tool=callgrind", f"--callgrind-out-file={directory}/out"]
        argv += ["--compress-strings=no", "--compress-pos=no"]
        argv += [f"--{what}={loop}" for loop in LOOPS for what in ("toggle-collect", "dump-after")]
        done = subprocess.run(
            [*argv, sys.executable, "-m", __spec__.name],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if done.returncode != 0:
            raise RingpassError("cannot count instructions", f"valgrind failed:\n{done.stderr}")
        runs = json.loads(done.stdout)
        # One dump a loop, in the order in which they ran.
        dumps = [Path(directory, f"out.{number}").read_text() for number in range(1, len(runs) + 1)]
    return {
        (kind, batch): Counted(frames, costs(dump))
        for (kind, batch, frames), dump in zip(runs, dumps, strict=True)
    }


def costs(dump: str) -> Counter[str]:
    """Return what each function of a callgrind dump took, with all that it called."""
    found: Counter[str] = Counter()
    function = ""
    for line in dump.splitlines():
        if line.startswith("fn="):
            function = line.removeprefix("fn=")
        elif line[:1].isdigit():  # a line's own cost, or after `calls=` that of the called
            found[function] += int(line.split()[1])
    return found


def run_all() -> None:
    """Run every loop once, for valgrind to watch; print kind, batch and frames of each."""
    cpu = one_cpu()
    runs = []
    with switch.path() as rings:
        for batch in BATCHES:
            done = rings.run(
                Loop.PORT_ONE,
                size=SIZE,
                batch=batch,
                seconds=PATIENCE_S,
                cpus=(cpu, cpu),
                frames=FRAMES,
            )
            runs.append(("netmap", batch, done.frames))
    for kind in ("split", "packed"):
        with vhost.path(vhost.FORMATS[kind].features) as drivers:
            for batch in BATCHES:
                done = drivers.run(
                    size=SIZE, batch=batch, seconds=PATIENCE_S, cpu=cpu, frames=FRAMES
                )
                runs.append((kind, batch, done.frames))
    sys.stdout.write(json.dumps(runs))


if __name__ == "__main__":
    run_all()
