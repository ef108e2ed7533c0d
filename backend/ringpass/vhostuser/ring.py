# SPDX-License-Identifier: BSD-2-Clause
"""A virtqueue as its front end described it, and the descriptors that notify of it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ringpass.vhostuser.connection import Fd, Message
from ringpass.vhostuser.messages import ProtocolError, VringAddress, VringFile


@dataclass
class Ring:
    """A virtqueue as its front end described it."""

    index: int
    size: int = 0
    base: int = 0
    address: VringAddress | None = None
    call: Fd | None = None
    kick: Fd | None = None
    kicked: bool = False
    """KICK came since the ring was last stopped, with a descriptor or to say that there is none."""
    enabled: bool | None = None
    """The last ENABLE, or None. It outlives everything but a reset of the device."""
    running: bool = False
    adrift: bool = False
    """Its memory was taken away while it ran; it goes on when that is back."""

    def lies_at(self, address: VringAddress) -> bool:
        """Return whether this is where the ring is; what `address` says of its log is no matter."""
        known = self.address
        return known is not None and (known.desc, known.used, known.avail) == (
            address.desc,
            address.used,
            address.avail,
        )

    def forget_kick(self) -> None:
        """Go back to where a ring waits for KICK."""
        if self.kick is not None:
            self.kick.close()
        self.kick, self.kicked, self.adrift = None, False, False

    def forget_call(self) -> None:
        """Do not notify the front end."""
        if self.call is not None:
            self.call.close()
        self.call = None


def check_notification(
    payload: VringFile, message: Message, what: str, accepts: Callable[[int], bool]
) -> None:
    """Check the descriptor that notifies of a virtqueue, and make using it never wait."""
    if payload.has_fd != bool(message.fds):
        presence = "missing" if payload.has_fd else "there although the message says it is not"
        raise ProtocolError(f"the {what} descriptor of virtqueue {payload.index} is {presence}")
    if message.fds:
        fd = message.fds[0].fileno()
        if not accepts(fd):
            raise ProtocolError(f"the {what} descriptor of virtqueue {payload.index} is no eventfd")
        os.set_blocking(fd, False)


def is_eventfd(fd: int) -> bool:
    """Return whether `fd` is an eventfd."""
    return _file(fd).startswith("anon_inode:[eventfd")


def is_socket(fd: int) -> bool:
    """Return whether `fd` is a socket."""
    return _file(fd).startswith("socket:")


def is_channel(fd: int) -> bool:
    """Whether `fd` notifies whoever has its other end; User-mode Linux sends a socket."""
    return is_eventfd(fd) or is_socket(fd)


def _file(fd: int) -> str:
    """Name the file of `fd` without asking the file: it may be one that never answers."""
    return str(Path(f"/proc/self/fd/{fd}").readlink())
