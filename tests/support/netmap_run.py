# SPDX-License-Identifier: BSD-2-Clause
"""Programs that use /dev/netmap, compiled from tests/netmap/programs and run as users run them."""

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.support.cbuild import ROOT, run
from tests.support.daemon import RINGPASS
from tests.support.netmap_programs import INCLUDE
from tests.support.networks import Network
from tests.support.wait import PATIENCE_S

PROGRAMS = ROOT / "tests" / "netmap" / "programs"


def compiled(stem: str, place: Path) -> Path:
    """Return tests/netmap/programs/STEM.c, compiled into `place` with the headers for programs."""
    check = ROOT / "csrc" / "tests"
    path = place / stem
    source = PROGRAMS / f"{stem}.c"
    harness = [] if stem == "frames" else [check / "check.c"]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
    run(["cc", *flags, f"-I{INCLUDE}", f"-I{check}", source, *harness, "-o", path])
    return path


def served(*command: str | Path) -> list[str | Path]:
    """Return the command that runs a program on the backend's /dev/netmap."""
    return [RINGPASS, "netmap", "--verbose", "--", *command]


@contextmanager
def running(
    command: Sequence[str | Path], says: str, net: Network | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a program until the block ends; enter it when its standard error has a line with `says`.

    Its input and output are pipes. In the namespace `net`, if there is one.
    """
    start = subprocess.Popen if net is None else lambda *a, **k: net.do(subprocess.Popen, *a, **k)
    process = start(
        ["timeout", "120", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        _wait_for(process.stderr, says)
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _wait_for(stderr: IO[str], says: str) -> None:
    heard = []
    for line in stderr:
        heard.append(line)
        if says in line:
            return
    raise AssertionError(f"the program ended: {''.join(heard)}")


def send(process: subprocess.Popen[str], frames: Iterable[bytes]) -> None:
    """Let `frames send` send these."""
    assert process.stdin is not None
    process.stdin.write("".join(f"{frame.hex()}\n" for frame in frames))
    process.stdin.flush()


def received(process: subprocess.Popen[str], count: int) -> list[bytes]:
    """Return what `frames receive` printed."""
    assert process.stdout is not None
    return [bytes.fromhex(process.stdout.readline()) for _ in range(count)]
