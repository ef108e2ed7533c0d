# SPDX-License-Identifier: BSD-2-Clause
"""The network interfaces of this thread's namespace: what they are, changes to them, news of them.

The calls may come from an event loop's thread: pyroute2 runs a loop of its own, in a thread that
each call starts in the same network namespace.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ringpass.errors import Denied, NotFound, RingpassError

_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_RTMGRP_LINK = 0x1

T = TypeVar("T")


class Link(NamedTuple):
    """A network interface."""

    number: int
    """Its index."""
    name: str
    mtu: int
    mac: bytes
    up: bool
    """Administratively: whether it has a carrier is another question."""
    kind: str
    """Of virtual ones: veth, tun, bridge...; empty for hardware."""
    loopback: bool
    """Whether it is the namespace's own way to itself, which has no network."""


def find(name: str) -> Link | None:
    """Return the interface `name`, None if there is none. Raises RingpassError."""
    with explained(f"cannot look at interface {name}"):
        return ask(lambda kernel: _find(kernel, name))


def get(name: str) -> Link:
    """Return the interface `name`. Raises NotFound if there is none."""
    link = find(name)
    if link is None:
        raise NotFound(
            f"cannot use interface {name}",
            "this network namespace has none of that name",
            "see those that there are: ip link",
            errno=errno.ENXIO,
        )
    return link


def change(name: str, number: int, **settings: Any) -> None:
    """Change an interface: mtu, address, state ("up", "down"). Raises RingpassError."""
    with explained(f"cannot change interface {name}"):
        ask(lambda kernel: kernel.link("set", index=number, **settings))


@contextlib.contextmanager
def news() -> Iterator[socket.socket]:
    """Give a socket that is readable whenever an interface comes, goes or changes.

    What arrives says only that it is time to look: `drain` it, then ask.
    """
    with socket.socket(
        socket.AF_NETLINK,
        socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
        socket.NETLINK_ROUTE,
    ) as source:
        source.bind((0, _RTMGRP_LINK))
        yield source


def drain(source: socket.socket) -> None:
    """Read all that has arrived on the socket of `news`."""
    while True:
        try:
            source.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # there was more news than room: look all the same
                raise


def ask(function: Callable[[IPRoute], T]) -> T:
    """Return what `function` finds out from the kernel. Raises NetlinkError: see `explained`."""

    def work() -> T:
        with IPRoute() as kernel:
            return function(kernel)

    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(work).result()


def _find(kernel: IPRoute, name: str) -> Link | None:
    try:
        rows = list(kernel.get_links(ifname=name))
    except NetlinkError as error:
        if error.code in (errno.ENODEV, errno.EINVAL, errno.ERANGE):
            return None
        raise
    if not rows:
        return None
    row = rows[0]
    return Link(
        number=row["index"],
        name=row.get("ifname"),
        mtu=row.get("mtu"),
        mac=bytes.fromhex((row.get("address") or "").replace(":", "")),
        up=bool(row["flags"] & _IFF_UP),
        kind=row.get(("linkinfo", "kind")) or "",
        loopback=bool(row["flags"] & _IFF_LOOPBACK),
    )


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise RingpassError for a NetlinkError: `what` failed."""
    try:
        yield
    except NetlinkError as error:
        if error.code == errno.EPERM:
            raise Denied(
                what,
                "this process may not change the network (no CAP_NET_ADMIN)",
                "run the daemon as root, or give it CAP_NET_ADMIN",
                errno=errno.EPERM,
            ) from None
        raise RingpassError(what, os.strerror(error.code), errno=error.code) from None
