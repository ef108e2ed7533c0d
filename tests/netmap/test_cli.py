# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass netmap`: what it sets for the program, and what it prints."""

import os
import subprocess
from pathlib import Path

from tests.support.daemon import RINGPASS
from tests.support.wait import PATIENCE_S


def ringpass(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RINGPASS, "netmap", *args],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_the_headers_are_where_it_says() -> None:
    done = ringpass("--include-dir")
    assert (Path(done.stdout.strip()) / "net" / "netmap_user.h").is_file()


def test_a_program_gets_the_library_and_its_own_arguments(tmp_path: Path) -> None:
    script = 'echo "$LD_PRELOAD"; echo "$RINGPASS_RUNTIME_DIR"; echo "$@"; exit 7'
    done = ringpass(
        "--", "sh", "-c", script, "sh", "-x", "--verbose", RINGPASS_RUNTIME_DIR=str(tmp_path)
    )
    preload, runtime_dir, arguments = done.stdout.splitlines()
    assert done.returncode == 7
    assert Path(preload).name == "librp_netmap.so"
    assert Path(preload).is_file()
    assert runtime_dir == str(tmp_path)
    assert arguments == "-x --verbose"
    assert done.stderr == ""


def test_what_was_preloaded_stays(tmp_path: Path) -> None:
    script = 'echo "$LD_PRELOAD"'
    done = ringpass("sh", "-c", script, LD_PRELOAD="libm.so.6", RINGPASS_RUNTIME_DIR=str(tmp_path))
    assert done.stdout.strip().endswith("librp_netmap.so:libm.so.6")


def test_a_program_that_is_not_there_is_told() -> None:
    done = ringpass("--", "/nowhere/program")
    assert done.returncode == 4
    assert done.stderr.splitlines()[0] == "error: cannot run /nowhere/program"


def test_without_a_backend_there_is_no_device(tmp_path: Path) -> None:
    done = ringpass(
        "--verbose", "--", "sh", "-c", "exec 3</dev/netmap", RINGPASS_RUNTIME_DIR=str(tmp_path)
    )
    assert done.returncode != 0
    assert "no backend listens here: start one: `ringpass up FILE.toml`" in done.stderr
