# SPDX-License-Identifier: BSD-2-Clause
"""`bench g2g`: from a real guest to a real guest, through a daemon's VALE switches.

    vm1                                                        vm2
    eth0 --- vale0:vm1 ====== switch ====== vale0:vm2 ------- eth0
    eth1 --- valenull:vm1, which throws frames away: a reference
    ...      more links, each with a switch of its own, or a network of QEMU's

One pair of guests has all the links that are wanted, so it boots once. What is compared is
measured in turn: all cases of one metric and size, and their references, make a round.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import groupby

from ringpass.bench.g2g.cases import CASES, Case
from ringpass.bench.g2g.pair import Pair, booted, tap_network
from ringpass.bench.g2g.rounds import measure_round
from ringpass.bench.machine import two_cpus
from ringpass.bench.measure import Options
from ringpass.bench.report import Row
from ringpass.errors import RingpassError

Talk = Callable[[str], None]


def measure(options: Options, talk: Talk) -> list[Row]:
    """Measure all wanted cases with guests of User-mode Linux, then with QEMU's."""
    rows: list[Row] = []
    for label, cases in groupby(CASES, lambda case: case.label):
        wanted = [case for case in cases if options.want(case.name, case.size, 2)]
        if wanted:
            rows += with_guests(label, wanted, options, talk)
    return rows


def with_guests(label: str, wanted: Sequence[Case], options: Options, talk: Talk) -> list[Row]:
    """Boot a pair of guests and measure the cases `wanted` between them."""
    with ExitStack() as stack:
        if any(case.ref == "tap" for case in wanted):
            try:
                stack.enter_context(tap_network())
            except RingpassError as error:
                talk(f"leaving out what needs tap devices: {error}")
                wanted = [case for case in wanted if case.ref != "tap"]
        if not wanted:
            return []
        talk(f"booting two guests ({label})")
        links = {name for case in wanted for name in (case.link, case.ref)}
        pair = stack.enter_context(booted(label, links, two_cpus()))
        return all_rows(pair, wanted, options, talk)


def all_rows(pair: Pair, wanted: Sequence[Case], options: Options, talk: Talk) -> list[Row]:
    """Measure the cases `wanted` in rounds."""
    rows: dict[Case, Row] = {}
    for case in wanted:
        if case not in rows:
            together = [other for other in wanted if other.round == case.round]
            talk(f"{', '.join(other.name for other in together)}; {case.size} bytes")
            rows |= measure_round(pair, together, options)
    return [rows[case] for case in wanted]
