# SPDX-License-Identifier: BSD-2-Clause
"""Descriptors of the kernel that frames go through, and what interfaces can do.

All of them belong to the network namespace of the thread that opens them.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct

from ringpass.errors import Denied, RingpassError
from ringpass.nic import programs

_TUNSETIFF, _TUNSETOFFLOAD, _TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
_IFF_TAP, _IFF_MULTI_QUEUE, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x0100, 0x1000, 0x4000
_TUN_OFFLOADS = 0x1 | 0x2 | 0x4 | 0x8
"""What we take from the host's stack: checksums, TCP segments over IPv4 and IPv6, with ECN."""
_VNET_HEADER_BYTES = 10

_SOL_PACKET = 263
_ADD_MEMBERSHIP, _AUXDATA, _VNET_HDR, _FANOUT = 1, 8, 15, 18
_QDISC_BYPASS, _IGNORE_OUTGOING = 20, 23
_MR_PROMISC = 1
_FANOUT_UNIQUE = 0x2000
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_ETH_P_ALL = 0x0003
_RECEIVE_BYTES = 8 << 20

_SIOCETHTOOL = 0x8946
_ETHTOOL_GCHANNELS = 0x3C


def open_tap(name: str, queues: int = 1) -> tuple[str, list[int]]:
    """Make a TAP device; return its name and a descriptor for each queue.

    A `%d` in the name becomes a number. The device goes when the last descriptor is closed.
    Raises RingpassError.
    """
    what = f"cannot make interface {name}"
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | (_IFF_MULTI_QUEUE if queues > 1 else 0)
    fds: list[int] = []
    try:
        for _ in range(queues):
            fds.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            request = struct.pack("16sH22x", name.encode(), flags)
            answer = fcntl.ioctl(fds[-1], _TUNSETIFF, request)
            name = answer[:16].rstrip(b"\0").decode()
            fcntl.ioctl(fds[-1], _TUNSETVNETHDRSZ, struct.pack("i", _VNET_HEADER_BYTES))
            fcntl.ioctl(fds[-1], _TUNSETOFFLOAD, _TUN_OFFLOADS)
    except OSError as error:
        close_all(fds)
        raise _tap_refusal(what, error) from None
    return name, fds


def close_all(fds: list[int]) -> None:
    """Close the descriptors, and forget them."""
    while fds:
        os.close(fds.pop())


def packet_sockets(name: str, queues: int) -> list[int]:
    """Return packet sockets that share what the interface receives. Raises RingpassError."""
    found: list[int] = []
    group = _FANOUT_UNIQUE << 16
    try:
        for _ in range(queues):
            with _packet_socket() as packets:
                packets.bind((name, _ETH_P_ALL))
                if queues > 1:
                    packets.setsockopt(_SOL_PACKET, _FANOUT, group)
                    group = packets.getsockopt(_SOL_PACKET, _FANOUT) & 0xFFFF
                found.append(packets.detach())
    except OSError as error:
        close_all(found)
        raise refusal(f"cannot open interface {name}", error) from None
    return found


def promiscuous(name: str, index: int) -> int:
    """Let an interface receive all frames until the descriptor returned is closed."""
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as guard:
            request = struct.pack("iHH8s", index, _MR_PROMISC, 0, b"")
            guard.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, request)
            return guard.detach()
    except OSError as error:
        raise refusal(f"cannot make interface {name} promiscuous", error) from None


def queue_count(name: str) -> int:
    """Return how many receive queues the interface has. One that does not say so has one."""
    channels = ctypes.create_string_buffer(struct.pack("=9I", _ETHTOOL_GCHANNELS, *[0] * 8))
    request = struct.pack("16sQ16x", name.encode(), ctypes.addressof(channels))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        try:
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
        except OSError:
            return 1
    numbers = struct.unpack("=9I", channels.raw[:36])
    receive: int = numbers[5]
    combined: int = numbers[8]
    return max(1, receive + combined)


def refusal(what: str, error: OSError) -> RingpassError:
    """Return what to tell the user of a call that the kernel refused."""
    number = error.errno or 0
    if number in (errno.EPERM, errno.EACCES):
        return Denied(
            what,
            "this process may not use the host's interfaces (no CAP_NET_ADMIN, no CAP_NET_RAW)",
            "run the daemon as root, or give it CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF",
            errno=number,
        )
    return RingpassError(what, os.strerror(number), errno=number)


def _tap_refusal(what: str, error: OSError) -> RingpassError:
    if error.errno in (errno.ENOENT, errno.ENODEV):
        return RingpassError(what, "there is no /dev/net/tun", "load it: modprobe tun")
    if error.errno in (errno.EBUSY, errno.EINVAL, errno.EEXIST):
        return RingpassError(
            what,
            "the name is taken by another interface",
            "choose another one, or remove that one: ip link del NAME",
            errno=errno.EEXIST,
        )
    return refusal(what, error)


def _packet_socket() -> socket.socket:
    """Return a packet socket that is bound to nothing yet, and receives nothing."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    packets = socket.socket(socket.AF_PACKET, kind, 0)
    try:
        for option in (_AUXDATA, _VNET_HDR, _QDISC_BYPASS, _IGNORE_OUTGOING):
            packets.setsockopt(_SOL_PACKET, option, 1)
        _attach_filter(packets, programs.unmarked_only())
        # Beyond the limit of ordinary users, if we may; as far as it goes otherwise.
        for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):
            try:
                packets.setsockopt(socket.SOL_SOCKET, option, _RECEIVE_BYTES)
            except PermissionError:
                continue
    except OSError:
        packets.close()
        raise
    return packets


def _attach_filter(to: socket.socket, code: bytes) -> None:
    text = ctypes.create_string_buffer(code)
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(text))
    to.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
