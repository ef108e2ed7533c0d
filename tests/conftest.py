# SPDX-License-Identifier: BSD-2-Clause
"""What tests of every kind share: a runtime directory of their own, and how they run in parallel.

With `-n`, files of tests go to several processes; `make test` says how.
"""

from collections.abc import Generator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

import ringpass
from ringpass import qemu
from tests.support.turnstile import Turnstile

if TYPE_CHECKING:
    from tests.support.schedule import Schedule

# Builds what has changed, once: the processes that run tests find nothing to build.
assert ringpass.__version__


# How long an example takes says more of what else the machine does.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def runtime_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty directory that ringpass, in this process or a child, uses for its sockets.

    Not tmp_path: its long names do not leave room for a socket's name in the 108 bytes of sun_path.
    """
    with TemporaryDirectory(prefix="rp-") as name:
        monkeypatch.setenv("RINGPASS_RUNTIME_DIR", name)
        yield Path(name)


@pytest.fixture(scope="session")
def patched_qemu() -> Path:
    """Return QEMU with the patches of qemu-patches/; the first test that wants it builds it."""
    return qemu.ensure()


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist there is one process
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "Schedule":
    """Say which tests run in the same process."""
    from tests.support.schedule import Schedule

    return Schedule(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest and end with what runs alone, lest processes idle for long."""
    for item in items:
        if "patched_qemu" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(1800))  # as it may have to be built
    if is_worker(config):
        items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if item.get_closest_marker("alone"):
        return 2
    return 0 if item.get_closest_marker("guest") else 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """Let a test that is marked `alone` run while no other does."""
    if not is_worker(item.config):
        return (yield)
    # The directory of each process is in that of the run.
    turnstile = Turnstile(Path(item.config.option.basetemp).parent)
    with turnstile.entered(alone=item.get_closest_marker("alone") is not None):
        return (yield)


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of several processes that run tests."""
    return hasattr(config, "workerinput")
