# SPDX-License-Identifier: BSD-2-Clause
"""`bench control`: how long a daemon that has much to tell takes to tell it.

A daemon of our own with 200 ports, a quarter of them passed through, follows a libvirt with 50
domains that run, each on one of these ports. That is libvirt's test driver: it keeps domains as
the real one does, and has no QEMU behind them. `status` is called on a connection that is there,
beside `ping`, which does nothing; and as a command, beside one that only says its version.

With a running domain of a real libvirt (`--connect`, `--domain`) a port is attached to it, too.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ringpass.bench.calls import a_row, took
from ringpass.bench.measure import Options, in_turn
from ringpass.bench.report import NO_GOAL, Goal, Row
from ringpass.bench.testbed import Testbed
from ringpass.bench.workplace import PATIENCE_S, Workplace
from ringpass.client import Client
from ringpass.errors import RingpassError

PLACE = "bench-control"
PORTS, PASSED_THROUGH, DOMAINS = 200, 50, 50

VIA = f"{PORTS} ports, {DOMAINS} domains of libvirt's test driver"

GOAL = Goal("100 ms", limit_ns=100e6)

DOMAIN = """
<domain type='test'>
  <name>vm{number}</name>
  <memory unit='MiB'>64</memory>
  <os><type>hvm</type></os>
  <devices>
    <interface type='vhostuser'>
      <source type='unix' path='{socket}' mode='client'/>
      <model type='virtio'/>
    </interface>
  </devices>
</domain>
"""

Talk = Callable[[str], None]


def measure(options: Options, talk: Talk) -> list[Row]:
    """Measure every wanted case; `options.seconds` mean nothing. Raises RingpassError."""
    talk(f"starting a daemon of {PORTS} ports, {DOMAINS} of them with domains (test driver)")
    asked = [case for case in ("status/rpc", "status/command") if options.want(case, 0, 1)]
    with daemon() as testbed:
        rows = [_measured(case, testbed, options.runs, talk) for case in asked]
        if options.domain:
            # Only here: the library takes a while to load.
            from ringpass.bench import domains as attaching

            rows += attaching.measure(options, testbed, f"vale0:vm{PORTS - 1}", VIA, talk)
        return rows


@contextmanager
def daemon() -> Iterator[Testbed]:
    """Yield a daemon with all ports that knows of all domains. Raises RingpassError."""
    with TemporaryDirectory(prefix="rp-") as directory:
        node = Path(directory) / "node.xml"
        node.write_text(domains(Workplace(PLACE).directory), encoding="utf-8")
        with Testbed(PLACE, configuration(f"test://{node}")) as testbed:
            _wait_for_domains(testbed)
            yield testbed


def configuration(uri: str) -> str:
    """Return the configuration of a daemon that follows the libvirt at `uri`."""
    lines = [
        "[daemon]",
        "workers = 1",
        'socket_mode = "0666"',
        "[libvirt]",
        f'connect = "{uri}"',
        "[switch.vale0]",
    ]
    for number in range(PORTS):
        lines.append(f'[port."vale0:vm{number}"]')
        if number >= PORTS - PASSED_THROUGH:
            lines.append('kind = "passthrough"')
    return "\n".join(lines) + "\n"


def domains(directory: Path) -> str:
    """Return what libvirt's test driver begins with: domains on ports of a daemon there."""
    sockets = [directory / f"vale0.vm{number}.sock" for number in range(DOMAINS)]
    found = [DOMAIN.format(number=n, socket=socket) for n, socket in enumerate(sockets)]
    return f"<node>{''.join(found)}</node>"


def _wait_for_domains(testbed: Testbed) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (known := testbed.status().libvirt) is None or known.domains < DOMAINS:
        if time.monotonic() > deadline:
            raise RingpassError(
                "the daemon does not know its domains",
                f"of libvirt it says {known}",
                "pip install libvirt-python for the Python of ringpass",
            )
        time.sleep(0.05)


def _measured(case: str, testbed: Testbed, runs: int, talk: Talk) -> Row:
    talk(f"{case}: {runs} times")
    if case == "status/rpc":
        return a_row(
            case,
            in_turn(runs, _timed(testbed.client, "status"), _timed(testbed.client, "ping")),
            ref="ping, which answers nothing",
            goal=GOAL,
            via=VIA,
        )
    # A process takes a thousand times what a call does.
    status, version = (_command(testbed.directory, word) for word in ("status", "--version"))
    return a_row(
        case,
        in_turn(max(1, runs // 10), status, version),
        ref="ringpass --version",
        goal=NO_GOAL,
        via=VIA,
    )


def _timed(client: Client, method: str) -> Callable[[], float]:
    return lambda: took(lambda: client.call(method))


def _command(directory: Path, word: str) -> Callable[[], float]:
    main = "from ringpass.cli.main import main; main()"
    argv = [sys.executable, "-c", main, "--runtime-dir", str(directory), word]

    def run() -> None:
        try:
            subprocess.run(argv, check=True, capture_output=True, timeout=PATIENCE_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise RingpassError(f"cannot run ringpass {word}", str(error)) from None

    return lambda: took(run)
