# SPDX-License-Identifier: BSD-2-Clause
"""Be a host: answer ARP and ping, `responder vale0:me 10.0.0.9`.

Nothing but the standard library, and no copy: each request becomes its answer where it lies.
"""

import argparse
import socket

import ringport
from ringport.examples import program

MAC = bytes.fromhex("020000000009")
ARP, IPV4 = b"\x08\x06", b"\x08\x00"
ARP_REQUEST, ARP_REPLY = b"\0\1", b"\0\2"
ICMP, ECHO_REQUEST, ECHO_REPLY = 1, 8, 0


def answer(frame: memoryview, address: bytes) -> bool:
    """Make `frame` the answer of the host `address`; return False if it gives none."""
    kind = frame[12:14]
    if kind == ARP and len(frame) >= 42:
        if frame[20:22] != ARP_REQUEST or frame[38:42] != address:
            return False
        frame[20:22] = ARP_REPLY
        frame[32:42] = bytes(frame[22:32])  # to whom asked
        frame[22:32] = MAC + address
    elif kind == IPV4 and len(frame) >= 42 and frame[14] == 0x45 and frame[23] == ICMP:
        if frame[34] != ECHO_REQUEST or frame[30:34] != address:
            return False
        frame[34] = ECHO_REPLY
        frame[30:34], frame[26:30] = bytes(frame[26:30]), address
        # The type fell by 8 in a high byte, so its checksum, a complement, rises as much.
        checksum = int.from_bytes(frame[36:38]) + (ECHO_REQUEST << 8)
        frame[36:38] = ((checksum & 0xFFFF) + (checksum >> 16)).to_bytes(2)
    else:
        return False
    frame[:6] = bytes(frame[6:12])
    frame[6:12] = MAC
    return True


def respond(port: ringport.Port, address: bytes) -> int:
    """Answer what `port` has received, as far as there is room; return how many frames."""
    rx, tx = port.rx[0], port.tx[0]
    answers = 0
    while len(rx) and len(tx):
        asked = rx[0]
        if not asked.more and answer(asked.data, address):
            free = tx[0]
            free.swap(asked)
            free.len, free.flags = asked.len, asked.flags
            tx.advance()
            answers += 1
        rx.advance()
    port.txsync()
    return answers


def ipv4(text: str) -> bytes:
    """Return the four bytes of an address. Raises ArgumentTypeError."""
    try:
        return socket.inet_aton(text)
    except OSError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IPv4 address") from None


def main() -> None:
    parser = program.parser("responder", __doc__, batches=False)
    parser.add_argument("port", help=program.PORT_HELP)
    parser.add_argument("address", type=ipv4, help="the IPv4 address of the host to be")
    options = parser.parse_args()
    with ringport.open(options.port) as port:
        while True:
            port.wait_readable()
            port.wait_writable()
            respond(port, options.address)


if __name__ == "__main__":
    program.run(main)
