# SPDX-License-Identifier: BSD-2-Clause
"""Count what a port receives, by Ethernet type: `python -m ringport.examples.counter vale0:a`."""

import sys
import time
from collections import Counter

import numpy as np

import ringport


def count(port: ringport.Port, seen: Counter[int]) -> None:
    """Take all frames that `port` has, and add them to `seen`: Ethernet type -> frames."""
    for ring in port.rx:
        batch = ring.batch()
        types, frames = np.unique(batch.field(12, ">u2")[batch.first], return_counts=True)
        seen.update(dict(zip(types.tolist(), frames.tolist(), strict=True)))
        batch.advance()


def main() -> None:
    seen: Counter[int] = Counter()
    with ringport.open(sys.argv[1]) as port:
        until = time.monotonic() + 1
        while True:
            if port.wait_readable(max(until - time.monotonic(), 0)):
                count(port, seen)
            if time.monotonic() >= until:
                until += 1
                rates = (f"{kind:#06x}: {frames}/s" for kind, frames in seen.most_common())
                print(*rates, sep="  ", flush=True)
                seen.clear()


if __name__ == "__main__":
    main()
