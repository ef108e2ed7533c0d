# SPDX-License-Identifier: BSD-2-Clause
"""What a guest may ask the device for: its own port, and what is in the same memory.

Whatever a guest calls its port is its port: `rp0`, `vale0:vm1` and `netmap:rp0{1` begin with a name
that only the guest knows. What follows says whether the port itself or a pipe of it is meant.
"""

import errno
import re
from collections.abc import Collection
from dataclasses import dataclass

from ringpass.errors import Denied, RingpassError
from ringpass.netmap.abi import OptionType, Request
from ringpass.netmap.peer import Owner, Peer

#: What asks nothing of the host but rings.
_REQUESTS = frozenset(
    {
        Request.REGISTER,
        Request.PORT_INFO_GET,
        Request.POOLS_INFO_GET,
        Request.PORT_HDR_SET,
        Request.PORT_HDR_GET,
        Request.SYNC_KLOOP_START,
        Request.SYNC_KLOOP_STOP,
        Request.CSB_ENABLE,
    }
)
_NAME = re.compile(r"(?P<head>[^{}/@^*-]*)(?P<tail>.*)", re.DOTALL)


@dataclass(frozen=True)
class Guest(Peer):
    """The guest of the port `port`, in the QEMU that has the process and the user `uid`."""

    port: str
    region: int
    """The number of the region that it maps."""
    extra_bufs: int
    """Extra buffers that it may have."""

    @property
    def owner(self) -> Owner:
        """Itself: whatever user runs its QEMU."""
        return self.port

    @property
    def privileged(self) -> bool:
        """Never."""
        return False

    @property
    def home(self) -> int:
        """Where all that it opens is."""
        return self.region

    def means(self, name: str) -> str:
        """Return the name of the guest's port, or of a pipe of it."""
        found = _NAME.fullmatch(name)
        assert found is not None
        tail = found["tail"]
        if tail and tail[0] not in "{}":
            raise RingpassError(
                f"{name!r} names no port of this guest",
                f"what follows the port's name, {tail!r}, is no pipe",
                "name the port itself, or PORT{ID, PORT}ID",
                errno=errno.EINVAL,
            )
        return self.port + tail if name else name

    def extra_buffers(self, _owner: Owner | None) -> int:
        """Return the guest's quota, whosever the region is."""
        return self.extra_bufs

    def check_request(self, what: str, kind: Request, options: Collection[int]) -> None:
        """Raise Denied for what concerns others than the guest."""
        if kind not in _REQUESTS:
            raise Denied(what, "only programs of the host may", errno=errno.EPERM)
        if OptionType.EXTMEM in options:
            raise Denied(
                what,
                "a guest's memory is not the host's",
                "leave @FILE out of the name",
                errno=errno.EOPNOTSUPP,
            )

    def check_owner(self, what: str, owner: Owner | None) -> None:
        """Raise Denied if it belongs to somebody else."""
        if owner not in (None, self.owner):
            raise Denied(what, "it is not this guest's", errno=errno.EACCES)

    def check_memory(self, what: str, region: int) -> None:
        """Raise Denied for all regions but the one that the guest maps."""
        if region != self.region:
            raise Denied(
                what,
                "it is in memory that this guest does not map",
                "leave @NUMBER out of the name",
                errno=errno.EACCES,
            )

    def check_privileged(self, what: str) -> None:
        """Raise Denied."""
        raise Denied(what, "guests change nothing on the host", errno=errno.EPERM)
