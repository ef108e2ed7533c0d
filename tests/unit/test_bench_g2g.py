# SPDX-License-Identifier: BSD-2-Clause
"""What `bench g2g` plans to do, without guests; tests/guest/test_bench_g2g.py has them."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ringpass import config
from ringpass.bench import g2g
from ringpass.bench.g2g import pair
from ringpass.bench.g2g.cases import CASES, REFERENCES, Case
from ringpass.bench.g2g.link import Link
from ringpass.bench.g2g.table import markdown
from ringpass.bench.g2g.ways import LINKS
from ringpass.bench.measure import Options
from ringpass.bench.report import NO_GOAL, Row, row
from ringpass.errors import NotFound, RingpassError

HERE = Path("/run/here")


def test_no_two_rows_are_the_same_case() -> None:
    names = [(case.name, case.size) for case in CASES]
    assert len(set(names)) == len(names)
    for label in ("uml/", "tcg/", "qemu/"):
        assert any(name.startswith(label) for name, _ in names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.size}")
def test_a_case_lies_on_a_link_and_has_a_reference(case: Case) -> None:
    assert case.link in LINKS
    assert case.ref in REFERENCES
    assert set(case.refs) <= LINKS.keys()


def test_tcp_of_user_mode_linux_is_measured_with_all_offloads_and_receivers() -> None:
    variants = {case.link for case in CASES if case.name.startswith("uml/tcp/")}
    for offloads in ("plain", "mrg", "tso", "tso-mrg"):
        assert {offloads, f"{offloads}-drop"} <= variants


def chosen(*names: str) -> list[Link]:
    return [LINKS[name] for name in names]


def configured(links: Iterable[Link]) -> config.Config:
    text = "\n\n".join(link.tables for link in links)
    return config.parse(tomllib.loads(text), HERE, "g2g.toml")


def test_links_are_a_configuration_with_a_switch_for_each() -> None:
    links = [link for link in LINKS.values() if link.via == "vhost-vale"]
    made = configured(links)
    assert len(made.switches) == len(links)
    for guest in (1, 2):
        mine = pair.ports(links, guest)
        assert len(set(mine.values())) == len(links)
        assert mine.keys() == {port for port in made.ports if port.endswith(f":vm{guest}")}


def test_interfaces_have_the_names_and_addresses_that_the_kernel_will_find() -> None:
    links = chosen("stream", "vale", "loopback", "tap")
    assert pair.interfaces(links, 1) == {
        "vale": ["eth0"],
        "stream": ["eth1"],
        "tap": ["eth2"],
        "loopback": [],
    }
    assert pair.address(links, LINKS["tap"], 2) == "10.0.3.2"
    assert pair.ports(links, 2) == {"vale0:vm2": "10.0.1.2/24"}


def test_cards_on_ports_of_guests_are_counted_apart() -> None:
    links = chosen("passthrough", "vale", "mixed", "chain-2")
    assert pair.interfaces(links, 1) == {
        "passthrough": ["rp0"],
        "vale": ["eth0"],
        "mixed": ["rp1"],
        "chain-2": ["rp2", "rp3"],
    }
    assert pair.interfaces(links, 2)["mixed"] == ["eth1"]


def test_all_links_are_a_configuration_whose_ports_are_the_cards() -> None:
    made = configured(LINKS.values())
    wanted = {card.port for link in LINKS.values() for cards in link.cards for card in cards} - {""}
    assert made.ports.keys() - wanted == {"valenic:rpnic0", "valeproc:host"}
    assert wanted <= made.ports.keys()
    for link in LINKS.values():
        for card in (card for cards in link.cards for card in cards if card.passthrough):
            assert made.ports[card.port].kind == "passthrough"


def test_a_chain_joins_its_guests_by_pipes_in_one_region() -> None:
    first, last = ([card.port for card in cards] for cards in LINKS["chain-2"].cards)
    assert first == ["valechain2:p}1", "valechain2:p{2"]
    assert last == ["valechain2:p}2", "valechain2:p{3"]
    ports = configured(chosen("chain-2")).ports.values()
    assert {port.region for port in ports} == {"valechain2"}


@pytest.mark.parametrize(
    ("ways", "vias"),
    [
        (["qemu"], {"qemu-stream", "qemu-dgram", "qemu-tap"}),
        (["vhost-vale"], {"vhost-vale"}),
        (["tap", "vhost"], {"qemu-tap", "vhost-vale"}),
    ],
)
def test_ways_are_chosen_whole_or_by_a_word(ways: list[str], vias: set[str]) -> None:
    options = Options(1, 1, ways=ways)
    found = {case.via for case in CASES if options.want(case.name, case.size, 2, case.via)}
    assert vias <= found
    assert all(via in ways or set(ways) & set(via.split("-")) for via in found)


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
    for port in configured(chosen(name)).ports.values():
        assert (set(port.offloads), set(port.withhold), port.full) == (offloads, withheld, full)


def arguments(name: str, guest: int) -> str:
    (card,) = LINKS[name].cards[guest - 1]
    return " ".join(pair.netdev_args(name, card, HERE, list(LINKS).index(name), guest))


def test_networks_of_qemu_meet_in_the_middle() -> None:
    first, second = (arguments("dgram", guest) for guest in (1, 2))
    assert path(first, "local") == path(second, "remote")
    assert path(first, "remote") == path(second, "local")
    first, second = (arguments("stream", guest) for guest in (1, 2))
    assert path(first, "addr") == path(second, "addr") == f"{HERE}/stream.sock"
    assert ("server=on" in first, "server=on" in second) == (True, False)


def test_cards_on_networks_of_qemu_have_addresses_of_their_own() -> None:
    words = [arguments(name, guest) for name in ("stream", "dgram", "tap") for guest in (1, 2)]
    assert len({match[0] for text in words if (match := re.search(r"mac=[^,]+", text))}) == 6


def path(arguments: str, end: str) -> str:
    found = re.search(rf"{end}\.path=([^,\s]+)", arguments)
    assert found is not None
    return found[1]


def test_ports_on_the_patched_qemu_have_its_devices() -> None:
    links = chosen("ptnet", "netdev-virtio", "ptnet-pipe")
    assert all(link.patched for link in links)
    assert not LINKS["passthrough"].patched
    assert pair.interfaces(links, 2) == {
        "ptnet": ["rp0"],
        "netdev-virtio": ["eth0"],
        "ptnet-pipe": ["rp1"],
    }
    assert all(port.kind == "passthrough" for port in configured(links).ports.values())


def test_cases_of_the_patched_qemu_are_left_out_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise NotFound("there is no such QEMU", "it has not been built", "make qemu")

    said: list[str] = []
    monkeypatch.setattr(g2g, "program", missing)
    assert g2g.measure(Options(1, 1.0, ways=["ptnet", "netdev"]), said.append) == []
    assert len(said) == 1
    assert "make qemu" in said[0]


def test_devices_that_may_not_be_made_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RingpassError("cannot make a network namespace", "Operation not permitted")

    said: list[str] = []
    monkeypatch.setattr(g2g, "private_network", refuse)
    wanted = [case for case in CASES if case.refs == ("tap",)]
    assert g2g.with_guests("tcg", wanted, Options(1, 1.0), said.append) == []
    assert "Operation not permitted" in said[0]


def test_a_best_reference_does_without_one_that_is_not_there() -> None:
    cases = [case for case in CASES if case.link in ("vale", "tap") and case.ref == "netdevs"]
    left = g2g.measurable(cases, chosen("vale", "stream"))
    assert left
    assert {case.link for case in left} == {"vale"}
    assert g2g.measurable(cases, chosen("vale")) == []


def test_the_table_has_a_line_for_each_way() -> None:
    def measured(case: str, size: int, via: str, **more: Any) -> Row:
        return row(
            *(case, size, [500.0]),
            ref="",
            ref_samples=[20000.0],
            goal=NO_GOAL,
            threads={},
            via=via,
            label="tcg",
            **more,
        )

    used = {"backend_cores": 0.25, "guest_cores": 1.5}
    used |= {"kicks_per_frame": 0.00123, "calls_per_frame": 0.5}
    rtt = {"min": 1.0, "median": 100.0, "p90": 200.4, "p99": 300.0}
    table = markdown(
        [
            measured("tcg/flood", 60, "vhost-vale", **used),
            measured("vhost-vale/flood", 60, "vhost-vale", **used),
            measured("qemu-tap/tcp", 1000, "qemu-tap", gbps=1.234),
            measured("qemu-tap/rtt", 98, "qemu-tap", rtt_us=rtt),
        ]
    )
    _, _, vhost, tap = ([word.strip() for word in line.split("|")] for line in table.splitlines())
    cells = ["2 000 000", "", "", "", "", "", "0.0012 / 0.5", "0.25 + 1.50"]
    assert vhost[1:] == ["vhost-vale", *cells, ""]
    assert tap[1:] == ["qemu-tap", "", "", "", "1.2", "", "100 / 200 / 300", "", "", ""]
