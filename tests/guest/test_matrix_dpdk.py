# SPDX-License-Identifier: BSD-2-Clause
"""DPDK's virtio-user as a front end, with each of its data paths.

Frames come back as they went; its death hurts nobody; a restarted backend gets it back.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.matrix import CONSIDERED
from tests.support.miniguest import ENTRIES, MiniGuest, frame, wait_for
from tests.support.testpmd import Testpmd

pytestmark = pytest.mark.guest

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
DPDK, FLOOD = "52:54:00:00:00:0d", "52:54:00:00:00:0f"
CONFIG = """
[switch.vale0]
[port."vale0:dpdk1"]
queues = 1
hold_us = 1000000
[port."vale0:dpdk2"]
queues = 2
hold_us = 1000000
[port."vale0:client"]
mode = "client"
path = "client.sock"
[port."vale0:flood"]
[port."vale0:vm1"]
queues = 2
hold_us = 1000000
[port."vale0:vm2"]
"""

BURST = ENTRIES // 2
"""Frames that are underway at once."""
BURSTS = 32


@dataclass(frozen=True)
class Cell:
    """Options of virtio-user; how it says that it receives and sends then.

    `features` are all that it and its port agree on, of those that the matrix is about; beside
    ALWAYS.
    """

    options: str
    receives: str
    sends: str = "standard"
    features: frozenset[str] = frozenset()
    queues: int = 1
    server: bool = False

    @property
    def port(self) -> str:
        return "vale0:client" if self.server else f"vale0:dpdk{self.queues}"


MRG = frozenset({"MRG_RXBUF"})
PACKED = frozenset({"RING_PACKED"})
IN_ORDER = frozenset({"IN_ORDER"})
MQ = frozenset({"MQ"})

ALWAYS = frozenset({"INDIRECT_DESC"})

MERGEABLE_RX, STANDARD_RX = "mergeable buffer", "standard"
PACKED_MERGEABLE_RX, PACKED_STANDARD_RX = "packed ring mergeable buffer", "packed ring standard"
PACKED_TX = "packed ring standard"

CELLS = {
    "split": Cell("in_order=0", MERGEABLE_RX, features=MRG),
    "split_no_mrg_rxbuf": Cell("in_order=0,mrg_rxbuf=0", STANDARD_RX),
    "split_vectorised": Cell("in_order=0,mrg_rxbuf=0,vectorized=1", "vectorized"),
    "split_in_order": Cell("", "inorder", "inorder", MRG | IN_ORDER),
    "split_in_order_no_mrg_rxbuf": Cell("mrg_rxbuf=0", "inorder", "inorder", IN_ORDER),
    "split_two_queues": Cell("in_order=0", MERGEABLE_RX, features=MRG | MQ, queues=2),
    "split_server": Cell("in_order=0", MERGEABLE_RX, features=MRG, server=True),
    "packed": Cell("packed_vq=1,in_order=0", PACKED_MERGEABLE_RX, PACKED_TX, PACKED | MRG),
    "packed_no_mrg_rxbuf": Cell(
        "packed_vq=1,in_order=0,mrg_rxbuf=0", PACKED_STANDARD_RX, PACKED_TX, PACKED
    ),
    "packed_in_order": Cell("packed_vq=1", PACKED_MERGEABLE_RX, PACKED_TX, PACKED | MRG | IN_ORDER),
    "packed_in_order_no_mrg_rxbuf": Cell(
        "packed_vq=1,mrg_rxbuf=0", PACKED_STANDARD_RX, PACKED_TX, PACKED | IN_ORDER
    ),
    "packed_vectorised": Cell(
        "packed_vq=1,mrg_rxbuf=0,vectorized=1",
        "packed ring vectorized",
        "packed ring vectorized",
        PACKED | IN_ORDER,
    ),
    "packed_two_queues": Cell(
        "packed_vq=1,in_order=0", PACKED_MERGEABLE_RX, PACKED_TX, PACKED | MRG | MQ, queues=2
    ),
    "packed_server": Cell(
        "packed_vq=1,in_order=0", PACKED_MERGEABLE_RX, PACKED_TX, PACKED | MRG, server=True
    ),
}


@pytest.fixture
def daemon(runtime_dir: Path) -> Iterator[Daemon]:
    with Daemon(runtime_dir, CONFIG) as daemon:
        yield daemon


def echoer(daemon: Daemon, cell: Cell) -> Testpmd:
    """Return a testpmd that sends back what it gets, not started."""
    options = f"{cell.options},server={int(cell.server)}".lstrip(",")
    path = Path(daemon.call("port.show", name=cell.port)["path"])
    return Testpmd(path, DPDK, queues=cell.queues, options=options)


def wait_up(daemon: Daemon, port: str) -> dict[str, Any]:
    """Wait until a port is up; return how it is."""
    wait_for(lambda: daemon.call("port.show", name=port)["state"] == "up", f"{port} to be up")
    shown: dict[str, Any] = daemon.call("port.show", name=port)
    return shown


def echo(guest: MiniGuest, count: int = BURST, pair: int = 0) -> None:
    """Send frames to testpmd, which swaps the addresses; compare what comes back."""
    payloads = [os.urandom(46 + (number * 61 + pair) % 1400) for number in range(count)]
    guest.send_all([frame(DPDK, A, payload) for payload in payloads], pair)
    for payload in payloads:
        assert guest.receive() == frame(A, DPDK, payload)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_frames_come_back_as_they_went(daemon: Daemon, cell: Cell) -> None:
    with echoer(daemon, cell) as echoing:
        echoing.wait_started()
        front_end = wait_up(daemon, cell.port)["front_end"]
        assert f"using {cell.receives} Rx path on port 0" in echoing.text()
        assert f"using {cell.sends} Tx path on port 0" in echoing.text()
        assert CONSIDERED & set(front_end["features"]) == cell.features | ALWAYS
        assert [ring["running"] for ring in front_end["rings"]] == [True] * 2 * cell.queues
        with MiniGuest(daemon.socket("vale0:vm1"), pairs=2) as guest:
            for number in range(BURSTS):
                echo(guest, pair=number % cell.queues)
        shown = daemon.call("port.show", name=cell.port)
        assert shown["tx"]["frames"] == shown["rx"]["frames"] == BURSTS * BURST
        assert shown["tx"]["copied"] == shown["tx"]["bytes"], "one copy"
        assert shown["tx"]["drops"] == shown["rx"]["drops"] == {}
        assert shown["violations"] == 0


@pytest.mark.parametrize("cell", ["split", "packed"])
def test_a_front_end_that_is_killed_in_the_middle_of_traffic_hurts_nobody(
    daemon: Daemon, cell: str
) -> None:
    flood = ("--eth-peer=0," + DPDK,)
    options = CELLS[cell].options
    with (
        MiniGuest(daemon.socket("vale0:vm1"), mac=A) as one,
        MiniGuest(daemon.socket("vale0:vm2"), mac=B) as two,
        echoer(daemon, CELLS[cell]) as echoing,
    ):
        # Before testpmd can see, and return, a frame that is flooded.
        converse(one, two)
        echoing.wait_started()
        echo(one, 1)
        lost = drops(daemon)
        for _ in range(3):
            path = daemon.socket("vale0:flood")
            with Testpmd(path, FLOOD, mode="txonly", options=options, arguments=flood) as flooding:
                flooding.wait_started()
                before = echoing.received()
                wait_for(partial(has_received, echoing, before + 10_000), "traffic")
                converse(one, two)
                flooding.kill()
                converse(one, two)
            wait_for(lambda: flood_state(daemon) == "waiting", "the port to be free")
        assert drops(daemon) == lost
        echo(one)
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
        assert two.receive() == there
        two.send(back)
        assert one.receive() == back


@pytest.mark.parametrize("cell", ["split_server", "packed_server"])
def test_a_front_end_that_listens_serves_a_restarted_daemon(daemon: Daemon, cell: str) -> None:
    with echoer(daemon, CELLS[cell]) as echoing:
        echoing.wait_started()
        for _ in range(3):
            wait_up(daemon, "vale0:client")
            with MiniGuest(daemon.socket("vale0:vm1")) as guest:
                echo(guest)
            daemon.kill()
            daemon.start()
        wait_up(daemon, "vale0:client")
        with MiniGuest(daemon.socket("vale0:vm1")) as guest:
            echo(guest)
