# SPDX-License-Identifier: BSD-2-Clause
"""What a port needs of whoever serves it; each way to reach one is a module of this package."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ringport.region import Region

if TYPE_CHECKING:
    from ringport.ring import Ring


class Watch(NamedTuple):
    """What to wait for: descriptors and `select.POLL*` masks. It ends with `Binding.unwatch`."""

    fds: Sequence[tuple[int, int]]
    nap_s: float | None = None
    """Look again after so many seconds, for nobody may notify; None: they are enough."""


class Binding(Protocol):
    """Rings that somebody serves: of a daemon, of a backend in this process, of a netmap.

    All calls raise `Error`.
    """

    region: Region
    nifp_offset: int
    """Of the netmap_if, in bytes from the region's start."""
    mem_id: int
    """netmap's number of the region."""

    def attach(self, rings: "Sequence[Ring]") -> None:
        """Be told of the rings, in netmap's order, before anything else."""

    def txsync(self) -> None:
        """Do a txsync of all tx rings."""

    def rxsync(self) -> None:
        """Do an rxsync of all rx rings."""

    def sync(self, ring: "Ring") -> None:
        """Sync one ring, or all of its direction where that cannot be told apart."""

    def watch(self, *, rx: bool, tx: bool) -> Watch | None:
        """Ask to be notified when `tail` of an rx or a tx ring moves; None: it has moved already.

        Whoever woke up calls `unwatch`, syncs and looks at the rings.
        """

    def unwatch(self) -> None:
        """End what `watch` began."""

    def fileno(self) -> int:
        """Return a descriptor that `select`, `poll` and `epoll` take."""

    def close(self) -> None:
        """Give the rings back. A second close does nothing."""
