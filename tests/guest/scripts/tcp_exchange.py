# SPDX-License-Identifier: BSD-2-Clause
"""Exchanges known bytes over TCP, both ways at once, and checks each. Runs in a guest.

    python3 tcp_exchange.py serve|connect ADDRESS BYTES [INTERFACE MAC SEGMENT]

With the last three a segment of SEGMENT bytes is sent each way then, beside the connection, to the
other guest's MAC address. It must arrive in one piece: see segment.py.
"""

import random
import socket
import sys
import threading

import segment  # type: ignore[import-not-found]  # lies beside this in the guest

PORT = 5001
TIMEOUT_S = 60
READY = b"r"


def main() -> None:
    role, address, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    mine, theirs = (random.Random(seed).randbytes(size) for seed in seeds(role))
    with connection(role, address) as connected:
        sender = threading.Thread(target=connected.sendall, args=(mine,))
        sender.start()
        got = receive(connected, size)
        sender.join()
        check(got, theirs)
        if len(sys.argv) > 4:
            exchange_segments(connected, role, sys.argv[4], sys.argv[5], int(sys.argv[6]))
        connected.shutdown(socket.SHUT_WR)
        if connected.recv(1):
            sys.exit("more bytes came than were sent")


def seeds(role: str) -> tuple[int, int]:
    return (1, 2) if role == "serve" else (2, 1)


def connection(role: str, address: str) -> socket.socket:
    if role == "connect":
        return socket.create_connection((address, PORT), timeout=TIMEOUT_S)
    with socket.create_server((address, PORT)) as server:
        server.settimeout(TIMEOUT_S)
        connected, _ = server.accept()
        connected.settimeout(TIMEOUT_S)
        return connected


def receive(connected: socket.socket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size and (part := connected.recv(min(size - len(got), 1 << 18))):
        got += part
    return bytes(got)


def check(got: bytes, sent: bytes) -> None:
    if got != sent:
        right = next((i for i, (a, b) in enumerate(zip(got, sent, strict=False)) if a != b), "all")
        sys.exit(f"{len(got)} bytes came, {len(sent)} were sent; the first {right} are right")


def exchange_segments(
    connected: socket.socket, role: str, interface: str, mac: str, size: int
) -> None:
    for sender in ("serve", "connect"):
        with segment.packet_socket(interface) as sock:
            if role != sender:
                sock.settimeout(TIMEOUT_S)
                connected.sendall(READY)
                segment.receive(sock, size)
            elif connected.recv(1) == READY:
                segment.send(sock, mac, size)
            else:
                sys.exit("the other guest has given up")


if __name__ == "__main__":
    main()
