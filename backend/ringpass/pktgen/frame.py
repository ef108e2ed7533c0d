# SPDX-License-Identifier: BSD-2-Clause
"""The frames of pktgen: UDP over IPv4, with a sequence number in front of the payload.

    0        14     34    42        46         50         58
    | Ethernet | IPv4 | UDP | "ring" | stream id | sequence | zeros ...

The number makes UDP's checksum a matter of each frame: it is left out (0), as IPv4 allows.
"""

import ipaddress
import re
import struct
from typing import NamedTuple

from ringpass.errors import ConfigError

MAGIC = 0x72696E67  # "ring"
MAGIC_AT, STREAM_AT, SEQUENCE_AT = 42, 46, 50
MIN_CHECKED = 58
"""Bytes of the shortest frame that has a sequence number."""
MIN_FRAME, MAX_FRAME = 14, 65535
_UDP = 17


class Address(NamedTuple):
    """A station: `mac` and `ip` in network order, `port` of UDP."""

    mac: bytes
    ip: bytes
    port: int


def parse_mac(text: str) -> bytes:
    """Return the six bytes of `text`, such as 02:00:00:00:00:01. Raises ConfigError."""
    if not re.fullmatch("[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}", text):
        raise ConfigError(f"{text!r} is no MAC address", "it is not six hexadecimal bytes",
                          "write one such as 02:00:00:00:00:01")  # fmt: skip
    return bytes(int(byte, 16) for byte in text.split(":"))


def parse_ip(text: str) -> tuple[bytes, int]:
    """Return address and port of `text`, such as 10.0.0.1:7; the port may be left out (1234)."""
    host, colon, port = text.partition(":")
    try:
        number = int(port) if colon else 1234
        packed = ipaddress.IPv4Address(host).packed
        if not 0 <= number <= 0xFFFF:
            raise ValueError(f"{number} is no port")
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no address", str(error), "write one such as 10.0.0.1 or 10.0.0.1:7"
        ) from None
    return packed, number


def build(size: int, source: Address, to: Address, stream: int) -> bytes:
    """Return a frame of `size` bytes with sequence number 0; a shorter one is cut off."""
    udp_bytes = max(size, MIN_CHECKED) - 34
    udp = struct.pack(">HHHH", source.port, to.port, udp_bytes, 0)
    fields = (0x45, 0, 20 + udp_bytes, 0, 0x4000, 64, _UDP)
    head = struct.pack(">BBHHHBB", *fields)
    addresses = source.ip + to.ip
    words = struct.unpack(">9H", head + addresses)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    ip = head + struct.pack(">H", checksum) + addresses
    mark = struct.pack(">IIQ", MAGIC, stream, 0)
    frame = to.mac + source.mac + b"\x08\0" + ip + udp + mark
    return frame.ljust(size, b"\0")[:size]
