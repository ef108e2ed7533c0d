# SPDX-License-Identifier: BSD-2-Clause
"""Join two ports: `python -m ringport.examples.bridge netmap:x{1 netmap:y{1`."""

import sys

import ringport


def hand_on(source: ringport.Port, sink: ringport.Port) -> int:
    """Send by `sink` what `source` has received; return how many slots that were."""
    source.rxsync()
    done = ringport.forward(source.rx[0], sink.tx[0])
    sink.txsync()
    return done


def main() -> None:
    with ringport.open(sys.argv[1]) as one, ringport.open(sys.argv[2]) as other:
        while True:
            if not hand_on(one, other) + hand_on(other, one):
                # What is still in an rx ring waits for room in a tx ring.
                full = [port for port, peer in ((one, other), (other, one)) if len(peer.rx[0])]
                ringport.wait(readable=[one, other] if not full else [], writable=full)


if __name__ == "__main__":
    main()
