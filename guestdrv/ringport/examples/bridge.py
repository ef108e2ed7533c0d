# SPDX-License-Identifier: BSD-2-Clause
"""Join two ports: what one receives the other sends.

Without a copy, where both are in one region: `bridge 'vale0:x}1' 'vale0:x{2'`.
"""

import ringport
from ringport.examples import program
from ringport.slots import forward


def hand_on(source: ringport.Port, sink: ringport.Port, by_slots: bool = False) -> int:
    """Send by `sink` what `source` has received; return how many slots that were."""
    source.rxsync()
    done = 0
    for number, ring in enumerate(source.rx):
        to = sink.tx[number % len(sink.tx)]
        done += forward(ring, to) if by_slots else ringport.forward(ring, to)
    sink.txsync()
    return done


def waiting(port: ringport.Port) -> bool:
    """Tell whether frames wait in the rx rings of `port` for room elsewhere."""
    return any(len(ring) for ring in port.rx)


def main() -> None:
    parser = program.parser("bridge", __doc__)
    parser.add_argument("one", help=program.PORT_HELP)
    parser.add_argument("other", help="another port")
    options = parser.parse_args()
    with ringport.open(options.one) as one, ringport.open(options.other) as other:
        while True:
            done = hand_on(one, other, options.slots) + hand_on(other, one, options.slots)
            if not done:
                full = [port for port, peer in ((one, other), (other, one)) if waiting(peer)]
                ringport.wait(readable=[one, other] if not full else [], writable=full)


if __name__ == "__main__":
    program.run(main)
