# SPDX-License-Identifier: BSD-2-Clause
"""What the device needs of those who know the host's interfaces.

netmap:eth0     rings that a program opens, linked to the interface's queues
netmap:eth0^    rings linked to the host's own network stack
vale0:eth0      the interface as a port of a switch
"""

from typing import Protocol

from ringpass.dataplane import PortId, SwitchId, WorkerId
from ringpass.netmap.abi import ValePolling
from ringpass.netmap.rings import Geometry


class Taken(Protocol):
    """An interface that the host's stack does not have for a while."""

    interface: str

    @property
    def mode(self) -> str:
        """How frames are moved: xdp-zerocopy, xdp-copy, packet or tap."""

    @property
    def fell_back(self) -> str:
        """Why packet sockets have to do, if they do."""

    @property
    def problem(self) -> str:
        """Why no frames are moved, or nothing."""

    @property
    def cpus(self) -> list[int]:
        """Those that poll its rings."""


class Opened(Taken, Protocol):
    """An interface whose queues are linked to the rings of a program."""

    def close(self) -> None:
        """Give the queues back to the host and remove the ports that were made."""


class Attached(Taken, Protocol):
    """An interface that is a port of a switch."""

    port: PortId
    """The interface's own port."""
    host_port: PortId | None
    """The port of its host stack."""

    def start_polling(self, request: ValePolling) -> None:
        """Let CPUs look after the interface's rings. Raises RingpassError (EBUSY, EINVAL)."""

    def stop_polling(self, request: ValePolling) -> None:
        """Let them no more."""

    @property
    def polling(self) -> bool:
        """Whether they do."""

    def close(self) -> None:
        """Give the interface back to the host and remove its ports."""


class Nics(Protocol):
    """The interfaces of the host."""

    def geometry(self, interface: str) -> Geometry:
        """Return the rings that the interface has, host rings included.

        Raises RingpassError (ENXIO) if there is none of that name.
        """

    def open(self, interface: str, port: PortId, host_port: PortId) -> Opened:
        """Link the ports, which have netmap rings, to the interface and to its host stack.

        Called when the first program opens the interface. Raises RingpassError.
        """

    def attach(
        self, interface: str, name: str, switch: SwitchId, worker: WorkerId, *, host: bool
    ) -> Attached:
        """Make the interface the port `name` of a switch; with `host` its host stack, too, as
        `name^`. Raises RingpassError.
        """

    def create(self, interface: str, geometry: Geometry) -> None:
        """Make an interface of the host that persists (VALE_NEWIF). Raises RingpassError."""

    def delete(self, interface: str) -> None:
        """Remove an interface that `create` made (VALE_DELIF). Raises RingpassError."""
