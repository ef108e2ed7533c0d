# SPDX-License-Identifier: BSD-2-Clause
"""The benchmarks: what there is to measure, and how to measure one of them by its name."""

import importlib
from collections.abc import Callable
from typing import NamedTuple

from ringpass.bench.measure import Options
from ringpass.bench.report import Report, new_report


class Bench(NamedTuple):
    """One benchmark: its module has a function `measure(options, talk)` that returns rows."""

    name: str
    summary: str
    module: str
    runs: int
    """How often a case is measured, unless the user says otherwise."""
    seconds: float
    """How long each of these takes, likewise."""
    counts: bool = False
    """It counts what repeats exactly: once is enough, and there is nothing to wait for."""
    calls: bool = False
    """It measures calls of the control plane: no frames, and no time but theirs."""
    guests: bool = False
    """It measures between guests, which are linked in several ways."""


BENCHES = (
    Bench(
        name="switch",
        summary="From ring to ring through a VALE switch, natively.",
        module="ringpass.bench.switch",
        runs=9,
        seconds=0.1,
    ),
    Bench(
        name="pipe",
        summary="From end to end of a zero-copy pipe, natively.",
        module="ringpass.bench.pipe",
        runs=9,
        seconds=0.1,
    ),
    Bench(
        name="passthrough",
        summary="From front end to front end as guests have them, natively: flood, RTT, idle.",
        module="ringpass.bench.passthrough",
        runs=9,
        seconds=0.1,
    ),
    Bench(
        name="monitor",
        summary="What a monitor adds to the port that it shows, natively.",
        module="ringpass.bench.monitor",
        runs=9,
        seconds=0.1,
    ),
    Bench(
        name="vhost",
        summary="From virtqueue to virtqueue through a VALE switch, beside DPDK and Open vSwitch.",
        module="ringpass.bench.vhost",
        runs=7,
        seconds=0.2,
    ),
    Bench(
        name="ringport",
        summary="A bridge and a filter in Python between two pipes, beside a bridge in C.",
        module="ringpass.bench.ringport",
        runs=9,
        seconds=0.1,
    ),
    Bench(
        name="g2g",
        summary="From a real guest to a real guest, each way: flood, TCP, UDP, RTT, idle.",
        module="ringpass.bench.g2g",
        runs=5,
        seconds=1.0,
        guests=True,
    ),
    Bench(
        name="control",
        summary="How long a daemon with 200 ports, which follows 50 domains, takes to answer.",
        module="ringpass.bench.control",
        runs=100,
        seconds=0,
        calls=True,
    ),
    Bench(
        name="instructions",
        summary="Instructions a frame of the switch and of each kind of ring, by callgrind.",
        module="ringpass.bench.instructions",
        runs=1,
        seconds=0,
        counts=True,
    ),
)


def run(bench: Bench, options: Options, talk: Callable[[str], None]) -> Report:
    """Measure `bench`; what is going on is told to `talk`.

    Raises RingpassError, of ConfigError if `options` select nothing.
    """
    measure = importlib.import_module(bench.module).measure
    rows = measure(options, talk)
    options.check_wanted()
    return new_report(bench.name, rows)
