# SPDX-License-Identifier: BSD-2-Clause
"""DPDK's virtio-user as a front end: frames come back as they went, its death hurts nobody."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.miniguest import MiniGuest, frame, wait_for
from tests.support.testpmd import Testpmd

pytestmark = pytest.mark.guest

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
DPDK, FLOOD = "52:54:00:00:00:0d", "52:54:00:00:00:0f"
CONFIG = """
[switch.vale0]
[port."vale0:dpdk1"]
queues = 1
[port."vale0:dpdk2"]
queues = 2
[port."vale0:client"]
mode = "client"
path = "client.sock"
[port."vale0:flood"]
[port."vale0:vm1"]
[port."vale0:vm2"]
"""


@pytest.fixture
def daemon(runtime_dir: Path) -> Iterator[Daemon]:
    with Daemon(runtime_dir, CONFIG) as daemon:
        yield daemon


def wait_up(daemon: Daemon, port: str) -> None:
    wait_for(lambda: daemon.call("port.show", name=port)["state"] == "up", f"{port} to be up", 60)


def echo(guest: MiniGuest, count: int) -> None:
    """Send frames to testpmd, which swaps the addresses; compare what comes back."""
    for number in range(count):
        payload = os.urandom(46 + number * 61 % 1400)
        guest.send(frame(DPDK, A, payload))
        assert guest.receive(30) == frame(A, DPDK, payload)


@pytest.mark.parametrize(
    ("port", "queues", "options"),
    [
        ("vale0:dpdk1", 1, ""),
        ("vale0:dpdk1", 1, ",mrg_rxbuf=0"),
        ("vale0:dpdk1", 1, ",mrg_rxbuf=0,in_order=0,vectorized=1"),
        ("vale0:dpdk2", 2, ""),
        ("vale0:client", 1, ",server=1"),
    ],
)
def test_frames_come_back_as_they_went(
    daemon: Daemon, port: str, queues: int, options: str
) -> None:
    path = Path(daemon.call("port.show", name=port)["path"])
    with Testpmd(path, DPDK, queues=queues, options=options) as testpmd:
        testpmd.wait_started()
        wait_up(daemon, port)
        with MiniGuest(daemon.socket("vale0:vm1")) as guest:
            echo(guest, 500)
        shown = daemon.call("port.show", name=port)
        assert shown["tx"]["frames"] == shown["rx"]["frames"] == 500
        assert shown["tx"]["copied"] == shown["tx"]["bytes"], "one copy"
        assert shown["tx"]["drops"] == shown["rx"]["drops"] == {}
        assert [ring["running"] for ring in shown["front_end"]["rings"]] == [True] * 2 * queues


def test_a_front_end_that_is_killed_in_the_middle_of_traffic_hurts_nobody(daemon: Daemon) -> None:
    flood = ("--eth-peer=0," + DPDK,)
    with (
        MiniGuest(daemon.socket("vale0:vm1"), mac=A) as one,
        MiniGuest(daemon.socket("vale0:vm2"), mac=B) as two,
        Testpmd(daemon.socket("vale0:dpdk1"), DPDK) as echoing,
    ):
        # Before testpmd can see, and return, a frame that is flooded.
        converse(one, two)
        echoing.wait_started()
        echo(one, 1)
        lost = drops(daemon)
        for _ in range(3):
            path = daemon.socket("vale0:flood")
            with Testpmd(path, FLOOD, mode="txonly", arguments=flood) as flooding:
                flooding.wait_started()
                before = echoing.received()
                wait_for(partial(has_received, echoing, before + 10_000), "traffic", 60)
                converse(one, two)
                flooding.kill()
                converse(one, two)
            wait_for(lambda: flood_state(daemon) == "waiting", "the port to be free")
        assert drops(daemon) == lost
        echo(one, 50)
    shown = daemon.call("port.show", name="vale0:flood")
    assert shown["sessions"] == 3
    assert shown["violations"] == 0


def has_received(testpmd: Testpmd, count: int) -> bool:
    return testpmd.received() > count


def drops(daemon: Daemon) -> list[object]:
    """Return what the neighbours lost, by reason."""
    shown = [daemon.call("port.show", name=port) for port in ("vale0:vm1", "vale0:vm2")]
    return [(port["tx"]["drops"], port["rx"]["drops"]) for port in shown]


def flood_state(daemon: Daemon) -> object:
    return daemon.call("port.show", name="vale0:flood")["state"]


def converse(one: MiniGuest, two: MiniGuest) -> None:
    """Send frames between two neighbours; each must arrive."""
    for number in range(100):
        there, back = frame(B, A, b"there %d" % number), frame(A, B, b"back %d" % number)
        one.send(there)
        assert two.receive(30) == there
        two.send(back)
        assert one.receive(30) == back
