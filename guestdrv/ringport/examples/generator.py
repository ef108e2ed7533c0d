# SPDX-License-Identifier: BSD-2-Clause
"""Send frames with growing numbers, as fast as they go. `sink` checks that they all arrive."""

import time

import ringport
from ringport.examples import program

HEADER = bytes.fromhex("ffffffffffff 020000000001 88b5")
NUMBER_AT = 14
MOST = 512


def generate(
    port: ringport.Port, first: int, frames: int, size: int = 60, by_slots: bool = False
) -> int:
    """Send frames numbered from `first` on, at most `frames`; return how many."""
    ring = port.tx[0]
    count = min(frames, MOST, ring.space)
    if by_slots:
        for number in range(first, first + count):
            ring.put((HEADER + number.to_bytes(8)).ljust(size, b"\0"))
    else:
        batch = ring.batch(count)
        batch.set_rows(list(HEADER.ljust(size, b"\0")))
        batch.set_field(NUMBER_AT, range(first, first + count), ">u8")
        batch.lengths = size
        batch.flags = 0
        batch.advance()
    port.txsync()
    return count


def drain(port: ringport.Port, seconds: float = 1.0) -> None:
    """Wait until the other side has taken all, at most so long: closing gives up the rest."""
    ring = port.tx[0]
    end = time.monotonic() + seconds
    while ring.space < ring.num_slots - 1 and time.monotonic() < end:
        time.sleep(0.001)
        port.txsync()


def main() -> None:
    parser = program.parser("generator", __doc__)
    parser.add_argument("port", help=program.PORT_HELP)
    parser.add_argument("frames", type=int, help="how many")
    parser.add_argument("--size", type=int, default=60, help="bytes of a frame (60)")
    options = parser.parse_args()
    if not NUMBER_AT + 8 <= options.size <= 2048:
        parser.error(f"frames have {NUMBER_AT + 8} to 2048 bytes")
    with ringport.open(options.port) as port:
        sent = 0
        while sent < options.frames:
            port.wait_writable()
            sent += generate(port, sent, options.frames - sent, options.size, options.slots)
        drain(port)


if __name__ == "__main__":
    program.run(main)
