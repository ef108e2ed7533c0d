# SPDX-License-Identifier: BSD-2-Clause
"""Count what a port receives, by Ethernet type, and print it every so often."""

import time
from collections import Counter

import ringport
from ringport.examples import program


def count(port: ringport.Port, seen: Counter[int], by_slots: bool = False) -> None:
    """Take all frames that `port` has, and add them to `seen`: Ethernet type -> frames."""
    for ring in port.rx:
        if by_slots:
            while (frame := ring.get()) is not None:
                seen[int.from_bytes(frame[12:14])] += 1
        else:
            batch = ring.batch()
            seen.update(batch.field(12, ">u2")[batch.first].tolist())
            batch.advance()


def main() -> None:
    parser = program.parser("counter", __doc__)
    parser.add_argument("port", help=program.PORT_HELP)
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between lines (1)")
    parser.add_argument("--lines", type=int, default=0, help="end after so many (0: never)")
    options = parser.parse_args()
    seen: Counter[int] = Counter()
    lines = 0
    with ringport.open(options.port) as port:
        until = time.monotonic() + options.interval
        while not lines or lines < options.lines:
            if port.wait_readable(max(until - time.monotonic(), 0)):
                count(port, seen, options.slots)
            if time.monotonic() >= until:
                until += options.interval
                lines += 1 if options.lines else 0
                rates = (
                    f"{kind:#06x}: {frames / options.interval:.0f}/s"
                    for kind, frames in seen.most_common()
                )
                print(*rates, sep="  ", flush=True)
                seen.clear()


if __name__ == "__main__":
    program.run(main)
