# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass bench` as a user runs it: real loops, made short."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ringpass.bench import BENCHES
from tests.support.wait import PATIENCE_S, wait_until

RINGPASS = str(Path(sys.executable).with_name("ringpass"))
PNG = b"\x89PNG\r\n\x1a\n"

CORES = sorted(os.sched_getaffinity(0))
SHORT = ["--runs", "2", "--seconds", "0.005"]


def ringpass(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RINGPASS, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_list_names_every_bench() -> None:
    listed = json.loads(ringpass("bench", "list", "--json").stdout)
    assert [bench["name"] for bench in listed] == [bench.name for bench in BENCHES]


def test_switch_yields_every_case_and_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "switch.png"
    done = ringpass("bench", "switch", *SHORT, "--json", "--plot", str(picture))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [(row["cores"], row["size"], row["case"]) for row in report["rows"]] == [
        (cores, size, f"vale/batch-{batch}")
        for cores in (1, 2)
        for size in (60, 1500)
        for batch in (1, 32, 256)
    ] + [(2, size, f"processes/batch-{batch}") for size in (60, 1500) for batch in (1, 32, 256)] + [
        (2, size, f"senders-{senders}/{full}")
        for full in ("hold", "drop")
        for size in (60, 1500)
        for senders in (2, 4, 8)
    ]
    for row in report["rows"]:
        assert 0 < row["ns_min"] <= row["ns"] <= row["ns_max"]
        assert row["ratio"] == pytest.approx(row["ns"] / row["ref_ns"], rel=0.01)
        assert row["mpps"] == pytest.approx(1e3 / row["ns"], rel=0.01)
        if row["limit"] is not None:
            assert row["met"] == (row["ratio"] <= row["limit"])
    assert picture.read_bytes().startswith(PNG)


def test_switch_prints_a_table_of_what_was_selected() -> None:
    done = ringpass("bench", "switch", *SHORT, "--case", "*-256", "--size", "60", "--cores", "1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["CASE", "BYTES", "CORES"]
    assert lines[1].split()[:3] == ["vale/batch-256", "60", "1"]
    assert len(lines) == 2
    assert "reference: memcpy" in done.stderr


def test_a_bench_of_no_case_is_a_wrong_argument() -> None:
    done = ringpass("bench", "instructions", "--case", "nosuch/*", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no case has --case nosuch/*" in done.stderr


def test_one_core_cases_run_on_one_core() -> None:
    one = ["taskset", "-c", str(CORES[0]), RINGPASS, "bench", "switch", *SHORT, "--json"]
    done = subprocess.run(
        [*one, "--cores", "1"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {row["cores"] for row in json.loads(done.stdout)["rows"]} == {1}


def test_two_core_cases_say_that_there_is_one_core() -> None:
    one = ["taskset", "-c", str(CORES[0]), RINGPASS, "bench", "switch", *SHORT, "--cores", "2"]
    done = subprocess.run(one, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "--cores 1" in done.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_bench_that_leads_its_group_ends_with_its_child(
    number: signal.Signals, code: int
) -> None:
    bench = subprocess.Popen(
        [RINGPASS, "bench", "switch", "--runs", "1000", "--cores", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert bench.stderr is not None
    while "vale/batch" not in bench.stderr.readline():
        assert bench.poll() is None
    child = children(bench.pid)
    assert len(child) == 1
    assert os.getsid(child[0]) == child[0]
    bench.send_signal(number)
    assert bench.wait(PATIENCE_S) == code
    wait_until(lambda: not Path(f"/proc/{child[0]}").exists(), "the end of its child")
    bench.stderr.close()


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue  # it has ended meanwhile
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_control_yields_every_case_with_its_percentiles(runtime_dir: Path) -> None:
    done = ringpass("bench", "control", "--runs", "11", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [(row["case"], row["runs"]) for row in rows] == [
        ("status/rpc", 11),
        ("status/command", 1),
    ]
    for row in rows:
        assert row["ns"] > row["ref_ns"] > 0
    asked = rows[0]
    assert asked["limit_ns"] == 100e6
    assert asked["met"] == (asked["ns"] <= asked["limit_ns"])
    assert asked["rtt_us"]["median"] == pytest.approx(asked["ns"] / 1e3, rel=0.01)
    assert asked["rtt_us"]["median"] <= asked["rtt_us"]["p90"] <= asked["rtt_us"]["p99"]
    assert not (runtime_dir / "bench-control").exists()
