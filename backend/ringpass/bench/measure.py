# SPDX-License-Identifier: BSD-2-Clause
"""How all benchmarks measure: a thing and its reference in turn, after a warm-up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from ringpass.errors import ConfigError

#: What of `Options` selects, in the order of `Offer`, and how the user says it.
SELECTIONS = {"cases": "--case", "sizes": "--size", "cores": "--cores", "ways": "--via"}


class Offer(NamedTuple):
    """What a benchmark could measure."""

    case: str
    size: int
    cores: int
    via: str


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

    offers: list[Offer] = field(default_factory=list, compare=False)
    """What `want` was asked about."""

    def want(self, case: str, size: int, cores: int, via: str = "") -> bool:
        """Tell whether to measure `case` with frames of `size` bytes on so many cores."""
        offer = Offer(case, size, cores, via)
        self.offers.append(offer)
        return selects(self, offer)

    def check_wanted(self) -> None:
        """Raise ConfigError if nothing that `want` was asked about is wanted."""
        if any(selects(self, offer) for offer in self.offers):
            return
        for place, (name, flag) in enumerate(SELECTIONS.items()):
            chosen = getattr(self, name)
            alone: dict[str, Any] = {name: chosen}
            if not any(selects(Options(0, 0, **alone), offer) for offer in self.offers):
                there = dict.fromkeys(str(offer[place]) for offer in self.offers)
                closest = get_close_matches(str(chosen[0]), there, n=5, cutoff=0)
                raise ConfigError(
                    "there is nothing to measure",
                    f"no case has {flag} {' or '.join(map(str, chosen))}",
                    f"the closest are: {', '.join(closest)}",
                )
        raise ConfigError(
            "there is nothing to measure",
            f"no case has all that {', '.join(SELECTIONS.values())} select together",
            "select less at a time",
        )


def selects(options: Options, offer: Offer) -> bool:
    """Tell whether `options` select `offer`."""
    ways = (offer.via, *offer.via.split("-"))
    return (
        (not options.cases or any(fnmatchcase(offer.case, pattern) for pattern in options.cases))
        and (not options.sizes or offer.size in options.sizes)
        and (not options.cores or offer.cores in options.cores)
        and (not options.ways or any(way in ways for way in options.ways))
    )


def in_turn(runs: int, *things: Callable[[], float]) -> list[list[float]]:
    """Return `runs` samples of each of `things`, taken A B A B after one unrecorded run of each.

    The speed of a machine drifts within seconds; things measured in turn meet the same weather.
    """
    for thing in things:
        thing()
    rounds = [[thing() for thing in things] for _ in range(runs)]
    return [list(samples) for samples in zip(*rounds, strict=True)]
