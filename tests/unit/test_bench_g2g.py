# SPDX-License-Identifier: BSD-2-Clause
"""What `bench g2g` plans to do, without guests; tests/guest/test_bench_g2g.py has them."""

import re
import tomllib
from pathlib import Path

import pytest

from ringpass import config
from ringpass.bench import g2g
from ringpass.bench.g2g import links
from ringpass.bench.g2g.cases import CASES, REFERENCES, Case
from ringpass.bench.g2g.pair import ports
from ringpass.bench.measure import Options
from ringpass.errors import RingpassError

HERE = Path("/run/here")


def test_no_two_rows_are_the_same_case() -> None:
    names = [(case.name, case.size) for case in CASES]
    assert len(set(names)) == len(names)
    for label in ("uml/", "tcg/", "qemu/"):
        assert any(name.startswith(label) for name, _ in names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.size}")
def test_a_case_lies_on_a_link_and_has_a_reference(case: Case) -> None:
    assert case.link in links.PORTS
    assert case.ref in REFERENCES


def test_tcp_of_user_mode_linux_is_measured_with_all_offloads_and_receivers() -> None:
    variants = {case.link for case in CASES if case.name.startswith("uml/tcp/")}
    for offloads in ("plain", "mrg", "tso", "tso-mrg"):
        assert {offloads, f"{offloads}-drop"} <= variants


def configured(*names: str) -> config.Config:
    return config.parse(tomllib.loads(links.config(list(names))), HERE, "g2g.toml")


def test_links_are_a_configuration_with_a_switch_for_each() -> None:
    names = list(links.PORTS)
    made = configured(*names)
    assert len(made.switches) == len(names)
    for guest in (1, 2):
        mine = ports(names, guest)
        assert len(set(mine.values())) == len(names)
        assert mine.keys() == {port for port in made.ports if port.endswith(f":vm{guest}")}


@pytest.mark.parametrize(
    ("name", "offloads", "withheld", "full"),
    [
        ("plain", set(), {"mrg_rxbuf"}, "hold"),
        ("mrg-drop", set(), set(), "drop"),
        ("tso", {"csum", "tso4", "tso6", "ecn"}, {"mrg_rxbuf"}, "hold"),
        ("tso-mrg-drop", {"csum", "tso4", "tso6", "ecn"}, set(), "drop"),
    ],
)
def test_a_variant_offers_what_its_name_says(
    name: str, offloads: set[str], withheld: set[str], full: str
) -> None:
    for port in configured(name).ports.values():
        assert (set(port.offloads), set(port.withhold), port.full) == (offloads, withheld, full)


def test_networks_of_qemu_meet_in_the_middle() -> None:
    first, second = (" ".join(links.netdev_args("dgram", HERE, guest)) for guest in (1, 2))
    assert path(first, "local") == path(second, "remote")
    assert path(first, "remote") == path(second, "local")
    first, second = (" ".join(links.netdev_args("stream", HERE, guest)) for guest in (1, 2))
    assert path(first, "addr") == path(second, "addr")
    assert ("server=on" in first, "server=on" in second) == (True, False)


def test_cards_on_networks_of_qemu_have_addresses_of_their_own() -> None:
    words = [
        " ".join(links.netdev_args(name, HERE, guest)) for name in links.NETDEVS for guest in (1, 2)
    ]
    assert len({match[0] for text in words if (match := re.search(r"mac=[^,]+", text))}) == 6


def path(arguments: str, end: str) -> str:
    found = re.search(rf"{end}\.path=([^,\s]+)", arguments)
    assert found is not None
    return found[1]


def test_tap_devices_that_may_not_be_made_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RingpassError("cannot make a network namespace", "Operation not permitted")

    said: list[str] = []
    monkeypatch.setattr(g2g, "tap_network", refuse)
    wanted = [case for case in CASES if case.ref == "tap"]
    assert g2g.with_guests("tcg", wanted, Options(1, 1.0), said.append) == []
    assert "Operation not permitted" in said[0]
