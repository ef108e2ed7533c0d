# SPDX-License-Identifier: BSD-2-Clause
"""Pairs of eventfds for a guest's rings, beside a data plane that a test plays."""

import errno
from types import SimpleNamespace
from typing import cast

import pytest

from ringpass.dataplane import DataPlane, PortId
from ringpass.errors import RingpassError
from ringpass.netmap.attach import Wakers
from ringpass.netmap.port import Port
from ringpass.passthrough.pairs import Pairs
from ringpass.passthrough.wires import RingKey, Wires

OWN, OTHER = RingKey(PortId(0), 1, 0), RingKey(PortId(1), 1, 0)
WAKERS = Wakers(kick=7, call=8, peer_call=-1)


class Plane:
    """Has no descriptor left for eventfds of a ring's own."""

    def wire(self, _port: int, _dir: int, _ring: int, kick: int, call: int) -> None:
        """Take the eventfds of a pair alone."""
        if (kick, call) == (-1, -1):
            raise RingpassError("cannot wire", "too many open files", errno=errno.EMFILE)


def wires() -> Wires:
    """Return the pairs of a guest with a pair of rings, and one to spare."""
    own = SimpleNamespace(id=PortId(0), geometry=SimpleNamespace(tx_rings=1, rx_rings=1))
    pairs = Pairs([10, 11, 12, 13], [20, 21, 22, 23])
    return Wires(cast(DataPlane, Plane()), pairs, cast(Port, own))


def test_a_pair_is_given_back_without_a_descriptor_to_spare() -> None:
    made = wires()
    for _ in range(3):
        assert made.take(OWN, WAKERS) == 1
        assert made.take(OTHER, WAKERS) == 3
        made.give(OWN)
        made.give(OTHER)
        assert made.extra == 0


def test_a_pair_that_a_ring_had_before_may_be_another_ones() -> None:
    made = wires()
    for wanted in (0, 1, 99):
        with pytest.raises(RingpassError, match="no longer"):
            made.take(OTHER, WAKERS, wanted)
    assert made.take(OTHER, WAKERS, 3) == 3
