# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass bench g2g` with its real guests, made short."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.guest

RINGPASS = str(Path(sys.executable).with_name("ringpass"))
COMMON = ["flood", "flood", "tcp-1", "tcp-4", "rtt", "idle"]
#: One variant of each kind that the guests' boot is long enough for.
MORE = {
    "uml": ["uml/tcp/plain", "uml/tcp/tso-drop"],
    "tcg": ["qemu/stream/rtt", "qemu/dgram/rtt", "qemu/tap/rtt"],
}
#: Ways between guests of QEMU: one case of each metric that only they have.
WAYS = {"uml": [], "tcg": ["qemu-stream/udp", "vhost-vale/rtt-spin"]}


def bench(*options: str) -> list[dict[str, Any]]:
    command = [RINGPASS, "bench", "g2g", "--json", "--runs", "1", "--seconds", "0.5", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["bench"] == "g2g"
    rows: list[dict[str, Any]] = report["rows"]
    return rows


@pytest.mark.parametrize("label", ["uml", "tcg"])
def test_every_case_of_a_kind_of_guest_is_measured(runtime_dir: Path, label: str) -> None:
    common = [f"{label}/{case}" for case in COMMON]
    wanted = {*common, *MORE[label], *WAYS[label]}
    measured = bench(*(word for case in wanted for word in ("--case", case)))
    by_name = {row["case"]: row for row in measured}
    assert by_name.keys() == wanted
    ways = [row for row in measured if row["case"] in WAYS[label]]
    for row in ways:
        assert row["via"] == row["case"].split("/")[0]
        assert row["metric"] in row["case"]
        assert row["ns"] > 0
        assert row["guest_cores"] > 0
        assert row["ref"] == "the best of QEMU's own netdevs"
    rows = [row for row in measured if row not in ways]
    assert [row["size"] for row in rows[:2]] == [60, 1500]
    for row in rows:
        assert row["label"] == label
        assert row["via"] == "vhost-vale"
        assert row["metric"] in row["case"]
        assert row["ratio"] == pytest.approx(row["ns"] / row["ref_ns"], rel=0.01)
    small, full, *tcp, rtt, idle = (row for row in rows if row["case"] in common)
    assert full["gbps"] > small["gbps"] > 0
    for flood in (small, full):
        # What the sequence numbers say was lost is what the counters say was dropped, but for a
        # stray frame of somebody else.
        assert flood["lost"] <= sum(flood["drops"].values()) + 10
    for transfer in tcp:
        assert transfer["gbps"] > 0
        assert isinstance(transfer["retransmits"], int)
        assert isinstance(transfer["drops"], dict)
        if label == "uml":  # which has a goal
            fast = transfer["ratio"] <= transfer["limit"]
            assert transfer["met"] == (fast and not transfer["drops"])
    times = rtt["rtt_us"]
    assert 0 < times["min"] <= times["median"] <= times["p90"] <= times["p99"]
    for name in MORE[label]:
        assert by_name[name]["ns"] > 0
        if name.startswith("uml"):
            assert by_name[name]["ref_ns"] == tcp[0]["ref_ns"]  # of the same round
        else:
            assert by_name[name]["ns"] == rtt["ns"]
            assert name.split("/")[1] in by_name[name]["ref"]
    assert idle["met"], idle
    assert not (runtime_dir / "bench-g2g").exists()
