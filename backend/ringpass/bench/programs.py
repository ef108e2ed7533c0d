# SPDX-License-Identifier: BSD-2-Clause
"""Programs of the host that use a daemon's ports, for as long as a measurement takes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from ringpass.bench.testbed import Testbed
from ringpass.bench.tools import IDLE_S
from ringpass.bench.traffic import SLACK_S, Flooded, Sunk
from ringpass.errors import RingpassError

_RINGPASS = ["-c", "from ringpass.cli.main import main; main()"]


@contextmanager
def python(arguments: Sequence[str], runtime: Path) -> Iterator[subprocess.Popen[str]]:
    """Run Python beside the daemon in `runtime`, and end it with the block."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "RINGPASS_RUNTIME_DIR": str(runtime)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_open(port: str, process: subprocess.Popen[str], bed: Testbed) -> None:
    """Wait until somebody has opened `port`; raise RingpassError if `process` ends before."""
    while not any(found.name == port and found.users for found in bed.status().ports):
        if process.poll() is not None:
            said(process, SLACK_S)
            raise RingpassError(f"a program of this bench left port {port}", "it ended by itself")
        time.sleep(0.05)


def flood(port: str, runtime: Path, *, size: int, seconds: float) -> Flooded:
    """Send frames of `size` bytes through `port` for `seconds`."""
    options = ["--size", f"{size}", "--seconds", f"{seconds:g}", port]
    with python(["-m", "ringport.examples.flood", *options], runtime) as process:
        return msgspec.json.decode(said(process, seconds + SLACK_S), type=Flooded)


class Counting:
    """Counts what floods `port`, from when it is entered on. A context manager.

    Switches are told that `mac` is there, if it is not empty.
    """

    def __init__(self, port: str, runtime: Path, mac: str = "") -> None:
        known = ["--announce", "--src", mac] if mac else []
        options = [*known, "--idle", f"{IDLE_S}", "--receive", port]
        self._run = python(["-m", "ringport.examples.flood", *options], runtime)

    def __enter__(self) -> Self:
        self._process = self._run.__enter__()
        assert self._process.stderr is not None
        self._process.stderr.readline()  # it says that it counts, or why it does not
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run.__exit__(kind, error, trace)

    def result(self) -> Sunk:
        """Return what it has counted, when the flood is over."""
        return msgspec.json.decode(said(self._process, SLACK_S), type=Sunk)


def said(process: subprocess.Popen[str], timeout: float) -> str:
    """Return what `process` says until it ends. Raises RingpassError if it fails."""
    out, errors = process.communicate(timeout=timeout)
    if process.returncode != 0:
        raise RingpassError("a program of this bench failed", errors.strip() or "it says nothing")
    return out


def round_trips(source: str, sink: str, runtime: Path, count: int) -> list[float]:
    """Return how long `count` frames took from the port `source` to `sink` and back, in us.

    Raises RingpassError if one is lost.
    """
    pong = [*_RINGPASS, "pktgen", "-f", "pong", "-i", sink]
    ping = ["-m", "ringpass.bench.roundtrips", source, f"{count}"]
    with python(pong, runtime), python(ping, runtime) as process:
        times = msgspec.json.decode(said(process, SLACK_S), type=list[float])
    if len(times) < count:
        raise RingpassError(
            f"frames from {source} to {sink} and back were lost",
            f"{len(times)} of {count} returned",
        )
    return times
