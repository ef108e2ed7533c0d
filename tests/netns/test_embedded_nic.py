# SPDX-License-Identifier: BSD-2-Clause
"""An interface of the host as a port of a backend in this process."""

import errno
import os
from collections.abc import Iterator

import pytest

import ringpass
import ringport
from tests.support.networks import Network, Raw, frame
from tests.support.wait import PATIENCE_S

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may use the host's interfaces")


@pytest.fixture
def cable() -> Iterator[tuple[Network, Network]]:
    with Network() as here, Network() as there:
        here.cable("near", there, "far")
        yield here, there


def exchange(raw: Raw, name: str) -> tuple[list[bytes], list[bytes]]:
    """Open the port `name`; return what it received from `raw`, and what that received from it."""
    with ringpass.Backend(worker=True) as backend, backend.open(name) as port:
        raw.send(*(frame(number) for number in range(10)))
        got: list[bytes] = []
        while len(got) < 10 and port.wait_readable(PATIENCE_S):
            got += iter(port.rx[0].get, None)
        for number in range(10, 20):
            assert port.tx[0].put(frame(number))
        port.txsync()
        return got, raw.receive(10)


def test_a_nic_is_a_port_like_others(cable: tuple[Network, Network]) -> None:
    here, there = cable
    with Raw(there, "far") as raw:
        got, sent = here.do(exchange, raw, "netmap:near")
    assert got == [frame(number) for number in range(10)]
    assert sent == [frame(number) for number in range(10, 20)]


@pytest.mark.parametrize("rings", ["", "^", "*", "-0"])
def test_the_loopback_is_refused(rings: str) -> None:
    def opened() -> None:
        with ringpass.Backend(worker=True) as backend:
            backend.open(f"netmap:lo{rings}")

    with Network() as here, pytest.raises(ringport.Error, match="it is the loopback") as refused:
        here.do(opened)
    assert refused.value.errno == errno.EINVAL
