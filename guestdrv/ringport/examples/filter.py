# SPDX-License-Identifier: BSD-2-Clause
"""Drop what is for a UDP port: `python -m ringport.examples.filter IN OUT 53`."""

import sys

import numpy as np
import numpy.typing as npt

import ringport
from ringport.batch import Batch


def to_udp_port(batch: Batch, port: int) -> npt.NDArray[np.bool_]:
    """Tell which frames of `batch` are IPv4 without options, UDP, to `port`."""
    start = batch.rows(12, 38)  # from the Ethernet type to the UDP destination
    wanted = np.array([0x08, 0x00, 0x45, 17, port >> 8, port & 0xFF], np.uint8)
    found: npt.NDArray[np.bool_] = (start[:, [0, 1, 2, 11, 24, 25]] == wanted).all(axis=1)
    return found & (batch.lengths >= 42)


def hand_on(source: ringport.Port, sink: ringport.Port, port: int) -> int:
    """Send by `sink` what `source` has received and is not for UDP port `port`."""
    source.rxsync()
    batch = source.rx[0].batch(512)
    keep = ~to_udp_port(batch, port)
    same_region = source.region_key == sink.region_key
    done = batch.move(sink.tx[0], keep) if same_region else batch.copy(sink.tx[0], keep)
    sink.txsync()
    return done


def main() -> None:
    with ringport.open(sys.argv[1]) as source, ringport.open(sys.argv[2]) as sink:
        while True:
            if not hand_on(source, sink, int(sys.argv[3])):
                full = len(source.rx[0]) > 0
                ringport.wait([] if full else [source], [sink] if full else [])


if __name__ == "__main__":
    main()
