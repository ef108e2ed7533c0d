# SPDX-License-Identifier: BSD-2-Clause
"""What tests with a real libvirtd share: the daemon, the image, what a failure shows."""

from collections.abc import Generator, Iterator

import pytest

from ringpass import image as images
from tests.support.libvirtd import Libvirtd


@pytest.fixture(scope="session")
def image() -> images.Image:
    """Return the guest image of the tree, built now if the cache does not have it."""
    return images.ensure("guest")


@pytest.fixture(scope="session")
def libvirtd() -> Iterator[Libvirtd]:
    """Return a libvirtd that runs for all tests of this process."""
    with Libvirtd() as daemon:
        yield daemon


@pytest.fixture
def clear(libvirtd: Libvirtd) -> Iterator[None]:
    """Leave no domain behind."""
    yield
    libvirtd.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add libvirtd's log to the report of a failing test."""
    report = yield
    found = getattr(item, "funcargs", {}).get("libvirtd")
    if report.failed and report.when == "call" and isinstance(found, Libvirtd):
        report.sections.append(("log of libvirtd", found.log))
    return report
