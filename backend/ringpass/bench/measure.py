# SPDX-License-Identifier: BSD-2-Clause
"""How all benchmarks measure: a thing and its reference in turn, after a warm-up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Options:
    """What to measure and for how long; an empty selection is everything."""

    runs: int
    seconds: float
    """Of each run."""
    cases: Sequence[str] = ()
    """Shell patterns of case names."""
    sizes: Sequence[int] = ()
    cores: Sequence[int] = ()
    ways: Sequence[str] = ()
    """Between guests, whole or words of them: `vhost-vale`, `pipe`."""
    connect: str = ""
    """The libvirt of `domain`; empty: the system's."""
    domain: str = ""
    """A domain that runs, for what is measured with one; empty: none."""

    def want(self, case: str, size: int, cores: int) -> bool:
        """Tell whether to measure `case` with frames of `size` bytes on so many cores."""
        return (
            (not self.cases or any(fnmatchcase(case, pattern) for pattern in self.cases))
            and (not self.sizes or size in self.sizes)
            and (not self.cores or cores in self.cores)
        )


def in_turn(runs: int, *things: Callable[[], float]) -> list[list[float]]:
    """Return `runs` samples of each of `things`, taken A B A B after one unrecorded run of each.

    The speed of a machine drifts within seconds; things measured in turn meet the same weather.
    """
    for thing in things:
        thing()
    rounds = [[thing() for thing in things] for _ in range(runs)]
    return [list(samples) for samples in zip(*rounds, strict=True)]
