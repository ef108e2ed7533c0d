# SPDX-License-Identifier: BSD-2-Clause
"""A matrix of network cards: two guests have one for every cell, and all cells share their boot.

A switch of its own joins the two cards of a cell: valeN its ports a and b, ethN in both guests.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ringpass.observe.counters import FILE_NAME, Counters
from ringpass.observe.status import FrontEndStatus
from tests.support import traffic
from tests.support.account import Account
from tests.support.lab import Lab, Station

RING_FEATURES = frozenset({"MRG_RXBUF", "INDIRECT_DESC", "EVENT_IDX"})
CSUM = frozenset({"CSUM", "GUEST_CSUM"})
TSO = frozenset({"HOST_TSO4", "GUEST_TSO4", "HOST_TSO6", "GUEST_TSO6", "HOST_ECN", "GUEST_ECN"})

EVERYTHING = RING_FEATURES | CSUM | TSO
"""What Linux takes when nobody objects, of the features that cells are about."""

CONSIDERED = EVERYTHING | {"RING_PACKED", "IN_ORDER", "MQ"}


@dataclass(frozen=True)
class Cell:
    """Options of a card and of its port, and what both ends must make of them.

    `features` are all of CONSIDERED that must be agreed on: a card that falls back to something
    else fails. `other` describes the second guest's card, if it is different.
    """

    features: frozenset[str] = EVERYTHING
    nic: Mapping[str, Any] = field(default_factory=dict)
    port: Mapping[str, Any] = field(default_factory=dict)
    entries: int = 256
    mtu: int = 1500
    other: "Cell | None" = None

    @property
    def sides(self) -> "tuple[Cell, Cell]":
        """The cell as each of the two guests sees it."""
        return self, self.other or self


def ports(cells: Mapping[str, Cell]) -> dict[str, dict[str, Any]]:
    """Return the ports of a lab for `cells`; they hold senders back rather than lose frames."""
    return {
        f"vale{number}:{letter}": {"hold_us": 1_000_000, **side.port}
        for number, cell in enumerate(cells.values())
        for letter, side in zip("ab", cell.sides, strict=True)
    }


class Matrix:
    """Two guests of `kind`, qemu or uml, with a card for each of `cells`.

    Their ports must be there already. `machine` has options of the guests, such as `memory`.
    """

    def __init__(self, lab: Lab, kind: str, cells: Mapping[str, Cell], **machine: Any) -> None:
        self.lab = lab
        self.kind = kind
        self.cells = cells
        self.machine = machine
        self.stations: dict[str, list[Station]] = {}

    def up(self) -> None:
        """Start the guests, or those of them that do not work any more."""
        names = {f"{self.kind}-{letter}": letter for letter in "ab"}
        missing = [name for name in names if not self.lab.works(name)]
        for name in missing:
            self.stations[names[name]] = self.start(name, names[name])
            # By its first card the lab will tell whether the guest works.
            self.lab.stations[name] = self.stations[names[name]][0]
        for name in missing:
            self.lab.guests[name].wait_ready()

    def start(self, name: str, letter: str) -> list[Station]:
        """Start a guest; return its cards."""
        side = "ab".index(letter)
        nics = [
            self.lab.nic(
                f"vale{number}:{letter}",
                address=f"10.0.{number}.{side + 1}/24",
                **cell.sides[side].nic,
            )
            for number, cell in enumerate(self.cells.values())
        ]
        guest = self.lab.guest(self.kind, name, nics, **self.machine)
        return [
            Station(
                guest,
                f"vale{number}:{letter}",
                nic.mac,
                nic.address.partition("/")[0],
                f"eth{number}",
            )
            for number, nic in enumerate(nics)
        ]

    def pair(self, name: str) -> tuple[Station, Station]:
        """Return where the two cards of a cell are."""
        number = list(self.cells).index(name)
        return self.stations["a"][number], self.stations["b"][number]

    def front_end(self, station: Station) -> FrontEndStatus:
        found = self.lab.daemon.port(station.port).front_end
        assert found is not None
        return found

    def exchange(self, name: str, *, count: int = 1000) -> None:
        """Send frames of the largest size one way and of the smallest the other, and lose none."""
        first, second = self.pair(name)
        mtu = self.cells[name].mtu
        traffic.ping(first, second, size=mtu - 28)
        traffic.flood(first, second, size=mtu + 14, count=count).assert_whole()
        traffic.flood(second, first, size=60, count=count).assert_whole()

    @contextlib.contextmanager
    def accounted(self, name: str) -> Iterator[None]:
        """Assert that no frame is dropped meanwhile, and that what is delivered is copied once.

        Nobody but the two guests may send on the cell's switch.
        """
        violations, before = self.violations(name), self.account(name)
        yield
        moved = self.account(name).since(before)
        assert (self.violations(name), moved.drops) == (violations, {})
        assert moved.copied / moved.delivered == 1.0

    def violations(self, name: str) -> list[int]:
        """Return how often each side of a cell broke the rules of vhost-user."""
        return [self.lab.daemon.port(station.port).violations for station in self.pair(name)]

    def account(self, name: str) -> Account:
        switch, _, _ = self.pair(name)[0].port.partition(":")
        with Counters(self.lab.daemon.runtime_dir / FILE_NAME) as counters:
            return Account.of(
                ring for ring in counters.rings() if ring.port.startswith(f"{switch}:")
            )


class MatrixTests:
    """What every cell must do: tests to inherit.

    A subclass stands in a module with the fixtures `matrix` and `name`, of each cell in turn.
    """

    def test_card_is_what_the_cell_says(self, matrix: Matrix, name: str) -> None:
        """A card that fell back to something else would pass traffic, too."""
        for cell, station in zip(matrix.cells[name].sides, matrix.pair(name), strict=True):
            agreed = matrix.front_end(station)
            assert CONSIDERED & set(agreed.features) == cell.features
            assert {ring.size for ring in agreed.rings if ring.running} == {cell.entries}
            mtu = station.guest.check(f"cat /sys/class/net/{station.interface}/mtu")
            assert int(mtu) == cell.mtu

    def test_frames_of_all_sizes_arrive_whole(self, matrix: Matrix, name: str) -> None:
        with matrix.accounted(name):
            matrix.exchange(name, count=3000)

    def test_tcp_delivers_every_byte(self, matrix: Matrix, name: str) -> None:
        """In segments of 64 KiB, too, which arrive in one piece if both cards take them."""
        first, second = matrix.pair(name)
        one, other = (side.features for side in matrix.cells[name].sides)
        with matrix.accounted(name):
            traffic.exchange_tcp(first, second, size=1_000_000, segments=one & other >= TSO)
        if not one & TSO:
            sent = matrix.lab.daemon.port(first.port).tx
            assert sent.bytes / sent.frames <= matrix.cells[name].mtu + 14
