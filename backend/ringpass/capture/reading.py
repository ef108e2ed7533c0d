# SPDX-License-Identifier: BSD-2-Clause
"""The packets of a capture file, pcap (dpkt reads it) or pcapng (python-pcapng does)."""

import struct
from collections.abc import Iterator
from io import BufferedReader
from typing import NamedTuple

import dpkt
import pcapng
from pcapng.blocks import EnhancedPacket, ObsoletePacket, SimplePacket
from pcapng.exceptions import PcapngException

from ringpass.errors import RingpassError

SECTION_HEADER = b"\x0a\x0d\x0d\x0a"
ETHERNET = 1


class Packet(NamedTuple):
    """A frame of a file: when it passed, nanoseconds since 1970, and its bytes."""

    time_ns: int
    frame: bytes


def read_packets(stream: BufferedReader, name: str) -> Iterator[Packet]:
    """Yield the Ethernet frames of the capture file at `stream`, which may be a pipe.

    Raises RingpassError for what is no such file, is damaged, or is not of Ethernet.
    """
    packets = _pcapng(stream, name) if stream.peek(4)[:4] == SECTION_HEADER else _pcap(stream, name)
    try:
        yield from packets
    except (ValueError, LookupError, EOFError, struct.error, PcapngException, dpkt.Error) as error:
        found = f"{type(error).__name__} {error}".rstrip()
        raise RingpassError(
            f"cannot read {name}",
            f"it is no pcap or pcapng file, or it is damaged: {found}",
            "look at it with capinfos",
        ) from None


def _pcap(stream: BufferedReader, name: str) -> Iterator[Packet]:
    reader = dpkt.pcap.Reader(stream)
    _check_ethernet(reader.datalink(), name)
    for seconds, frame in reader:
        yield Packet(int(seconds * 1_000_000_000), frame)


def _pcapng(stream: BufferedReader, name: str) -> Iterator[Packet]:
    for block in pcapng.FileScanner(stream):
        if not isinstance(block, EnhancedPacket | ObsoletePacket | SimplePacket):
            continue
        _check_ethernet(block.interface.link_type, name)
        yield Packet(_time_ns(block), bytes(block.packet_data))


def _time_ns(block: "EnhancedPacket | ObsoletePacket | SimplePacket") -> int:
    """Return the time of a packet; all of those without one passed at once."""
    if isinstance(block, SimplePacket):
        return 0
    ticks = int(block.timestamp_high << 32 | block.timestamp_low)
    return ticks * 1_000_000_000 // round(1 / float(block.interface.timestamp_resolution))


def _check_ethernet(link_type: int, name: str) -> None:
    if link_type != ETHERNET:
        raise RingpassError(
            f"cannot replay {name}",
            f"its link type is {link_type}, and ports carry Ethernet frames (1)",
        )
