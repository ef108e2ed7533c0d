# SPDX-License-Identifier: BSD-2-Clause
"""Who asks, and what that allows.

A port that a program made, and its memory, belong to the user of that program: others can neither
open it nor watch it. What the configuration made may be opened by everybody who may connect, and
watched by the daemon's user. That user and root may do everything.
"""

import errno
import os
from dataclasses import dataclass

from ringpass.errors import Denied


@dataclass(frozen=True)
class Peer:
    """A program at the other end, as the kernel says."""

    pid: int
    uid: int

    @property
    def privileged(self) -> bool:
        """Whether it may do everything: the daemon's user or root."""
        return self.uid in (0, os.geteuid())

    def check_owner(self, what: str, owner: int | None) -> None:
        """Raise Denied if what belongs to the user `owner` is not for this peer; None: anybody's.

        `what` is the operation.
        """
        if owner is not None and owner != self.uid and not self.privileged:
            raise Denied(
                what,
                f"it belongs to user {owner}, and you are user {self.uid}",
                "open another port, or use that account",
                errno=errno.EACCES,
            )

    def check_privileged(self, what: str) -> None:
        """Raise Denied unless the peer may change what concerns everybody."""
        if not self.privileged:
            raise Denied(
                what,
                f"user {self.uid} does not own the daemon",
                "use the account that started it, or root",
                errno=errno.EPERM,
            )
