# SPDX-License-Identifier: BSD-2-Clause
"""Receive what `generator` sends, and say what is missing."""

import asyncio

import ringport
from ringport.examples import program
from ringport.examples.generator import NUMBER_AT


def numbers(ring: ringport.Ring, by_slots: bool) -> list[int]:
    """Take all frames of a ring; return their numbers."""
    taken: list[int] = []
    if by_slots:
        while (frame := ring.get()) is not None:
            taken.append(int.from_bytes(frame[NUMBER_AT : NUMBER_AT + 8]))
    else:
        batch = ring.batch()
        taken = batch.field(NUMBER_AT, ">u8").tolist()
        batch.advance()
    return taken


def receive(port: ringport.Port, expected: int, by_slots: bool = False) -> tuple[int, int]:
    """Take all frames; return how many there were, and which number is expected next."""
    taken = numbers(port.rx[0], by_slots)
    if taken:
        if taken != sorted(set(taken)) or taken[0] < expected:
            raise SystemExit("frames arrived out of order")
        expected = taken[-1] + 1
    return len(taken), expected


async def drain(port: ringport.Port, total: int, idle: float, by_slots: bool) -> int:
    """Receive until the frame number `total` - 1 is there, or none for `idle` seconds after the
    first; return how many were lost."""
    frames = expected = 0
    while expected < total:
        try:
            await asyncio.wait_for(port.readable(), idle if frames else None)
        except TimeoutError:
            return total - frames
        got, expected = receive(port, expected, by_slots)
        frames += got
    return expected - frames


def main() -> None:
    parser = program.parser("sink", __doc__)
    parser.add_argument("port", help=program.PORT_HELP)
    parser.add_argument("frames", type=int, help="how many the generator sends")
    parser.add_argument(
        "--idle", type=float, default=5.0, help="the rest is lost if none comes so long (5 s)"
    )
    options = parser.parse_args()
    with ringport.open(options.port) as port:
        numbers(port.rx[0], options.slots)  # before any comes: loading numpy takes a while
        print("receiving", flush=True)
        lost = asyncio.run(drain(port, options.frames, options.idle, options.slots))
    print(f"{lost} frames lost")


if __name__ == "__main__":
    program.run(main)
