# SPDX-License-Identifier: BSD-2-Clause
"""Two TAP devices that a Linux bridge joins, in a network namespace of their own.

What is written into one comes out of the other as Linux forwards it: what a switch does, with the
kernel's own software for checksums and segments.
"""

import ctypes
import fcntl
import os
import select
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.packets import VNET_HEADER

CLONE_NEWNET = 0x40000000
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000

#: Offloads that the receiving side takes, as TUNSETOFFLOAD names them.
TUN_F_CSUM = 1

SETUP = """
link add br0 mtu 65535 type bridge stp_state 0 mcast_snooping 0 forward_delay 0
link set in0 mtu 65521 txqueuelen 20000 master br0 up
link set out0 mtu {mtu} txqueuelen 20000 master br0 up
link set br0 up
"""


class Unavailable(Exception):
    """Why there can be none here."""


class BridgedTaps:
    """`forward` passes frames from one TAP to the other. Use it as a context manager.

    The receiving one takes the offloads of the mask `offloads` and packets of `mtu` bytes.
    """

    def __init__(self, offloads: int = 0, mtu: int = 65521) -> None:
        self._fds: list[int] = []
        # A namespace belongs to a thread; the devices keep it when the thread has ended.
        with ThreadPoolExecutor(1) as elsewhere:
            future = elsewhere.submit(self._set_up, offloads, mtu)
        try:
            future.result()
        except OSError as error:
            self.close()
            raise Unavailable(f"no TAP devices: {error}") from error
        except Unavailable:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the devices and their namespace."""
        while self._fds:
            os.close(self._fds.pop())

    def forward(self, vnet: bytes, frame: bytes) -> list[tuple[bytes, bytes]]:
        """Return what becomes of a frame: a virtio-net header and a frame, any number of times.

        Raises OSError if the kernel refuses it.
        """
        inside, outside = self._fds
        os.write(inside, vnet + frame)
        found = []
        # The kernel forwards while it takes the frame: nothing comes later.
        while select.select([outside], [], [], 0)[0]:
            data = os.read(outside, 1 << 17)
            found.append((data[: VNET_HEADER.size], data[VNET_HEADER.size :]))
        return found

    def _set_up(self, offloads: int, mtu: int) -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise Unavailable(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        for family in ("all", "default"):  # no frames of its own
            knob = Path(f"/proc/sys/net/ipv6/conf/{family}/disable_ipv6")
            if knob.exists():
                knob.write_text("1")
        self._fds.append(_tap("in0"))
        self._fds.append(_tap("out0"))
        fcntl.ioctl(self._fds[1], TUNSETOFFLOAD, offloads)
        done = subprocess.run(
            ["ip", "-batch", "-"],
            input=SETUP.format(mtu=mtu),
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"no bridge of TAP devices: {done.stderr.strip()}")


def _tap(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    except OSError:
        os.close(fd)
        raise
    return fd
