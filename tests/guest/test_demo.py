# SPDX-License-Identifier: BSD-2-Clause
"""The demo with its real guests: complete, again and again, and after it was killed."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.wait import PATIENCE_S

pytestmark = pytest.mark.guest

RINGPASS = str(Path(sys.executable).with_name("ringpass"))
PNG = b"\x89PNG\r\n\x1a\n"
STEPS = ["ping", "TCP vm1 to vm2", "TCP vm2 to vm1", "flood 60 B", "flood 1514 B"]


@contextmanager
def demo(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield a running demo that writes its files to `directory`; it is gone at the end."""
    process = subprocess.Popen(
        [RINGPASS, "demo", "--json", "--output", directory],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Read what the demo says up to a line with `text`."""
    assert process.stderr is not None
    said: list[str] = []
    while not said or text not in said[-1]:
        said.append(process.stderr.readline())
        assert said[-1], "".join(said)


def check_complete(process: subprocess.Popen[str], directory: Path) -> None:
    """Wait for the demo's end; it must have measured everything, with one copy a frame."""
    output, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    result = json.loads(output)
    assert json.loads((directory / "demo.json").read_text()) == result
    assert (directory / "demo.png").read_bytes().startswith(PNG)
    assert result["label"] == "tcg"
    assert [step["name"] for step in result["steps"]] == STEPS
    for step in result["steps"]:
        assert step["frames"] > 0
        assert step["copies"] == 1
        assert step["cpu_s_per_mframe"] > 0
    ping, *tcp, small, full = result["steps"]
    assert ping["rtt_us"]["count"] == len(result["rtts_us"]) == 200
    assert 0 < ping["rtt_us"]["min"] <= ping["rtt_us"]["median"] <= ping["rtt_us"]["p99"]
    assert all(step["gbps"] > 0 for step in tcp)
    assert full["gbps"] > small["gbps"] > 0


def processes_of(runtime_dir: Path) -> list[str]:
    """Return the command lines of the processes that know the directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(runtime_dir) in line:
                found.append(line.replace("\0", " "))
    return found


def interrupt(process: subprocess.Popen[str], moment: str, number: signal.Signals) -> int:
    """Send the demo a signal when it says `moment`; return its exit code."""
    wait_for(process, moment)
    process.send_signal(number)
    process.communicate(timeout=PATIENCE_S)
    return process.returncode


def assert_nothing_left(runtime_dir: Path) -> None:
    """Nothing of a demo is there any more."""
    assert processes_of(runtime_dir) == []
    assert not (runtime_dir / "demo").exists()


def test_the_demo_runs_again_however_it_ended(runtime_dir: Path, tmp_path: Path) -> None:
    """After one that was killed as its guests boot, one killed amid traffic, and a whole one."""
    for moment in ("booting two QEMU guests", "TCP, vm1 to vm2"):
        with demo(tmp_path) as killed:
            assert interrupt(killed, moment, signal.SIGKILL) == -signal.SIGKILL
    with demo(tmp_path) as process:
        check_complete(process, tmp_path)
    assert_nothing_left(runtime_dir)
    with demo(tmp_path) as process:
        assert interrupt(process, "200 pings", signal.SIGINT) == 130
    assert_nothing_left(runtime_dir)


def test_a_demo_that_is_ended_as_its_guests_boot_leaves_nothing(
    runtime_dir: Path, tmp_path: Path
) -> None:
    with demo(tmp_path) as process:
        code = interrupt(process, "booting two QEMU guests", signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    assert_nothing_left(runtime_dir)
