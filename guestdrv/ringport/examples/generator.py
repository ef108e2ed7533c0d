# SPDX-License-Identifier: BSD-2-Clause
"""Send frames with growing numbers, as fast as they go: `... generator vale0:a 1000000`.

`python -m ringport.examples.sink` at another port checks that they all arrive.
"""

import sys

import numpy as np

import ringport

HEADER = bytes.fromhex("ffffffffffff 020000000001 88b5")


def generate(port: ringport.Port, first: int, frames: int) -> int:
    """Send frames of 60 bytes, numbered from `first` on, at most `frames`; return how many."""
    batch = port.tx[0].batch(min(frames, 512))
    batch.set_rows(np.frombuffer(HEADER.ljust(60, b"\0"), np.uint8))
    batch.set_field(14, np.arange(first, first + len(batch)), ">u8")
    batch.lengths = 60
    batch.flags = 0
    batch.advance()
    port.txsync()
    return len(batch)


def main() -> None:
    total = int(sys.argv[2])
    with ringport.open(sys.argv[1]) as port:
        sent = 0
        while sent < total:
            port.wait_writable()
            sent += generate(port, sent, total - sent)


if __name__ == "__main__":
    main()
