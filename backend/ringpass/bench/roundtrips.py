# SPDX-License-Identifier: BSD-2-Clause
"""`python -m ringpass.bench.roundtrips PORT COUNT`: ask on a port, print how long answers took.

Whoever returns frames unchanged is an answerer: `ringpass pktgen -f pong`. Prints microseconds, as
a list of JSON.
"""

import json
import sys

from ringpass.interrupt import Interrupt
from ringpass.pktgen import frame
from ringpass.pktgen.roles import Pinger
from ringpass.pktgen.run import run
from ringpass.ports import opened
from ringport import Port

SIZE = 98
TRIES = 40


def main() -> None:
    name, count = sys.argv[1], int(sys.argv[2])
    here, there = (frame.Address(bytes([2, 0, 0, 0, 0, n]), bytes(4), 7) for n in (1, 2))
    template = frame.build(SIZE, here, there, stream=1)

    def ask(port: Port, frames: int) -> list[int]:
        pinger = Pinger(port, template, frames, 0)
        run(pinger, interrupt, report_s=0, talk=lambda _: None)
        return pinger.rtt_ns

    with Interrupt() as interrupt, opened(name) as port:
        for _ in range(TRIES):  # what answers may still be starting
            if ask(port, 1):
                break
        times = ask(port, count)
    sys.stdout.write(json.dumps([ns / 1e3 for ns in times]))


if __name__ == "__main__":
    main()
