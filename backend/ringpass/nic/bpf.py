# SPDX-License-Identifier: BSD-2-Clause
"""bpf(2), as far as a few tiny programs need it: no compiler, no library.

Everything is a file descriptor, closed by whoever holds it. A program attached through a link is
detached when the link's last descriptor is closed, also by the end of the process.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Sequence
from enum import IntEnum

from ringpass.errors import Denied, RingpassError

_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280}.get(platform.machine(), 0)
_LICENSE = b"Dual BSD/GPL"

_libc = ctypes.CDLL(None, use_errno=True)


class _Command(IntEnum):
    MAP_CREATE = 0
    MAP_UPDATE_ELEM = 2
    PROG_LOAD = 5
    LINK_CREATE = 28


class ProgramType(IntEnum):
    """What a program is for."""

    SCHED_CLS = 3
    XDP = 6


class Attach(IntEnum):
    """Where a link attaches a program."""

    XDP = 37
    TCX_INGRESS = 46
    TCX_EGRESS = 47


_MAP_TYPE_XSKMAP = 17

#: Program flag: it takes frames of several buffers.
XDP_HAS_FRAGS = 1 << 5
#: Link flag: by the driver, or not at all.
XDP_DRIVER_MODE = 1 << 2


def load(kind: ProgramType, name: str, code: Sequence[bytes], flags: int = 0) -> int:
    """Load the program of the instructions `code`; return its descriptor. Raises OSError."""
    text = ctypes.create_string_buffer(b"".join(code))
    license_ = ctypes.create_string_buffer(_LICENSE)
    attributes = struct.pack(
        "=IIQQIIQII16s",
        kind,
        len(b"".join(code)) // 8,
        ctypes.addressof(text),
        ctypes.addressof(license_),
        0,
        0,
        0,
        0,
        flags,
        name.encode(),
    )
    return _bpf(_Command.PROG_LOAD, attributes)


def socket_map(entries: int) -> int:
    """Return the descriptor of a new map from queue numbers to AF_XDP sockets. Raises OSError."""
    return _bpf(_Command.MAP_CREATE, struct.pack("=IIIII", _MAP_TYPE_XSKMAP, 4, 4, entries, 0))


def set_socket(map_fd: int, queue: int, socket_fd: int) -> None:
    """Let the map name the socket for a queue. Raises OSError."""
    key = ctypes.c_uint32(queue)
    value = ctypes.c_uint32(socket_fd)
    _bpf(
        _Command.MAP_UPDATE_ELEM,
        struct.pack("=IIQQQ", map_fd, 0, ctypes.addressof(key), ctypes.addressof(value), 0),
    )


def attach(program_fd: int, ifindex: int, where: Attach, flags: int = 0) -> int:
    """Attach a program to an interface; return the link's descriptor. Raises OSError."""
    attributes = struct.pack("=IIII", program_fd, ifindex, where, flags)
    return _bpf(_Command.LINK_CREATE, attributes.ljust(64, b"\0"))


def refusal(what: str, error: OSError) -> RingpassError:
    """Return what to tell the user of a call that the kernel refused."""
    number = error.errno or 0
    if isinstance(error, PermissionError):
        return Denied(
            what,
            "this process may not load BPF programs",
            "run the daemon as root, or give it CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF",
            errno=number,
        )
    return RingpassError(what, os.strerror(number), errno=number)


def _bpf(command: _Command, attributes: bytes) -> int:
    room = ctypes.create_string_buffer(attributes, max(len(attributes), 128))
    result = int(_libc.syscall(_SYSCALL, command, room, len(room)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
