# SPDX-License-Identifier: BSD-2-Clause
"""A port of a VALE switch each, over vhost-user."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ringpass.bench import traffic
from ringpass.bench.g2g.link import Card, Link
from ringpass.bench.tools import Tool

if TYPE_CHECKING:
    from ringpass.bench.g2g.pair import Pair

VIA = "vhost-vale"

#: A User-mode Linux guest whose clock ticks a hundred times a second may not look at its ring for
#: 10 ms, so a full receiver holds its senders back for longer than the 1 ms of the default.
HOLD = "hold_us = 20000"

PLAIN = 'offloads = []\nwithhold = ["mrg_rxbuf"]'
MERGEABLE = "offloads = []"
TSO = 'withhold = ["mrg_rxbuf"]'
BOTH = ""

#: Ports with fewer offloads, or with another answer to a full receiver: name -> settings.
VARIANTS = {
    "plain": f"{PLAIN}\n{HOLD}",
    "plain-drop": f'{PLAIN}\nfull = "drop"',
    "mrg": f"{MERGEABLE}\n{HOLD}",
    "mrg-drop": f'{MERGEABLE}\nfull = "drop"',
    "tso": f"{TSO}\n{HOLD}",
    "tso-drop": f'{TSO}\nfull = "drop"',
    "tso-mrg": f"{BOTH}\n{HOLD}",
    "tso-mrg-1ms": BOTH,
    "tso-mrg-drop": f'{BOTH}\nfull = "drop"',
}

#: Those that differ from "vale" in nothing but the answer to a full receiver.
RECEIVERS = ("tso-mrg-1ms", "tso-mrg-drop")

#: Behind the null port: a locally administered address that nobody has.
NOBODY = "02:00:00:00:00:09"


@dataclass(frozen=True)
class Null(Link):
    """Ports that throw away what the guest sends: nobody receives."""

    def flood(self, pair: "Pair", tool: Tool, size: int, seconds: float) -> traffic.Flood:
        """Flood nobody; what the sender's driver took counts as received."""
        nic = pair.nic(self, 1)
        sent = traffic.flood_to(pair.vm1, NOBODY, size=size, seconds=seconds, nic=nic, tool=tool)
        return traffic.Flood(sent.frames, sent.pps, sent.frames, sent.pps, missing=0)


def switched(name: str, settings: str, number: int) -> Link:
    """Return a link on a switch of its own, so that no frame takes another way."""
    return Link(name, VIA, cards(number), tables(number, settings))


def cards(number: int) -> tuple[tuple[Card], tuple[Card]]:
    return (Card(f"vale{number}:vm1"),), (Card(f"vale{number}:vm2"),)


def tables(number: int, settings: str) -> str:
    ports = [f'[port."{card.port}"]\n{settings}' for (card,) in cards(number)]
    return "\n\n".join([f"[switch.vale{number}]", *ports])


LINKS = [
    switched("vale", HOLD, 0),
    Null("null", VIA, cards(1), tables(1, 'kind = "null"')),
    *(switched(name, settings, 2 + i) for i, (name, settings) in enumerate(VARIANTS.items())),
]
