# SPDX-License-Identifier: BSD-2-Clause
"""How a QEMU has a port: by which device, over which connection."""

from typing import Literal, Protocol

from ringpass.errors import RingpassError
from ringpass.passthrough.pairs import Pairs

#: Seconds that a socket lets no QEMU come after one that left, or was turned away, at least.
PAUSE_S = 0.01

#: QEMU's ivshmem-doorbell device, or its netdev.
Way = Literal["ivshmem", "netdev"]


class Transport(Protocol):
    """A connection to a QEMU, in the event loop."""

    way: Way
    pid: int
    uid: int
    since: float
    """Seconds since the epoch."""

    def fileno(self) -> int:
        """Return the descriptor of its socket."""

    def changed(self) -> None:
        """Tell the QEMU that the port's record is another one; the guest is told by its mailbox."""

    def gone(self) -> bool:
        """Return whether the other end has hung up."""

    def close(self) -> None:
        """Disconnect. QEMU goes on with the memory that it has. A second close does nothing."""


class Taken(Protocol):
    """What a QEMU has that has a port."""

    peer: int
    pairs: Pairs


class Place(Protocol):
    """A port, for the servers of its sockets."""

    @property
    def memory(self) -> int:
        """The descriptor of its region."""

    @property
    def pause(self) -> float:
        """Seconds that its socket lets no QEMU come after one that left, or was turned away."""

    def seat_new(self, transport: Transport) -> Taken:
        """Let a QEMU have the port, with eventfds of its own and the port's memory as it is.

        Raises RingpassError (EBUSY), OSError; it has nothing then.
        """

    def note_refused(self, transport: Transport, error: Exception) -> None:
        """Remember that a QEMU was turned away, and why."""

    def ended(self, transport: Transport, violation: RingpassError | None) -> None:
        """Take back what a QEMU has, if it has the port; `violation` is what it did."""
