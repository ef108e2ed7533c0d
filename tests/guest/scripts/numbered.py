# SPDX-License-Identifier: BSD-2-Clause
"""Numbered frames of Ethernet type 0x88b6, each of whose bytes follows from its number.

send INTERFACE MAC RATE    send until a signal comes; print how many
hoard INTERFACE            leave what comes in the kernel's memory, where the network card put
                           it; at a signal look at each byte of it, and print what was found
listen INTERFACE           until a signal comes; print how often a station was announced
"""

import json
import random
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable

TYPE = 0x88B6
RARP, ARP = 0x8035, 0x0806
SIZE = 1400
SO_RCVBUFFORCE = 33
HOARD_BYTES = 96 << 20

told = False


def tell(*_: object) -> None:
    global told
    told = True


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def payload(number: int) -> bytes:
    return struct.pack(">Q", number) + random.Random(number).randbytes(SIZE)


def opened(interface: str, kind: int) -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind))
    raw.bind((interface, kind))
    return raw


def send(interface: str, mac: str, rate: str) -> dict[str, int]:
    raw = opened(interface, TYPE)
    head = bytes.fromhex(mac.replace(":", "")) + raw.getsockname()[4] + TYPE.to_bytes(2, "big")
    sent, began = 0, time.monotonic()
    while not told:
        raw.send(head + payload(sent))
        sent += 1
        time.sleep(max(0.0, began + sent / float(rate) - time.monotonic()))
    return {"sent": sent}


def hoard(interface: str) -> dict[str, int]:
    raw = opened(interface, TYPE)
    raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, HOARD_BYTES)
    say("hoarding")
    while not told:
        signal.pause()
    raw.setblocking(False)
    found = {"frames": 0, "duplicates": 0, "late": 0, "corrupt": 0, "longest_gap": 0}
    seen: set[int] = set()
    last = -1
    while True:
        try:
            frame = raw.recv(2048)
        except BlockingIOError:
            return found
        number = int.from_bytes(frame[14:22], "big")
        found["frames"] += 1
        if number > 1 << 30 or frame[14:] != payload(number):
            found["corrupt"] += 1
            continue
        found["duplicates"] += number in seen
        found["late"] += number < last
        found["longest_gap"] = max(found["longest_gap"], number - last - 1)
        seen.add(number)
        last = max(last, number)


def listen(interface: str) -> dict[str, int]:
    raw = opened(interface, 3)  # every type
    raw.settimeout(0.1)
    say("listening")
    found = {"rarp": 0, "gratuitous_arp": 0}
    while not told:
        try:
            frame = raw.recv(2048)
        except TimeoutError:
            continue
        kind = int.from_bytes(frame[12:14], "big")
        found["rarp"] += kind == RARP
        found["gratuitous_arp"] += kind == ARP and frame[28:32] == frame[38:42]
    return found


signal.signal(signal.SIGTERM, tell)
COMMANDS: dict[str, Callable[..., dict[str, int]]] = {
    "send": send,
    "hoard": hoard,
    "listen": listen,
}
say(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])))
