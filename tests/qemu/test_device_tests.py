# SPDX-License-Identifier: BSD-2-Clause
"""The device tests of the series, in QEMU's own test programs, against the QEMU that we build."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from ringpass.qemu import build

pytestmark = pytest.mark.slow

OURS = "/vhost-user/"
"""What of QEMU's graph of device tests the series has changed."""


@pytest.fixture
def environment(patched_qemu: Path, tmp_path: Path) -> dict[str, str]:
    """Return what tells the tests which QEMU to start."""
    # They start cards with the firmware for network boot, which need not be installed.
    program = tmp_path / patched_qemu.name
    program.write_text(f'#!/bin/sh\nexec {patched_qemu} -global virtio-net-pci.romfile= "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "QTEST_QEMU_BINARY": str(program)}


def run(name: str, environment: dict[str, str], *options: str) -> str:
    """Run a test program to its end; return what it prints, in the Test Anything Protocol."""
    done = subprocess.run(
        [build.qtest(name), *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


@pytest.mark.parametrize("name", [name for name in build.qtests() if name != build.QOS_TEST])
def test_a_device_test_of_the_series_passes(name: str, environment: dict[str, str]) -> None:
    said = run(name, environment, "--tap")
    passed = re.findall(r"^ok \d+ (?!.*# SKIP)", said, re.MULTILINE)
    assert len(passed) > 0
    assert "# SKIP" not in said


def test_vhost_user_passes_with_msi_x_and_without(environment: dict[str, str]) -> None:
    listed = run(build.QOS_TEST, environment, "-l").splitlines()
    wanted = [path for path in listed if OURS in path and path.startswith("/")]
    assert any(path.endswith("/msix") for path in wanted)
    for path in wanted:
        assert f"ok 1 {path}" in run(build.QOS_TEST, environment, "-p", path)
