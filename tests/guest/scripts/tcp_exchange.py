# SPDX-License-Identifier: BSD-2-Clause
"""Exchanges known bytes over TCP, both ways at once, and checks each. Runs in a guest.

python3 tcp_exchange.py serve|connect ADDRESS BYTES
"""

import random
import socket
import sys
import threading

PORT = 5001


def main() -> None:
    role, address, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    mine, theirs = (random.Random(seed).randbytes(size) for seed in seeds(role))
    with connection(role, address) as connected:
        sender = threading.Thread(target=send, args=(connected, mine))
        sender.start()
        got = receive(connected)
        sender.join()
    if got != theirs:
        right = next(
            (i for i, (a, b) in enumerate(zip(got, theirs, strict=False)) if a != b), "all"
        )
        sys.exit(f"{len(got)} bytes came, {size} were sent; the first {right} are right")


def seeds(role: str) -> tuple[int, int]:
    return (1, 2) if role == "serve" else (2, 1)


def connection(role: str, address: str) -> socket.socket:
    if role == "connect":
        return socket.create_connection((address, PORT), timeout=30)
    with socket.create_server((address, PORT)) as server:
        server.settimeout(30)
        connected, _ = server.accept()
        connected.settimeout(30)
        return connected


def send(connected: socket.socket, data: bytes) -> None:
    connected.sendall(data)
    connected.shutdown(socket.SHUT_WR)


def receive(connected: socket.socket) -> bytes:
    got = bytearray()
    while part := connected.recv(1 << 18):
        got += part
    return bytes(got)


if __name__ == "__main__":
    main()
