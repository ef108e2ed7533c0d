# SPDX-License-Identifier: BSD-2-Clause
"""Processors that look after a NIC's rings and do nothing else."""

import errno
import os
from collections.abc import Sequence

from ringpass.dataplane import DataPlane, Policy, PortId, WorkerId
from ringpass.errors import RingpassError


class Polling:
    """Threads that serve the queues of a port, each bound to a CPU, from `start` to `stop`."""

    def __init__(self, plane: DataPlane, port: PortId, queues: int, home: WorkerId) -> None:
        """`home` is the worker that serves them otherwise."""
        self._plane = plane
        self._port = port
        self._queues = queues
        self._home = home
        self._workers: list[WorkerId] = []
        self.cpus: list[int] = []
        """Those that poll."""

    @property
    def on(self) -> bool:
        """Whether there are such threads."""
        return bool(self._workers)

    def set(self, cpus: Sequence[int]) -> None:
        """Let these CPUs poll, and no others; none: nobody. Raises RingpassError."""
        if list(cpus) != self.cpus:
            self.stop()
        if cpus and not self.on:
            self.start(cpus)

    def start(self, cpus: Sequence[int]) -> None:
        """Let each CPU of `cpus` poll a queue, in turn. Raises RingpassError."""
        what = "cannot bind polling threads"
        online = os.cpu_count() or 1
        if self.on:
            raise RingpassError(what, "there are some", "stop them first", errno=errno.EBUSY)
        # One processor at least stays for everything else.
        if not 0 < len(cpus) < online or min(cpus) < 0 or max(cpus) >= online:
            raise RingpassError(
                what,
                f"CPUs {list(cpus)} were asked for; this machine has {online}",
                "name some from 0 on, fewer than there are",
                errno=errno.EINVAL,
            )
        try:
            for cpu in cpus:
                self._workers.append(self._plane.add_worker(Policy.BUSY, cpu=cpu))
            for queue in range(self._queues):
                worker = self._workers[queue % len(self._workers)]
                self._plane.kernel(self._port).serve(queue, worker)
        except RingpassError:
            self.stop()
            raise
        self.cpus = list(cpus)

    def stop(self) -> None:
        """Give the queues back to their worker. A second call does nothing."""
        if not self.on:
            return
        for queue in range(self._queues):
            self._plane.kernel(self._port).serve(queue, self._home)
        while self._workers:
            self._plane.remove_worker(self._workers.pop())
        self.cpus = []
