# SPDX-License-Identifier: BSD-2-Clause
"""What a port offers, of what the data plane serves and of what its configuration says."""

from typing import get_args

import pytest

from ringpass import config
from ringpass.vhostuser.device import OFFLOADS, RING_FEATURES, offered
from ringpass.vhostuser.messages import Feature

EVERYTHING = ~Feature(0)


def test_every_name_of_the_configuration_is_a_feature() -> None:
    assert set(OFFLOADS) == set(config.ALL_OFFLOADS) == set(get_args(config.Offload))
    assert set(RING_FEATURES) == set(config.RING_FEATURES) == set(get_args(config.RingFeature))


@pytest.mark.parametrize("name", RING_FEATURES)
def test_what_is_withheld_is_all_that_is_missing(name: str) -> None:
    whole = offered(EVERYTHING, 1, OFFLOADS)
    assert offered(EVERYTHING, 1, OFFLOADS, [name]) == whole & ~RING_FEATURES[name] != whole


@pytest.mark.parametrize("name", OFFLOADS)
def test_offloads_are_offered_in_both_directions_or_in_none(name: str) -> None:
    assert offered(EVERYTHING, 1, [name]) & OFFLOADS[name] == OFFLOADS[name]
    assert not offered(EVERYTHING, 1, set(OFFLOADS) - {name}) & OFFLOADS[name]


def test_what_is_not_served_is_not_offered() -> None:
    assert not offered(0, 1, OFFLOADS) & (Feature.RING_PACKED | Feature.MRG_RXBUF | Feature.CSUM)
