# SPDX-License-Identifier: BSD-2-Clause
"""Runs the programs of a build."""

import os
import subprocess
from pathlib import Path

from ringpass.errors import RingpassError


def run(*argv: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a program of the build and return its output. Raises RingpassError with its stderr."""
    environment = {**os.environ, "LC_ALL": "C", **(env or {})}
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise RingpassError(
            "cannot build the guest image",
            f"{argv[0]} is not installed",
            "apt-get install build-essential lz4",
        ) from None
    if done.returncode != 0:
        raise RingpassError(
            f"cannot build the guest image: {Path(argv[0]).name} failed",
            done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}",
        )
    return done.stdout


def first_line(*argv: str) -> str:
    return run(*argv).partition("\n")[0]
