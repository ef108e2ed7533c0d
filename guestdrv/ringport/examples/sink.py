# SPDX-License-Identifier: BSD-2-Clause
"""Receive what `generator` sends, and say what is missing: `... sink vale0:b 1000000`."""

import asyncio
import sys

import numpy as np

import ringport


def receive(port: ringport.Port, expected: int) -> tuple[int, int]:
    """Take all frames; return how many there were, and which number is expected next."""
    batch = port.rx[0].batch()
    numbers = batch.field(14, ">u8")
    if len(batch):
        if (np.diff(numbers.astype(np.int64)) <= 0).any() or numbers[0] < expected:
            raise SystemExit("frames arrived out of order")
        expected = int(numbers[-1]) + 1
    batch.advance()
    return len(batch), expected


async def drain(port: ringport.Port, total: int) -> int:
    """Receive until the frame number `total` - 1 is there; return how many were lost."""
    frames = expected = 0
    while expected < total:
        await port.readable()
        got, expected = receive(port, expected)
        frames += got
    return expected - frames


async def main() -> None:
    with ringport.open(sys.argv[1]) as port:
        print(f"{await drain(port, int(sys.argv[2]))} frames lost")


if __name__ == "__main__":
    asyncio.run(main())
