# SPDX-License-Identifier: BSD-2-Clause
"""Starts a guest, looks for one line on its console, and is gone before a deadline."""

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ringpass.vm.launch import script


@dataclass(frozen=True)
class Outcome:
    """Whether the line came, in how many seconds, and what was printed until then."""

    seen: bool
    ended: bool
    seconds: float
    output: str

    @property
    def last_line(self) -> str:
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else ""


def probe(
    argv: list[str], line: str, deadline: float, environment: Mapping[str, str] | None = None
) -> Outcome:
    """Run `argv` until it prints `line`, ends, or `deadline` seconds have passed; then end it."""
    start = time.monotonic()
    output = b""
    seen = ended = False
    with tempfile.TemporaryDirectory(prefix="rp-") as directory:
        options = ["--pid-file", str(Path(directory) / "pid"), "--parent", str(os.getpid())]
        with subprocess.Popen(
            [*script("reaper.py"), *options, "--", *argv],
            env=dict(environment) if environment is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdout is not None
            while not (seen or ended) and time.monotonic() < start + deadline:
                readable, _, _ = select.select([process.stdout], [], [], 0.1)
                if readable:
                    data = os.read(process.stdout.fileno(), 65536)
                    output += data
                    ended = not data
                seen = line.encode() in output
            process.terminate()
    seconds = time.monotonic() - start
    return Outcome(seen, ended, seconds, output.decode(errors="replace"))
