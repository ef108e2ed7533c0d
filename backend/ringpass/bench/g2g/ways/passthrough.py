# SPDX-License-Identifier: BSD-2-Clause
"""Ports that guests map: of a switch each, the two ends of a pipe, and of one guest alone."""

from ringpass.bench.g2g.link import Card, Link
from ringpass.bench.g2g.ways.vhost import HOLD

#: Rings that hold what comes while the scheduler has not yet let the other side run: a guest that
#: is woken on a busy processor waits for a time slice of a millisecond or more.
SLOTS = "slots = 4096"
#: A port's settings.
PASSTHROUGH = f'kind = "passthrough"\n{SLOTS}\n{HOLD}'
#: Those of the ends of pipes: who sends waits for room.
PIPE_END = f'kind = "passthrough"\n{SLOTS}'


def port(name: str, settings: str = PASSTHROUGH) -> str:
    """Return the table of a port."""
    return f'[port."{name}"]\n{settings}'


LINKS = [
    Link(
        "passthrough",
        "passthrough-vale",
        ((Card("valept:vm1", passthrough=True),), (Card("valept:vm2", passthrough=True),)),
        "\n\n".join(["[switch.valept]", port("valept:vm1"), port("valept:vm2")]),
    ),
    Link(
        "pipe",
        "passthrough-pipe",
        ((Card("valepipe:p{1", passthrough=True),), (Card("valepipe:p}1", passthrough=True),)),
        "\n\n".join(
            ["[switch.valepipe]", port("valepipe:p{1", PIPE_END), port("valepipe:p}1", PIPE_END)]
        ),
    ),
    Link(
        "mixed",
        "passthrough-vhost",
        ((Card("valemix:vm1", passthrough=True),), (Card("valemix:vm2"),)),
        "\n\n".join(["[switch.valemix]", port("valemix:vm1"), port("valemix:vm2", HOLD)]),
    ),
]
