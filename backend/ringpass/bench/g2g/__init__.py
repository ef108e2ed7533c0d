# SPDX-License-Identifier: BSD-2-Clause
"""`bench g2g`: from a real guest to a real guest, through ports of a daemon.

    vm1                                                        vm2
    eth0 --- vale0:vm1 ====== switch ====== vale0:vm2 ------- eth0
    eth1 --- valenull:vm1, which throws frames away: a reference
    ...      more links, each with a switch of its own, or a network of QEMU's
    rp0 ---- a port that is passed through: its rings are the guest's memory, which it maps
             through ivshmem-doorbell of stock QEMU or through ptnet-pci of ours

`ways` has the ways to link guests, `cases` what is measured on each. One pair of guests has all the
links that are wanted, so it boots once. What is compared is measured in turn: all cases of one
metric and size, and their references, make a round.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby

from ringpass.bench.g2g.cases import CASES, Case
from ringpass.bench.g2g.link import Link
from ringpass.bench.g2g.pair import Pair, address, booted
from ringpass.bench.g2g.rounds import measure_round
from ringpass.bench.g2g.ways import LINKS
from ringpass.bench.machine import two_cpus
from ringpass.bench.measure import Options
from ringpass.bench.report import Row
from ringpass.errors import NotFound, RingpassError
from ringpass.netlink import private_network
from ringpass.qemu import program
from ringpass.vm.qemu import STOCK, Emulator

Talk = Callable[[str], None]


def measure(options: Options, talk: Talk) -> list[Row]:
    """Measure all wanted cases: guests of User-mode Linux, of stock QEMU, of the patched one."""
    rows: list[Row] = []
    for (label, patched), cases in groupby(CASES, lambda case: (case.label, case.patched)):
        wanted = [case for case in cases if options.want(case.name, case.size, 2, case.via)]
        if not wanted:
            continue
        try:
            emulator = Emulator(program=str(program()), patched=True) if patched else STOCK
        except NotFound as error:
            talk(f"leaving out what needs the patched QEMU: {error}")
        else:
            rows += with_guests(label, wanted, options, talk, emulator)
    return rows


def with_guests(
    label: str,
    wanted: Sequence[Case],
    options: Options,
    talk: Talk,
    emulator: Emulator = STOCK,
) -> list[Row]:
    """Boot guests, QEMU's with `emulator`, and measure the cases `wanted` between them."""
    names = {name for case in wanted for name in (case.link, *case.refs)}
    links = [link for link in LINKS.values() if link.name in names]
    with ExitStack() as stack:
        if any(link.private_network for link in links):
            try:
                stack.enter_context(devices(links))
            except RingpassError as error:
                talk(f"leaving out what needs devices of the host: {error}")
                links = [link for link in links if not link.private_network]
                wanted = measurable(wanted, links)
        if not wanted:
            return []
        talk(f"booting guests ({label}{', patched QEMU' if emulator.patched else ''})")
        pair = stack.enter_context(booted(label, links, two_cpus(), emulator))
        return all_rows(pair, wanted, options, talk)


@contextmanager
def devices(links: Sequence[Link]) -> Iterator[None]:
    """Make what `links` need of the host's kernel, in a network namespace of our own.

    Raises RingpassError if this process may not.
    """
    with private_network():
        for link in links:
            link.make_devices(address(links, link, 2))
        yield


def measurable(cases: Sequence[Case], links: Sequence[Link]) -> list[Case]:
    """Return those of `cases` that can be measured on `links`, beside some of their references."""
    there = {link.name for link in links}
    return [case for case in cases if case.link in there and there.intersection(case.refs)]


def all_rows(pair: Pair, wanted: Sequence[Case], options: Options, talk: Talk) -> list[Row]:
    """Measure the cases `wanted` in rounds."""
    rows: dict[Case, Row] = {}
    for case in wanted:
        if case not in rows:
            together = [other for other in wanted if other.round == case.round]
            talk(f"{', '.join(other.name for other in together)}; {case.size} bytes")
            rows |= measure_round(pair, together, options)
    return [rows[case] for case in wanted]
