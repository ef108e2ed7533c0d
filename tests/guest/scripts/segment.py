# SPDX-License-Identifier: BSD-2-Clause
"""Sends TCP segments for the network card to cut up, or receives one uncut. Runs in a guest.

    python3 segment.py send INTERFACE MAC BYTES COUNT
    python3 segment.py receive INTERFACE BYTES

BYTES are those of the Ethernet frame. The receiver ends when one has come whole and right.
"""

import random
import socket
import struct
import sys

SOL_PACKET = 263
PACKET_VNET_HDR = 15
ETH_P_IP = 0x0800

#: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset of struct virtio_net_hdr
VNET = struct.Struct("=BBHHHH")
NEEDS_CSUM, GSO_TCPV4 = 1, 1
HEADERS = 14 + 20 + 20
SEGMENT = 1448

# Addresses for documentation: no stack answers them.
SOURCE, TARGET = socket.inet_aton("192.0.2.1"), socket.inet_aton("192.0.2.2")


def main() -> None:
    if sys.argv[1] == "send":
        interface, mac, size, count = sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
        with packet_socket(interface) as sock:
            for _ in range(count):
                send(sock, mac, size)
    else:
        interface, size = sys.argv[2], int(sys.argv[3])
        with packet_socket(interface) as sock:
            sock.settimeout(60)
            sys.stdout.write("listening\n")
            sys.stdout.flush()
            receive(sock, size)


def packet_socket(interface: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.bind((interface, ETH_P_IP))
    return sock


def send(sock: socket.socket, mac: str, size: int) -> None:
    own = sock.getsockname()[4]
    sock.send(vnet() + frame(bytes.fromhex(mac.replace(":", "")), own, size))


def receive(sock: socket.socket, size: int) -> None:
    wanted = payload(size)
    while True:
        data = sock.recv(1 << 17)
        _flags, gso_type, _hdr_len, gso_size, _start, _offset = VNET.unpack_from(data)
        if data[VNET.size :][26:30] != SOURCE:
            continue  # somebody else's
        if len(data) != VNET.size + size or (gso_type, gso_size) != (GSO_TCPV4, SEGMENT):
            sys.exit(f"{len(data) - VNET.size} bytes came, of gso type {gso_type} size {gso_size}")
        if data[VNET.size + HEADERS :] != wanted:
            sys.exit("its payload is wrong")
        return


def vnet() -> bytes:
    return VNET.pack(NEEDS_CSUM, GSO_TCPV4, HEADERS, SEGMENT, 34, 16)


def frame(target: bytes, own: bytes, size: int) -> bytes:
    length = size - 14
    ip = struct.pack(">BBHHHBBH", 0x45, 0, length, 1, 0x4000, 64, 6, 0) + SOURCE + TARGET
    checksum = struct.pack(">H", ones_complement(ip))
    ip = ip[:10] + checksum + ip[12:]
    pseudo = ones_complement(SOURCE + TARGET + struct.pack(">HH", 6, length - 20)) ^ 0xFFFF
    tcp = struct.pack(">HHIIBBHHH", 9, 9, 1, 1, 0x50, 0x10, 65535, pseudo, 0)
    return target + own + struct.pack(">H", ETH_P_IP) + ip + tcp + payload(size)


def payload(size: int) -> bytes:
    return random.Random(size).randbytes(size - HEADERS)


def ones_complement(header: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


if __name__ == "__main__":
    main()
