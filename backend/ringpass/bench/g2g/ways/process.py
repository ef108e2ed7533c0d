# SPDX-License-Identifier: BSD-2-Clause
"""A guest that maps its port, and a process of the host on the same switch."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ringpass.bench import programs, traffic
from ringpass.bench.g2g.link import Card, Link
from ringpass.bench.g2g.ways.passthrough import port
from ringpass.bench.g2g.ways.vhost import HOLD
from ringpass.bench.tools import Tool

if TYPE_CHECKING:
    from ringpass.bench.g2g.pair import Pair

#: A locally administered address that nobody else has.
MAC = "02:00:00:00:00:0a"
GUEST, HOST = "valeproc:vm1", "valeproc:host"


@dataclass(frozen=True)
class ToProcess(Link):
    """The receiver is a ringport program of the host."""

    @contextmanager
    def answering(self, pair: "Pair") -> Iterator[None]:
        """Run a program that answers ARP and pings."""
        arguments = ["-m", "ringport.examples.responder", HOST, self.address(pair)]
        with programs.python(arguments, pair.bed.directory) as answerer:
            programs.wait_open(HOST, answerer, pair.bed)
            yield

    def flood(self, pair: "Pair", tool: Tool, size: int, seconds: float) -> traffic.Flood:
        """Flood a program that counts."""
        nic = pair.nic(self, 1)
        with programs.Counting(HOST, pair.bed.directory, MAC) as counting:
            sent = traffic.flood_to(
                *(pair.vm1, MAC), size=size, seconds=seconds, nic=nic, tool=tool
            )
            return traffic.flooded(sent, counting.result())


LINKS = [
    ToProcess(
        "process",
        "passthrough-process",
        ((Card(GUEST, passthrough=True),), ()),
        "\n\n".join(["[switch.valeproc]", port(GUEST), port(HOST, f'kind = "netmap"\n{HOLD}')]),
    )
]
