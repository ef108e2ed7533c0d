# SPDX-License-Identifier: BSD-2-Clause
"""TCP and UDP packets behind every header that an offload must see through."""

import struct
from dataclasses import dataclass, replace

TCP, UDP = 6, 17
HOP_BY_HOP, ROUTING, DESTINATION = 0, 43, 60
FIN, SYN, PSH, ACK, CWR = 0x01, 0x02, 0x08, 0x10, 0x80

NEEDS_CSUM = 1
GSO_TCPV4, GSO_TCPV6, GSO_ECN = 1, 4, 0x80

#: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset of struct virtio_net_hdr
VNET_HEADER = struct.Struct("<BBHHHH")


@dataclass(frozen=True)
class Packet:
    """A packet as a driver hands it on: the sum of the pseudo-header where the checksum belongs."""

    payload: bytes = b""
    vlans: tuple[int, ...] = ()
    """The types of the tags, the outermost first."""
    ipv6: bool = False
    options: bytes = b""
    """Of IPv4: a multiple of 4 bytes, 40 at most."""
    extensions: tuple[tuple[int, int], ...] = ()
    """Of IPv6: header number, and how many times 8 bytes it has."""
    udp: bool = False
    tcp_options: bytes = b""
    flags: int = ACK
    ident: int = 0
    seq: int = 0
    source: str = "02000000000a"
    destination: str = "02000000000b"

    def frame(self) -> bytes:
        """Return the Ethernet frame."""
        l4 = self._udp() if self.udp else self._tcp()
        packet = self._ipv6(l4) if self.ipv6 else self._ipv4(l4)
        tags = b"".join(struct.pack(">HH", kind, 0x2007 + kind % 99) for kind in self.vlans)
        kind = 0x86DD if self.ipv6 else 0x0800
        addresses = bytes.fromhex(self.destination + self.source)
        return addresses + tags + struct.pack(">H", kind) + packet

    def vnet(self, gso_size: int = 0) -> bytes:
        """Return the virtio-net header that asks for its checksum, and for segments if not 0."""
        kind = 0
        if gso_size:
            kind = GSO_TCPV6 if self.ipv6 else GSO_TCPV4
            kind |= GSO_ECN if self.flags & CWR else 0
        offset = 6 if self.udp else 16
        return VNET_HEADER.pack(NEEDS_CSUM, kind, self.headers, gso_size, self.l4, offset)

    @property
    def ip(self) -> int:
        """Where the IP header begins."""
        return 14 + 4 * len(self.vlans)

    @property
    def l4(self) -> int:
        """Where the TCP or UDP header begins."""
        if self.ipv6:
            return self.ip + 40 + 8 * sum(size for _, size in self.extensions)
        return self.ip + 20 + len(self.options)

    @property
    def headers(self) -> int:
        """How many bytes all headers have."""
        return self.l4 + (8 if self.udp else 20 + len(self.tcp_options))

    def of(self, payload: int) -> "Packet":
        """Return this packet with `payload` bytes that are not all the same."""
        return replace(self, payload=bytes((at * 7 + at // 251) & 0xFF for at in range(payload)))

    def _tcp(self) -> bytes:
        offset = (20 + len(self.tcp_options)) // 4 << 4
        numbers = (40000, 5001, self.seq, 0x01020304, offset, self.flags, 501)
        length = 20 + len(self.tcp_options) + len(self.payload)
        header = struct.pack(">HHIIBBHHH", *numbers, self._pseudo_sum(TCP, length), 0)
        return header + self.tcp_options + self.payload

    def _udp(self) -> bytes:
        length = 8 + len(self.payload)
        header = struct.pack(">HHHH", 40000, 5001, length, self._pseudo_sum(UDP, length))
        return header + self.payload

    def _ipv4(self, l4: bytes) -> bytes:
        size = 20 + len(self.options)
        fields = (0x40 | size // 4, 0, size + len(l4), self.ident, 0x4000, 64, self._protocol, 0)
        header = struct.pack(">BBHHHBBH", *fields) + self._addresses + self.options
        return header[:10] + struct.pack(">H", 0xFFFF ^ ones_sum(header)) + header[12:] + l4

    def _ipv6(self, l4: bytes) -> bytes:
        chain = [number for number, _ in self.extensions] + [self._protocol]
        rest = b""
        for (number, size), following in zip(self.extensions, chain[1:], strict=True):
            # A routing header of an experimental type, all segments done; else padding.
            body = b"\xfd\0" + bytes(4) if number == ROUTING else b"\x01\x04" + bytes(4)
            rest += bytes([following, size - 1]) + body + bytes(8 * (size - 1))
        length = len(rest) + len(l4)
        header = struct.pack(">IHBB", 6 << 28, length, chain[0], 64)
        return header + self._addresses + rest + l4

    @property
    def _protocol(self) -> int:
        return UDP if self.udp else TCP

    @property
    def _addresses(self) -> bytes:
        if self.ipv6:
            return b"".join(bytes.fromhex("fd") + bytes(14) + bytes([host]) for host in (10, 11))
        return bytes([10, 9, 0, 10, 10, 9, 0, 11])

    def _pseudo_sum(self, protocol: int, length: int) -> int:
        return ones_sum(self._addresses + struct.pack(">II", length, protocol))


def ones_sum(data: bytes) -> int:
    """Return the ones' complement sum of the 16-bit words of `data`."""
    words = struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total = sum(words)
    return (total - 1) % 0xFFFF + 1 if total else 0
