# SPDX-License-Identifier: BSD-2-Clause
"""The kernel's own network devices, in a network namespace of our own."""

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ringpass.errors import RingpassError
from ringpass.netlink.links import explained

CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def private_network() -> Iterator[None]:
    """Run this thread, and what it starts, in a new network namespace.

    The namespace has no name, so the kernel removes it, and every device in it, when the last
    process there has ended: nothing stays behind, whatever ends this process. Raises RingpassError
    if this process may not make one.
    """
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(CLONE_NEWNET), "make a network namespace")
        try:
            yield
        finally:
            _check(_libc.setns(own, CLONE_NEWNET), "leave a network namespace")
    finally:
        os.close(own)


def bridge_taps(bridge: str, taps: Sequence[str]) -> None:
    """Make `bridge` and attach `taps` to it, new ones that this user may open.

    Raises RingpassError if the kernel refuses.
    """
    if not Path("/dev/net/tun").exists():
        raise RingpassError(
            "cannot make tap devices", "there is no /dev/net/tun", "load it: modprobe tun"
        )
    try:
        with IPRoute() as kernel:
            kernel.link("add", ifname=bridge, kind="bridge")
            master = _index(kernel, bridge)
            for tap in taps:
                kernel.link("add", ifname=tap, kind="tuntap", mode="tap", uid=os.geteuid())
                kernel.link("set", index=_index(kernel, tap), master=master, state="up")
            kernel.link("set", index=master, state="up")
    except NetlinkError as error:
        raise RingpassError(
            f"cannot bridge {' and '.join(taps)}",
            str(error),
            "load what the kernel lacks: modprobe bridge tun",
        ) from None


def cable(one: str, other: str, address: str) -> None:
    """Make a cable between two new interfaces; `other` gets `address`, like 10.0.0.2/24.

    Raises RingpassError if the kernel refuses.
    """
    what, length = address.split("/")
    with explained(f"cannot make a cable between {one} and {other}"), IPRoute() as kernel:
        kernel.link("add", ifname=one, kind="veth", peer={"ifname": other})
        end = _index(kernel, other)
        kernel.addr("add", index=end, address=what, prefixlen=int(length))
        for index in (_index(kernel, one), end):
            kernel.link("set", index=index, state="up")


def _index(kernel: IPRoute, name: str) -> int:
    [index] = kernel.link_lookup(ifname=name)
    return int(index)


def _check(result: int, what: str) -> None:
    if result < 0:
        raise RingpassError(
            f"cannot {what}", os.strerror(ctypes.get_errno()), "run this as root (CAP_SYS_ADMIN)"
        )
