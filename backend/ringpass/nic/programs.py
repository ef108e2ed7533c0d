# SPDX-License-Identifier: BSD-2-Clause
"""What the kernel runs for us: BPF programs of a few instructions, made here.

    network ----> eth0 ---- to_sockets ----> AF_XDP sockets        (XDP, in the driver)
                       \\--- only_marked --->| host's stack          (frames of packet sockets)
    host's stack ----> eth0 ---- redirect ----> TAP ----> host ring (marked, on their way out)
    host ring ----> TAP ---- back ----> eth0 ---- only_marked ----> host's stack

A frame on its way between the host's stack and its ring bears a mark, so that it is not taken for
one that the network, or some other program of the host, sent there. How the frame is addressed
(to the host, to another one, to all) is known when it comes out of the TAP device, whose address
is the interface's, and lost when it is redirected: it goes along in the mark.
"""

import struct
from collections.abc import Sequence

#: The mark of frames between host rings and the host's stack; the packet's type is in the low bits.
MARK = 0x72700000
MARK_MASK = 0xFFFF0000

_XDP_PASS = 2
_NEXT, _PASS, _DROP = -1, 0, 2
_REDIRECT_INGRESS = 1

# Fields of struct __sk_buff and struct xdp_md, by their offset.
_SKB_PACKET_TYPE, _SKB_MARK = 4, 8
_XDP_QUEUE = 16

# Helpers, by their number.
_REDIRECT, _CHANGE_TYPE, _REDIRECT_MAP = 23, 32, 51

Code = Sequence[bytes]


def to_sockets(map_fd: int) -> Code:
    """XDP: to the AF_XDP socket that the map has for the queue; to the stack if it has none."""
    return [
        _load(2, 1, _XDP_QUEUE),
        *_load_map(1, map_fd),
        _set(3, _XDP_PASS),
        _call(_REDIRECT_MAP),
        _exit(),
    ]


def divert(ifindex: int) -> Code:
    """Egress: mark what the host's stack sends, and send it out through another interface."""
    return [
        _set(2, MARK),
        _store(1, _SKB_MARK, 2),
        _set(1, ifindex),
        _set(2, 0),
        _call(_REDIRECT),
        _exit(),
    ]


def drop() -> Code:
    """Drop everything."""
    return [_set(0, _DROP), _exit()]


def pass_marked() -> Code:
    """Egress of the TAP device: nothing but what was diverted to it."""
    return [
        _load(2, 1, _SKB_MARK),
        _set(0, _PASS),
        _skip_if_equal(2, MARK, 1),
        _set(0, _DROP),
        _exit(),
    ]


def give_back(ifindex: int) -> Code:
    """Ingress of the TAP device: let an interface receive it, marked with the packet's type."""
    return [
        _load(2, 1, _SKB_PACKET_TYPE),
        _or(2, MARK),
        _store(1, _SKB_MARK, 2),
        _set(1, ifindex),
        _set(2, _REDIRECT_INGRESS),
        _call(_REDIRECT),
        _exit(),
    ]


def admit_marked(*, others: bool) -> Code:
    """Ingress of the interface: what was given back is a frame of its own type, without a mark.

    With `others` the stack receives all other frames, too; else they are dropped.
    """
    return [
        _load(2, 1, _SKB_MARK),
        _copy(3, 2),
        _and(3, MARK_MASK),
        _set(0, _NEXT if others else _DROP),
        _skip_if_not_equal(3, MARK, 6),
        _and(2, 0xFFFF & ~MARK_MASK),
        _set(3, 0),
        _store(1, _SKB_MARK, 3),
        _call(_CHANGE_TYPE),
        _set(0, _NEXT),
        _exit(),
        _exit(),
    ]


def unmarked_only() -> bytes:
    """Return the classic BPF program (struct sock_filter[]) of packet sockets: no marked frame."""
    take, leave = 0x40000, 0
    mark = -0x1000 + 20  # SKF_AD_OFF + SKF_AD_MARK
    return b"".join(
        struct.pack("=HBBi", *instruction)
        for instruction in (
            (0x20, 0, 0, mark),
            (0x54, 0, 0, MARK_MASK - (1 << 32)),
            (0x15, 0, 1, MARK),
            (0x06, 0, 0, leave),
            (0x06, 0, 0, take),
        )
    )


def _instruction(code: int, to: int = 0, of: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, of << 4 | to, offset, _signed(value))


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value


def _load(to: int, of: int, offset: int) -> bytes:
    return _instruction(0x61, to, of, offset)


def _store(to: int, offset: int, of: int) -> bytes:
    return _instruction(0x63, to, of, offset)


def _load_map(to: int, map_fd: int) -> list[bytes]:
    return [_instruction(0x18, to, 1, 0, map_fd), _instruction(0)]


def _set(to: int, value: int) -> bytes:
    """Set 32 bits without a sign; a negative number is for results, which are read as 32 bits."""
    return _instruction(0xB4, to, value=value)


def _copy(to: int, of: int) -> bytes:
    return _instruction(0xBC, to, of)


def _and(to: int, value: int) -> bytes:
    return _instruction(0x54, to, value=value)


def _or(to: int, value: int) -> bytes:
    return _instruction(0x44, to, value=value)


def _skip_if_equal(of: int, value: int, skip: int) -> bytes:
    return _instruction(0x16, of, offset=skip, value=value)


def _skip_if_not_equal(of: int, value: int, skip: int) -> bytes:
    return _instruction(0x56, of, offset=skip, value=value)


def _call(helper: int) -> bytes:
    return _instruction(0x85, value=helper)


def _exit() -> bytes:
    return _instruction(0x95)
