# SPDX-License-Identifier: BSD-2-Clause
"""Flood a port, `... flood vale0:a`, or count what does: `... flood --receive vale0:b`.

The frames are those of the guest image's rp-flood, so either counts what the other sends. At the
end there is a line of JSON: frames, frames a second (pps), and what is missing by their numbers.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

import ringport

ETHERTYPE, NOT_OURS = 0x88B5, 0x88B6
HEADER_BYTES = 30
#: Where in a frame its number is.
NUMBER_AT = 14
#: What says that a frame is a sender's, and which one: gathered at once, as an aligned 16 bytes.
HEAD_AT = 8
HEAD = np.dtype(
    {"names": ["type", "number"], "formats": ["<u2", ">u8"], "offsets": [4, 6], "itemsize": 16}
)
#: The type in the order of the processor, which compares it without turning each.
OURS = int.from_bytes(ETHERTYPE.to_bytes(2), "little")
#: Frames of a batch, at most.
MOST = 1024


class Sender:
    """Sends numbered frames, all of one size, as many at a time as there is room for."""

    def __init__(self, port: ringport.Port, size: int, source: bytes, to: bytes) -> None:
        self.port = port
        self.ring = port.tx[0]
        #: Half of a ring is filled while the other side works on the other half.
        self.most = min(MOST, self.ring.num_slots // 2)
        self.size = size
        self.sent = 0
        head = to + source + ETHERTYPE.to_bytes(2)
        # Number 0; the length; stream 0; a payload of zeros, which does not vary.
        self.frame = np.frombuffer((head + bytes(8) + size.to_bytes(4)).ljust(size, b"\0"), "u1")
        self.numbers = np.arange(self.most, dtype=np.uint64)
        self.ring.batch(0)  # makes its arrays, which takes a while

    def step(self, most: int = MOST) -> int:
        """Send what there is room for, at most so many frames; return how many those were."""
        batch = self.ring.batch(min(most, self.most))
        count = len(batch)
        if count:
            # A slot keeps what it had, so that only the number is new: all have been filled once,
            # and none has got another buffer since, of which its flags would tell.
            if self.sent < self.ring.num_slots or batch.flags.any():
                batch.set_rows(self.frame)
                batch.lengths = self.size
                batch.flags = 0
            batch.set_field(NUMBER_AT, self.numbers[:count] + np.uint64(self.sent), ">u8")
            batch.advance()
            self.sent += count
        self.port.txsync()
        return count


class Receiver:
    """Counts frames of senders, by what they say of themselves, and gives them back."""

    def __init__(self, port: ringport.Port) -> None:
        self.port = port
        self.ring = port.rx[0]
        self.most = min(MOST, self.ring.num_slots // 2)
        self.frames = 0
        self.late = 0
        self.expected = 0
        self.ring.batch(0)

    def step(self) -> int:
        """Take what has come; return how many frames of senders that were."""
        self.port.rxsync()
        batch = self.ring.batch(self.most)
        if not len(batch):
            return 0
        heads = batch.field(HEAD_AT, HEAD)
        batch.advance()
        numbers = heads["number"].astype(np.int64)
        ours = heads["type"] == OURS
        if np.count_nonzero(ours) < len(ours):
            numbers = numbers[ours]
        if len(numbers):
            self._count(numbers)
        return len(numbers)

    def _count(self, numbers: npt.NDArray[np.int64]) -> None:
        late = int(np.count_nonzero(numbers[1:] <= numbers[:-1])) + int(numbers[0] < self.expected)
        last = numbers.max() if late else numbers[-1]
        self.late += late
        self.expected = max(self.expected, int(last) + 1)
        self.frames += len(numbers)


def send(port: ringport.Port, options: argparse.Namespace) -> dict[str, float]:
    """Send until `count` frames or `seconds` are over; return what was sent."""
    sender = Sender(port, options.size, address(options.src), address(options.dst))
    begun = time.monotonic()
    while time.monotonic() - begun < options.seconds and sender.sent < options.count:
        if not sender.step(options.count - sender.sent):
            port.wait_writable(timeout=0.1)
    seconds = time.monotonic() - begun
    drain(port)
    return {"frames": sender.sent, "pps": sender.sent / seconds}


def drain(port: ringport.Port) -> None:
    """Sync until what was sent has been taken, for a second at most: closing gives up the rest."""
    ring = port.tx[0]
    end = time.monotonic() + 1.0
    port.txsync()
    while len(ring) < ring.num_slots - 1 and time.monotonic() < end:
        time.sleep(0.001)
        port.txsync()


def announce(port: ringport.Port, source: bytes) -> None:
    """Let switches learn where `source` is: a full port that they flood holds no sender back."""
    port.tx[0].put((b"\xff" * 6 + source + NOT_OURS.to_bytes(2)).ljust(60, b"\0"))
    drain(port)


def address(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def receive(port: ringport.Port, options: argparse.Namespace) -> dict[str, float]:
    """Count frames until there are `count`, or none for `idle` seconds after the first."""
    receiver = Receiver(port)
    begun = time.monotonic()
    first = last = 0.0
    while receiver.frames < options.count:
        if receiver.step():
            last = time.monotonic()
            first = first or last
        elif not port.wait_readable(timeout=options.idle) and (
            first or time.monotonic() - begun > options.seconds
        ):
            break
    seconds = last - first
    return {
        "frames": receiver.frames,
        "pps": receiver.frames / seconds if seconds else 0.0,
        "missing": receiver.expected - receiver.frames,
        "late": receiver.late,
    }


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Send numbered frames, or count them.")
    parser.add_argument("port", help="vale0:a, netmap:rp0, netmap:rp0{1, ...")
    parser.add_argument("--receive", action="store_true", help="count instead of sending")
    parser.add_argument("--size", type=int, default=60, help="bytes of a frame (60)")
    parser.add_argument("--seconds", type=float, default=60.0, help="at most so long (60)")
    parser.add_argument("--count", type=int, default=sys.maxsize, help="at most so many frames")
    parser.add_argument("--src", default="02:00:00:00:00:01", help="own MAC address")
    parser.add_argument("--announce", action="store_true", help="let switches learn --src first")
    parser.add_argument("--dst", default="ff:ff:ff:ff:ff:ff", help="destination's MAC address")
    parser.add_argument("--idle", type=float, default=1.0, help="end so long after the last (1)")
    parser.add_argument(
        "--background", help="return when it counts, and write this file at the end"
    )
    options = parser.parse_args(argv)
    if not HEADER_BYTES <= options.size <= 2048:
        parser.error(f"frames have {HEADER_BYTES} to 2048 bytes")
    return options


def go_to_background() -> None:
    """Go on in a child; the parent ends, which tells the caller that the port is open."""
    if os.fork():
        os._exit(0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)


def main() -> None:
    options = parse(sys.argv[1:])
    with ringport.open(options.port) as port:
        if options.receive and options.announce:
            announce(port, address(options.src))
        if options.background:
            go_to_background()
        elif options.receive:
            print(f"counting on {port.name}", file=sys.stderr)
        result = json.dumps(receive(port, options) if options.receive else send(port, options))
    if options.background:
        partial = Path(f"{options.background}.partial")
        partial.write_text(result)
        partial.rename(options.background)
    else:
        print(result)


if __name__ == "__main__":
    main()
