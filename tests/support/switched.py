# SPDX-License-Identifier: BSD-2-Clause
"""A switch inside this process, with ports that the test itself sends and receives on."""

import os
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from ringpass.dataplane import DataPlane, FrontEndKind, Full, PortSpec
from ringpass.observe.counters import Counters
from tests.support.rings import RingUser


class Switched:
    """Ports `vale0:NAME` of one switch. A context manager."""

    def __init__(self, *names: str, slots: int = 512, full: Full = Full.DROP) -> None:
        self._counters_fd = os.memfd_create("counters", os.MFD_CLOEXEC)
        self.dataplane = DataPlane(self._counters_fd)
        self.counters = Counters(Path(f"/proc/self/fd/{self._counters_fd}"))
        self.caller = self.dataplane.caller()
        self.switch = self.dataplane.add_switch("vale0", ageing_s=0)
        self.slots = slots
        self.full = full
        self.users: dict[str, RingUser] = {}
        for name in names:
            self.add(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.users.clear()
        self.counters.close()
        self.caller.close()
        self.dataplane.close()
        os.close(self._counters_fd)

    def add(self, name: str) -> None:
        """Add a port."""
        port = self.dataplane.add_port(
            PortSpec(
                f"vale0:{name}",
                front_end=FrontEndKind.RINGS,
                switch=self.switch,
                slots=self.slots,
                full=self.full,
            )
        )
        self.users[name] = RingUser(self.dataplane, self.caller, port)

    def remove(self, name: str) -> None:
        """Remove a port."""
        self.dataplane.remove_port(self.users.pop(name).port)

    def send(self, name: str, *frames: bytes) -> None:
        """Send frames from a port, all of them in one batch."""
        for frame in frames:
            self.users[name].put([frame])
        assert self.users[name].send() == len(frames)

    def receive(self) -> dict[str, list[bytes]]:
        """Return what each port has received by now, of those that have something."""
        got = {name: user.receive(self.slots) for name, user in self.users.items()}
        return {name: frames for name, frames in got.items() if frames}

    def drops(self) -> Counter[str]:
        """Return all drops of all ports, by reason."""
        found: Counter[str] = Counter()
        for user in self.users.values():
            status = self.dataplane.port_status(user.port)
            for record in (*status.tx_records, *status.rx_records):
                ring = self.counters.ring(record)
                assert ring is not None
                found.update(ring.drops)
        return found
