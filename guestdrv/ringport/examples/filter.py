# SPDX-License-Identifier: BSD-2-Clause
"""Hand on from one port to another, except what is for a UDP port: `filter IN OUT 53`."""

from typing import TYPE_CHECKING, Any

import ringport
from ringport.examples import program
from ringport.slots import forward

if TYPE_CHECKING:
    from ringport.batch import Batch, Mask

#: Where the bytes are that decide: Ethernet type, IP version and length, protocol, port.
AT = (12, 13, 14, 23, 36, 37)
LONG_ENOUGH = 42


def wanted(port: int) -> bytes:
    """Return what is at `AT` in frames that are IPv4 without options, UDP, to `port`."""
    return bytes((0x08, 0x00, 0x45, 17, port >> 8, port & 0xFF))


def to_udp_port(batch: "Batch", port: int) -> "Mask":
    """Tell which frames of a batch are for a UDP port."""
    start = batch.rows(AT[0], AT[-1] + 1)[:, [at - AT[0] for at in AT]]
    found: Any = (start == list(wanted(port))).all(axis=1)
    return found & (batch.lengths >= LONG_ENOUGH)  # type: ignore[no-any-return]


def hand_on(source: ringport.Port, sink: ringport.Port, port: int, by_slots: bool = False) -> int:
    """Send by `sink` what `source` has received and is not for UDP port `port`; return slots."""
    source.rxsync()
    done = 0
    pattern = wanted(port)
    for number, ring in enumerate(source.rx):
        to = sink.tx[number % len(sink.tx)]
        if by_slots:
            done += forward(
                ring,
                to,
                keep=lambda slot: (
                    slot.len < LONG_ENOUGH or bytes(slot.data[at] for at in AT) != pattern
                ),
            )
        else:
            batch = ring.batch(512)
            keep = ~to_udp_port(batch, port)
            same_region = source.region_key == sink.region_key
            done += batch.move(to, keep) if same_region else batch.copy(to, keep)
    sink.txsync()
    return done


def main() -> None:
    parser = program.parser("filter", __doc__)
    parser.add_argument("source", help=program.PORT_HELP)
    parser.add_argument("sink", help="the port that sends what is left")
    parser.add_argument("udp_port", type=int, help="what is dropped: frames for it")
    options = parser.parse_args()
    if not 0 <= options.udp_port <= 0xFFFF:
        parser.error("a UDP port is a number from 0 to 65535")
    with ringport.open(options.source) as source, ringport.open(options.sink) as sink:
        while True:
            if not hand_on(source, sink, options.udp_port, options.slots):
                full = any(len(ring) for ring in source.rx)
                ringport.wait([] if full else [source], [sink] if full else [])


if __name__ == "__main__":
    program.run(main)
