# SPDX-License-Identifier: BSD-2-Clause
"""What is run by which of the processes that run tests in parallel."""

from fnmatch import fnmatch

from xdist.scheduler import LoadFileScheduling

#: Guests of these files send as fast as they can for most of the time. Beside each other they would
#: wait for processors longer than their kernels have patience.
BUSY_GUESTS = tuple(
    f"tests/guest/test_{name}.py"
    for name in (
        *("matrix_*", "control", "full_receivers", "hostile", "migration", "mixed", "offloads"),
        *("qemu", "uml"),
    )
)


class Schedule(LoadFileScheduling):  # type: ignore[misc]  # xdist ships no types
    """Files go to processes as a whole; all files with busy guests go to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "busy guests" if any(fnmatch(file, name) for name in BUSY_GUESTS) else file
