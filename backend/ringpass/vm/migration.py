# SPDX-License-Identifier: BSD-2-Clause
"""Moving a guest from one QEMU to another while it runs."""

import time
from pathlib import Path
from typing import Any, NamedTuple

from ringpass.errors import RingpassError
from ringpass.vm import registry
from ringpass.vm.qmp import Qmp

POLL_S = 0.02

ENDINGS = ("completed", "failed", "cancelled")


class Migration(NamedTuple):
    """How a migration went, as QEMU tells it; times in milliseconds."""

    total_ms: int
    downtime_ms: int
    """From the stop of the guest here until it could run there."""
    rounds: int
    """How often memory was looked through for what had changed."""
    bytes: int


class MigrationFailed(RingpassError):
    """The guest stayed where it was."""


def begin(source: Qmp, destination: Path, *, mib_s: int = 0, downtime_ms: int = 300) -> None:
    """Begin to move the guest of `source` to the guest directory `destination`; do not wait.

    `mib_s` limits the rate in MiB/s, 0: not at all. The guest is stopped when what is left takes
    `downtime_ms`.
    """
    # The limit is a 63-bit number of bytes; QEMU's own default is 128 MiB/s.
    limit = mib_s << 20 if mib_s else 1 << 40
    source.execute("migrate-set-parameters", max_bandwidth=limit, downtime_limit=downtime_ms)
    source.execute("migrate", uri=f"unix:{destination / registry.INCOMING}")


def finish(source: Qmp, timeout: float = 60.0) -> Migration:
    """Wait for the end. Raises MigrationFailed if the guest did not arrive within `timeout` s."""
    deadline = time.monotonic() + timeout
    what = "the guest did not migrate"
    given_up = False
    while True:
        state: dict[str, Any] = source.execute("query-migrate")
        status = state.get("status", "none")
        if status in ENDINGS:
            break
        if time.monotonic() > deadline and not given_up:
            source.execute("migrate_cancel")  # it may arrive all the same, in the last moment
            given_up = True
        time.sleep(POLL_S)
    if status == "cancelled" and given_up:
        raise MigrationFailed(
            what,
            f"it changes its memory faster than it is moved: no end after {timeout:.0f} s",
            "allow more bandwidth, or a longer downtime",
        )
    if status != "completed":
        raise MigrationFailed(what, state.get("error-desc", f"it {status}"))
    ram = state["ram"]
    return Migration(
        state["total-time"], state["downtime"], ram["dirty-sync-count"], ram["transferred"]
    )
