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

SIZE = 98


def main() -> None:
    name, count = sys.argv[1], int(sys.argv[2])
    here, there = (frame.Address(bytes([2, 0, 0, 0, 0, n]), bytes(4), 7) for n in (1, 2))
    with Interrupt() as interrupt, opened(name) as port:
        pinger = Pinger(port, frame.build(SIZE, here, there, stream=1), count, 0)
        run(pinger, interrupt, report_s=0, talk=lambda _: None)
    sys.stdout.write(json.dumps([ns / 1e3 for ns in pinger.rtt_ns]))


if __name__ == "__main__":
    main()
