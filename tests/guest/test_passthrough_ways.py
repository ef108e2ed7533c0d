# SPDX-License-Identifier: BSD-2-Clause
"""Every way between guests that map their ports carries frames, and loses none.

The ways are those of `bench g2g`, and all guests boot once, on the patched QEMU. A full receiver
holds its senders back for a second, which no guest needs, however slow: so all frames arrive, and
are counted.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from tempfile import TemporaryDirectory

import pytest

from ringpass.bench import traffic
from ringpass.bench.g2g import devices
from ringpass.bench.g2g.link import Link
from ringpass.bench.g2g.pair import Pair, booted
from ringpass.bench.g2g.ways import LINKS
from ringpass.bench.machine import two_cpus
from ringpass.bench.tools import NETMAP, NUMPY, PACKET, Tool
from ringpass.vm.qemu import Emulator

pytestmark = pytest.mark.guest

COUNT = 20000


def patient(name: str) -> Link:
    link = LINKS[name]
    return replace(link, tables=link.tables.replace("hold_us = 20000", "hold_us = 1000000"))


NAMES = ("passthrough", "pipe", "mixed", "process", "nic", "ptnet", "ptnet-pipe", "netdev-virtio")
WAYS = {name: patient(name) for name in NAMES}
CHAIN = patient("chain-2")


def counted(tool: Tool) -> Tool:
    """Return `tool` sending COUNT frames, however long that takes."""
    return tool._replace(send=tool.send.replace("--seconds {seconds:g}", f"--count {COUNT}"))


@pytest.fixture(scope="module")
def pair(patched: Emulator) -> Iterator[Pair]:
    links = [*WAYS.values(), CHAIN]
    with ExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory(prefix="rp-"))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("RINGPASS_RUNTIME_DIR", directory)
        stack.enter_context(devices(links))
        yield stack.enter_context(booted("tcg", links, two_cpus(), patched))


@pytest.mark.parametrize("name", WAYS)
def test_all_frames_of_a_flood_arrive(pair: Pair, name: str) -> None:
    for size in (60, 1500):
        before = pair.bed.usage()
        tool = counted(PACKET if name == "netdev-virtio" else NETMAP)
        done = WAYS[name].flood(pair, tool, size, 1.0)
        drops = (pair.bed.usage() - before).drops
        assert (done.sent, done.received, done.missing) == (COUNT, COUNT, 0), (size, drops)


def test_numpy_programs_flood_each_other(pair: Pair) -> None:
    done = WAYS["passthrough"].flood(pair, counted(NUMPY), 60, 1.0)
    assert (done.sent, done.received, done.missing) == (COUNT, COUNT, 0)


def test_a_chain_of_bridges_hands_on_all_frames(pair: Pair) -> None:
    done = CHAIN.flood(pair, NUMPY, 60, 0.5)
    assert done.sent > COUNT
    assert (done.received, done.missing) == (done.sent, 0)


@pytest.mark.parametrize("name", WAYS)
def test_stacks_and_programs_answer_pings(pair: Pair, name: str) -> None:
    assert len(WAYS[name].ping(pair, 20)) == 20


@pytest.mark.parametrize("name", ["passthrough", "pipe", "mixed", "nic", "ptnet", "netdev-virtio"])
def test_tcp_finds_its_way(pair: Pair, name: str) -> None:
    link = WAYS[name]
    with link.answering(pair):
        assert traffic.tcp(pair.vm1, link.address(pair), 1.0).gbps > 0
