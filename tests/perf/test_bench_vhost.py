# SPDX-License-Identifier: BSD-2-Clause
"""`bench vhost` leaves nothing behind, however it ends, and says what it misses."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ringpass.bench import ovs, vhost
from ringpass.bench.measure import Options
from ringpass.errors import RingpassError
from tests.support.wait import PATIENCE_S, wait_until

pytestmark = pytest.mark.slow

RINGPASS = str(Path(sys.executable).with_name("ringpass"))


def processes(directory: Path) -> list[str]:
    """Return the command lines that name `directory`, but for this test's own."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                argv = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(directory) in argv:
                found.append(argv.replace("\0", " "))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_bench_that_was_ended(
    number: signal.Signals, runtime_dir: Path
) -> None:
    place = runtime_dir / "bench-vhost"
    bench = subprocess.Popen(
        [RINGPASS, "bench", "vhost", "--case", "ovs/split", "--seconds", "30"],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    wait_until((place / "testpmd-ovs.pid").exists, "all processes run")
    assert processes(place)
    bench.send_signal(number)
    bench.wait(PATIENCE_S)
    wait_until(lambda: not processes(place), "all processes have ended")
    if number != signal.SIGKILL:
        assert not place.exists()


def test_a_case_whose_reference_is_missing_is_left_out(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ovs, "VSWITCHD", runtime_dir / "ovs-vswitchd-dpdk")
    said: list[str] = []
    options = Options(runs=1, seconds=0.01, cases=["*/split"], sizes=[60])
    assert [row.case for row in vhost.measure(options, said.append)] == ["vhost/split"]
    assert any("ovs/split is left out" in line and "make packages-bench" in line for line in said)


def test_without_any_reference_there_is_nothing_to_measure(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(runtime_dir))
    options = Options(runs=1, seconds=0.01, cases=["vhost/split"])
    with pytest.raises(RingpassError, match="apt-get install dpdk-dev"):
        vhost.measure(options, lambda _: None)
