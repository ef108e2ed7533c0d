# SPDX-License-Identifier: BSD-2-Clause
"""Guests in a row, joined by pipes; each hands on what comes with a bridge of ringport.

    process --{1===}1-- vm1 --{2===}2-- vm2 --{3===}3-- process

All pipes are in one region, so every guest swaps buffers, and no frame is copied on the way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ringpass.bench import programs, traffic
from ringpass.bench.g2g.link import Card, Link
from ringpass.bench.g2g.ways.passthrough import port
from ringpass.bench.tools import Tool

if TYPE_CHECKING:
    from ringpass.bench.g2g.pair import Pair

BRIDGE = "python3 -m ringport.examples.bridge {} {} >/tmp/bridge.log 2>&1 &"


@dataclass(frozen=True)
class Chain(Link):
    """Processes of the host at both ends, which send and receive."""

    def end(self, text: str) -> str:
        """Return the name of the end `text` of a pipe: {1 is where the first begins."""
        return f"{self.switch}:p{text}"

    @property
    def switch(self) -> str:
        return f"valechain{len(self.cards)}"

    @property
    def source(self) -> str:
        """Where frames enter the chain."""
        return self.end("{1")

    @property
    def sink(self) -> str:
        """Where they leave it."""
        return self.end(f"}}{len(self.cards) + 1}")

    def introduce(self, _pair: "Pair") -> None:
        """Do nothing: no switch is on the way."""

    def ping(self, pair: "Pair", count: int) -> list[float]:
        """Send frames there and back through all guests, from process to process."""
        with self.bridged(pair):
            return programs.round_trips(self.source, self.sink, pair.bed.directory, count)

    def flood(self, pair: "Pair", _tool: Tool, size: int, seconds: float) -> traffic.Flood:
        """Flood from process to process."""
        where = pair.bed.directory
        with self.bridged(pair), programs.Counting(self.sink, where) as counting:
            sent = programs.flood(self.source, where, size=size, seconds=seconds)
            return traffic.flooded(sent, counting.result())

    @contextmanager
    def bridged(self, pair: "Pair") -> Iterator[None]:
        """Run a bridge in each guest, and wait until a frame comes back through all of them."""
        guests = pair.guests[: len(self.cards)]
        for number, guest in enumerate(guests, 1):
            ends = (f"netmap:{pair.nic(self, number, end)}" for end in (0, 1))
            guest.check(BRIDGE.format(*ends))
        try:
            programs.round_trips(self.source, self.sink, pair.bed.directory, 1)
            yield
        finally:
            for guest in guests:
                guest.run("killall -q python3")


def chain(guests: int) -> Chain:
    """Return the chain of so many guests: guest n has the ends }n and {n+1 of pipes."""
    switch = f"valechain{guests}"
    ends = [(f"{switch}:p}}{guest}", f"{switch}:p{{{guest + 1}") for guest in range(1, guests + 1)]
    settings = f'kind = "passthrough"\nregion = "{switch}"'
    return Chain(
        f"chain-{guests}",
        f"chain-{guests}",
        tuple(tuple(Card(end, passthrough=True) for end in pair) for pair in ends),
        "\n\n".join(
            [
                f"[switch.{switch}]",
                f"[region.{switch}]",
                *(port(end, settings) for pair in ends for end in pair),
            ]
        ),
    )


LINKS = [chain(guests) for guests in (1, 2, 3)]
