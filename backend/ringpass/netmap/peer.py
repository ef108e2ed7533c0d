# SPDX-License-Identifier: BSD-2-Clause
"""Who asks, and what that allows.

A port that a program made, and its memory, belong to the user of that program: others can neither
open it nor watch it. What the configuration made may be opened by everybody who may connect, and
watched by the daemon's user. That user and root may do everything. Guests are peers, too, of their
own kind: see `ringpass.passthrough.peer`.
"""

import errno
import os
from collections.abc import Collection
from dataclasses import dataclass

from ringpass.errors import Denied
from ringpass.netmap.abi import Request

#: Whose something is: a user's, by number, or a guest's, by the name of its port.
Owner = int | str

#: Extra buffers that a user may have in a region that belongs to nobody.
EXTRA_BUFFERS = 4096


@dataclass(frozen=True)
class Peer:
    """A program at the other end, as the kernel says."""

    pid: int
    uid: int

    @property
    def owner(self) -> Owner:
        """Whose the ports are that it makes."""
        return self.uid

    @property
    def privileged(self) -> bool:
        """Whether it may do everything: the daemon's user or root."""
        return self.uid in (0, os.geteuid())

    @property
    def home(self) -> int:
        """The number of the region that its ports are in by default; 0: private ones."""
        return 0

    def means(self, name: str) -> str:
        """Return the name of the port that it calls `name`. Raises RingpassError."""
        return name

    def extra_buffers(self, owner: Owner | None) -> int | None:
        """Return how many it may have in a region of `owner`, None for no limit but the pool's."""
        return None if self.privileged or owner is not None else EXTRA_BUFFERS

    def check_request(self, what: str, kind: Request, options: Collection[int]) -> None:
        """Raise Denied if requests of this kind, or with these options, are not for this peer."""

    def check_owner(self, what: str, owner: Owner | None) -> None:
        """Raise Denied if what belongs to `owner` is not for this peer; None: anybody's.

        `what` is the operation.
        """
        if owner is not None and owner != self.owner and not self.privileged:
            whose = f"user {owner}" if isinstance(owner, int) else f"the guest of {owner}"
            raise Denied(
                what,
                f"it belongs to {whose}, and you are user {self.uid}",
                "open another port, or use that account",
                errno=errno.EACCES,
            )

    def check_memory(self, what: str, region: int) -> None:
        """Raise Denied if nothing in the region of this number is for this peer."""

    def check_privileged(self, what: str) -> None:
        """Raise Denied unless the peer may change what concerns everybody."""
        if not self.privileged:
            raise Denied(
                what,
                f"user {self.uid} does not own the daemon",
                "use the account that started it, or root",
                errno=errno.EPERM,
            )
