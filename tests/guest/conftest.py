# SPDX-License-Identifier: BSD-2-Clause
"""What tests with real guests share: the image, and the consoles in what a failure shows."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from ringpass import image as images
from ringpass.vm.qemu import Emulator
from tests.support.lab import Lab


@pytest.fixture(scope="session")
def image() -> images.Image:
    """Return the guest image of the tree, built now if the cache does not have it."""
    return images.ensure("guest")


@pytest.fixture(scope="session")
def patched(patched_qemu: Path) -> Emulator:
    """Return QEMU with the patches of qemu-patches/, to run guests with."""
    return Emulator(program=str(patched_qemu), patched=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the consoles of the guests and the daemon's log to the report of a failing test."""
    report = yield
    fixtures: dict[str, Any] = getattr(item, "funcargs", {})
    if report.failed and report.when != "teardown":
        for lab in fixtures.values():
            if isinstance(lab, Lab):
                report.sections += lab.evidence()
    return report
