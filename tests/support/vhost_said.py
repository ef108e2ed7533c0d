# SPDX-License-Identifier: BSD-2-Clause
"""Whatever a front end may say, right and wrong, as strategies of hypothesis."""

import os
import socket
from typing import Any

from hypothesis import strategies as st

from ringpass.dataplane import MemorySlot, vhost_features
from ringpass.vhostuser import messages as m
from ringpass.vhostuser.device import offered
from ringpass.vhostuser.messages import Feature, ProtocolFeature, Request
from tests.support.miniguest import ENTRIES, FEATURES, RING_BYTES, USER_ADDRESS
from tests.support.vhost import memfd
from tests.support.vhost_model import LOG_BYTES, PAIRS, RINGS, Area, Message

BYTES = RINGS * RING_BYTES
HALF = BYTES // 2

WHOLE = Area("whole", (0, BYTES, USER_ADDRESS, 0), frozenset(range(RINGS)))
LOW = Area("low", (0, HALF, USER_ADDRESS, 0), frozenset({0, 1}))
HIGH = Area("high", (HALF, HALF, USER_ADDRESS + HALF, HALF), frozenset({2, 3}))
OTHER = Area("other", (1 << 32, 0x2000, 0x2000, 0x1000))
EMPTY = Area("empty", (1 << 33, 0, 0x8000, 0), sound=False)
WRAPS = Area("wraps", (2**64 - 0x1000, 0x2000, 0x8000, 0), sound=False)
SHORT = Area("short", (1 << 34, BYTES, 1 << 34, 0x1000), mappable=False)
AREAS = (WHOLE, LOW, HIGH, OTHER, EMPTY, WRAPS, SHORT)
TABLES = ((), (WHOLE,), (LOW,), (HIGH,), (LOW, HIGH), (HIGH, LOW, OTHER), (WHOLE, OTHER))
BAD_TABLES = ((WHOLE, LOW), (LOW, LOW), (EMPTY,), (LOW, WRAPS), (LOW, SHORT))

ALL = offered(vhost_features(), PAIRS, ["csum"])
PACKED = Feature.RING_PACKED | Feature.IN_ORDER
MASKS: tuple[int, ...] = (
    FEATURES,
    FEATURES,
    FEATURES & ~Feature.PROTOCOL_FEATURES,
    FEATURES | Feature.INDIRECT_DESC | Feature.EVENT_IDX,
    FEATURES | Feature.LOG_ALL,
    FEATURES | Feature.LOG_ALL,
    Feature(0),
    Feature.CTRL_VQ,
    Feature(1 << 63),
)
PROTOCOL_MASKS: tuple[int, ...] = (
    0,
    ProtocolFeature.REPLY_ACK,
    ProtocolFeature.REPLY_ACK | ProtocolFeature.STATUS,
    ProtocolFeature.REPLY_ACK | ProtocolFeature.CONFIG,
    ProtocolFeature.REPLY_ACK | ProtocolFeature.LOG_SHMFD,
    ProtocolFeature.REPLY_ACK | ProtocolFeature.LOG_SHMFD,
    1 << 14,
    1 << 63,
)

#: The first covers all but the highest addresses, the second hardly any; the others are not there.
LOGS = [
    *3 * [m.LogArea(LOG_BYTES, 0)],
    m.LogArea(8, LOG_BYTES - 8),
    m.LogArea(0, 0),
    m.LogArea(LOG_BYTES, 1),
    m.LogArea(2**64 - 1, 2),
]

INDEX = st.sampled_from([*range(RINGS), *range(RINGS), RINGS, 255, 1 << 31])
FILE = st.sampled_from([*range(RINGS), *range(RINGS), 0x100, 0x101, RINGS, 255])
NUMBER = st.integers(0, 2**64 - 1)


def said(request: int, payload: st.SearchStrategy[Any], *fds: str) -> st.SearchStrategy[Message]:
    """Return messages with the descriptors `fds`, or sometimes with others."""
    wrong = st.sampled_from([(), ("eventfd",), ("null",), ("memory",), 9 * ("null",)])
    return st.builds(Message, st.just(request), payload, st.just(fds) | wrong)


def numbers(*values: int) -> st.SearchStrategy[m.Payload]:
    return st.builds(m.Number, st.sampled_from(values))


def states(*values: int) -> st.SearchStrategy[m.Payload]:
    return st.builds(m.VringState, INDEX, st.sampled_from(values))


@st.composite
def tables(draw: st.DrawFn) -> Message:
    areas = draw(st.sampled_from(TABLES) | st.sampled_from(TABLES + BAD_TABLES))
    kind = draw(st.sampled_from(["memory", "memory", "memory", "eventfd", "null"]))
    fds = (kind,) * (len(areas) + draw(st.sampled_from([0, 0, 0, 0, 1, -1])))
    rows = m.MemoryTable(tuple(MemorySlot(*area.slot) for area in areas))
    return Message(Request.SET_MEM_TABLE, rows, fds, areas, extra=draw(st.sampled_from([0, 0, 32])))


@st.composite
def rows(draw: st.DrawFn, request: Request) -> Message:
    area = draw(st.sampled_from(AREAS))
    row = m.MemoryRow(MemorySlot(*area.slot))
    fds = draw(st.sampled_from([("memory",), ("memory",), (), ("eventfd",), ("memory", "memory")]))
    return Message(request, row, fds, (area,))


@st.composite
def addresses(draw: st.DrawFn) -> Message:
    index = draw(INDEX)
    start = USER_ADDRESS + index % RINGS * RING_BYTES
    desc, avail, used = start, start + 2048, start + 4096
    kind = draw(st.sampled_from(["own"] * 5 + ["outside", "misaligned", "across"]))
    if kind == "outside":
        used += 1 << 40
    elif kind == "misaligned":
        avail += 1
    elif kind == "across":
        desc = USER_ADDRESS + BYTES - 16
    payload = m.VringAddress(index, 0, desc, used, avail, 0)
    return Message(Request.SET_VRING_ADDR, payload, addressed=kind == "own")


MESSAGES = st.one_of(
    said(Request.GET_FEATURES, st.just(m.Empty())),
    said(Request.SET_FEATURES, numbers(*MASKS)),
    said(Request.GET_PROTOCOL_FEATURES, st.just(m.Empty())),
    said(Request.SET_PROTOCOL_FEATURES, numbers(*PROTOCOL_MASKS)),
    said(Request.SET_OWNER, st.just(m.Empty())),
    said(Request.RESET_OWNER, st.just(m.Empty())),
    said(Request.RESET_DEVICE, st.just(m.Empty())),
    said(Request.GET_QUEUE_NUM, st.just(m.Empty())),
    said(Request.GET_MAX_MEM_SLOTS, st.just(m.Empty())),
    said(Request.GET_STATUS, st.just(m.Empty())),
    said(Request.SET_STATUS, numbers(0, 0xF)),
    said(Request.SEND_RARP, numbers(2, 0x020000000052)),
    said(Request.SET_LOG_BASE, st.sampled_from(LOGS), "log"),
    said(Request.SET_LOG_FD, st.just(m.Empty()), "eventfd"),
    said(Request.NET_SET_MTU, numbers(1500, 9000)),
    said(Request.SET_BACKEND_REQ_FD, st.just(m.Empty()), "socket"),
    said(Request.GET_CONFIG, st.just(m.ConfigSpace(2, 0, bytes(12)))),
    said(Request.SET_CONFIG, st.just(m.ConfigSpace(0, 0, bytes(6)))),
    said(Request.SET_VRING_NUM, states(ENTRIES, ENTRIES, 8, 0, 63, 65536)),
    said(Request.SET_VRING_BASE, states(0, 0, 1, 5, 0xFFFF, 0x10000, 0x80058005, 0x80008000)),
    said(Request.GET_VRING_BASE, states(0, 1)),
    said(Request.SET_VRING_ENABLE, states(1, 1, 0, 2)),
    said(Request.SET_VRING_KICK, st.builds(m.VringFile, FILE), "eventfd"),
    said(Request.SET_VRING_CALL, st.builds(m.VringFile, FILE), "socket"),
    said(Request.SET_VRING_ERR, st.builds(m.VringFile, FILE), "eventfd"),
    tables(),
    rows(Request.ADD_MEM_REG),
    rows(Request.REM_MEM_REG),
    addresses(),
    said(28, st.just(m.Empty())),
    said(4000, st.builds(m.Number, NUMBER)),
)


def descriptor(kind: str, memory_fd: int) -> int:
    """Return a new descriptor of a kind; `memory` is that of `memory_fd`."""
    match kind:
        case "memory":
            return os.dup(memory_fd)
        case "log":
            return memfd(LOG_BYTES)
        case "eventfd":
            return os.eventfd(0)
        case "socket":
            return socket.socket(socket.AF_UNIX).detach()
        case _:
            return os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
