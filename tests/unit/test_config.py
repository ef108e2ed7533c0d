# SPDX-License-Identifier: BSD-2-Clause
"""Configuration files: what they mean, and how each mistake is reported."""

import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringpass import config
from ringpass.config import Config, Worker
from ringpass.errors import ConfigError

RUNTIME = Path("/run/ringpass")


def parse(text: str) -> Config:
    return config.parse(tomllib.loads(text), RUNTIME, "test.toml")


def wrong(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value


def port(settings: str) -> str:
    return f'[switch.vale0]\n[port."vale0:vm1"]\n{settings}'


def test_an_empty_file_is_a_daemon_without_ports() -> None:
    assert parse("") == Config(config.Daemon(), {}, {})


def test_a_port_is_completed() -> None:
    (made,) = parse(port("")).ports.values()
    assert made.path == "/run/ringpass/vale0.vm1.sock"
    assert made.mac == config.default_mac("vale0:vm1")
    assert (made.mode, made.queues, made.mtu) == ("server", 1, 1500)
    assert set(made.offloads) == set(config.ALL_OFFLOADS)


def test_configurations_that_mean_the_same_are_equal() -> None:
    mac = config.default_mac("vale0:vm1").upper()
    explicit = f'path = "/run/ringpass/vale0.vm1.sock"\nmac = "{mac}"'
    assert parse(port("")) == parse(port(explicit))
    assert parse(port('offloads = ["tso4", "csum"]')) == parse(port('offloads = ["csum", "tso4"]'))
    twice = 'withhold = ["packed", "in_order", "packed"]'
    assert parse(port(twice)) == parse(port('withhold = ["in_order", "packed"]'))


def test_a_relative_path_is_in_the_runtime_directory() -> None:
    (made,) = parse(port('path = "x.sock"')).ports.values()
    assert made.path == "/run/ringpass/x.sock"


def test_workers_are_a_number_or_tables() -> None:
    assert parse("[daemon]\nworkers = 3").daemon.worker_list() == [Worker()] * 3
    tables = parse('[daemon]\nworkers = [{cpu = 0, policy = "busy"}, {policy = "sleep:50"}]')
    assert tables.daemon.worker_list() == [Worker(0, "busy"), Worker(None, "sleep:50")]


@given(st.text(st.characters(codec="ascii"), min_size=1))
def test_derived_addresses_are_of_one_machine_and_stay_the_same(name: str) -> None:
    mac = config.default_mac(name)
    assert mac == config.default_mac(name)
    assert int(mac[:2], 16) & 3 == 2, "locally administered, unicast"


def test_derived_addresses_of_many_ports_differ() -> None:
    made = {config.default_mac(f"vale0:vm{number}") for number in range(10_000)}
    assert len(made) == 10_000


@pytest.mark.parametrize(
    ("text", "key", "why", "fix"),
    [
        ("[swich.vale0]", "swich", "no key 'swich'", "'switch'"),
        ("[switch.vale0]\nagein = 3", "switch.vale0.agein", "no key", "'ageing'"),
        (port("queus = 2"), 'port."vale0:vm1".queus', "no key 'queus'", "'queues'"),
        (port("zzz = 2"), 'port."vale0:vm1".zzz', "no key", "use one of: kind"),
        ("[daemon]\nworkers = [{cpuu = 1}]", "daemon.workers[0].cpuu", "no key", "'cpu'"),
        (port('queues = "2"'), 'port."vale0:vm1".queues', "expected a number", "1 to 8"),
        (port("queues = 0"), 'port."vale0:vm1".queues', ">= 1", "1 to 8"),
        (port("queues = 9"), 'port."vale0:vm1".queues', "<= 8", "1 to 8"),
        (port("mtu = 67"), 'port."vale0:vm1".mtu', ">= 68", "68 to 65535"),
        (port("mtu = 65536"), 'port."vale0:vm1".mtu', "<= 65535", "68 to 65535"),
        (port('mode = "srv"'), 'port."vale0:vm1".mode', "'srv'", "server"),
        (port('kind = "tap"'), 'port."vale0:vm1".kind', "'tap'", "netmap or passthrough"),
        (
            port('kind = "passthrough"\nmode = "client"'),
            'port."vale0:vm1".mode',
            "cannot listen",
            "remove it",
        ),
        (
            port('kind = "passthrough"\nextra_rings = 65'),
            'port."vale0:vm1".extra_rings',
            "<= 64",
            "0 to 64",
        ),
        (
            '[port."p{1"]\nkind = "passthrough"\n[port."p}1"]',
            'port."p{1".kind',
            "of kind vhost-user",
            "by a switch",
        ),
        (port('full = "no"'), 'port."vale0:vm1".full', "'no'", "hold or drop"),
        (port("hold_us = -1"), 'port."vale0:vm1".hold_us', ">= 0", "microseconds"),
        (port('mac = "52:54"'), 'port."vale0:vm1".mac', "form", "six bytes"),
        (port('mac = "53:54:00:00:00:01"'), 'port."vale0:vm1".mac', "one machine", "even"),
        (port('offloads = ["tso"]'), 'port."vale0:vm1".offloads[0]', "'tso'", "csum, tso4"),
        (port('offloads = ["csum", "ufo"]'), 'port."vale0:vm1".offloads[1]', "'ufo'", "tso6, ecn"),
        (port('withhold = ["mrg"]'), 'port."vale0:vm1".withhold[0]', "'mrg'", "mrg_rxbuf, "),
        (port('offloads = ["tso4"]'), 'port."vale0:vm1".offloads', "without csum", "add csum"),
        (port("worker = 1"), 'port."vale0:vm1".worker', "numbered 0 to 0", "daemon.workers"),
        ('[switch.vale0]\n[port."vale1:vm1"]', 'port."vale1:vm1"', "no switch vale1", "vale0"),
        ('[port."vale1:vm1"]', 'port."vale1:vm1"', "no switch vale1", "[switch.vale1]"),
        ("[switch.lan]", "switch.lan", "begin with 'vale'", "valelan"),
        ('[switch.vale0]\n[port."vale0:a-b"]', 'port."vale0:a-b"', "contains '-'", "another"),
        ("[port]\nvm1 = 3", "port.vm1", "it is a number, not a table", "[port.vm1.NAME]"),
        ("port = 3", "port", "it is a number, not a table", "[port.NAME]"),
        ("[daemon]\nworkers = 0", "daemon.workers", ">= 1", "a list of tables"),
        ("[daemon]\nworkers = []", "daemon.workers", "1 to 64", ""),
        ("[daemon]\nsocket_mode = 660", "daemon.socket_mode", "a text", '"0660"'),
        ('[daemon]\nsocket_mode = "999"', "daemon.socket_mode", "form", '"0660"'),
        (
            '[daemon]\nworkers = [{policy = "sleep"}]',
            "daemon.workers[0].policy",
            "form",
            "sleep:MICROSECONDS",
        ),
        (
            port(f'path = "/{"x" * 107}"'),
            'port."vale0:vm1".path',
            "108 bytes; a unix socket's path has at most 107",
            "a shorter one",
        ),
        (
            port('path = "/x"') + '\n[port."vale0:vm2"]\npath = "/x"',
            'port."vale0:vm2".path',
            "vale0:vm1 has the socket /x",
            "",
        ),
        (
            port(f'kind = "passthrough"\npath = "/{"x" * 102}.sock"'),
            'port."vale0:vm1".path',
            ".netdev has 110 bytes",
            "a shorter one",
        ),
        (
            port('kind = "passthrough"\npath = "/x.sock"')
            + '\n[port."vale0:vm2"]\npath = "/x.netdev"',
            'port."vale0:vm2".path',
            "vale0:vm1 has the socket /x.netdev",
            "",
        ),
        (
            port('mac = "52:54:00:00:00:01"') + '\n[port."vale0:vm2"]\nmac = "52:54:00:00:00:01"',
            'port."vale0:vm2".mac',
            "vale0:vm1 has the address",
            "its own",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_place_and_what_to_do(
    text: str, key: str, why: str, fix: str
) -> None:
    error = wrong(text)
    assert error.what == f"test.toml: {key} is wrong"
    assert why in error.why
    assert fix in error.fix


def test_a_worker_needs_a_processor_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", {"SC_NPROCESSORS_CONF": 4}.__getitem__)
    assert parse("[daemon]\nworkers = [{cpu = 3}]").daemon.worker_list() == [Worker(3)]
    error = wrong("[daemon]\nworkers = [{cpu = 0}, {cpu = 4}]")
    assert error.what == "test.toml: daemon.workers[1].cpu is wrong"
    assert error.why == "there is no processor 4; this machine has 0 to 3"
    assert "leave cpu out" in error.fix


def test_a_port_that_throws_frames_away_needs_no_switch() -> None:
    assert parse('[port."vale9:sink"]\nkind = "null"').switches == {}


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"[switch.vale0\n", "line 1"), (b"\xff", "UTF-8"), (None, "No such file")],
)
def test_a_file_that_cannot_be_read_says_why(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "x.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.load(path, RUNTIME)
    assert str(path) in caught.value.what
    assert why in caught.value.why


TOML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 100) | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=10,
)
SOME_KEYS = st.sampled_from(
    ["kind", "mode", "queues", "mtu", "mac", "offloads", "withhold", "worker", "path"]
)


@given(
    st.dictionaries(
        st.sampled_from(["daemon", "switch", "port"]) | st.text(),
        TOML_VALUES
        | st.dictionaries(
            st.sampled_from(["vale0", "vale0:vm1", "workers", "socket_mode"]),
            TOML_VALUES | st.dictionaries(SOME_KEYS, TOML_VALUES, max_size=3),
            max_size=3,
        ),
        max_size=3,
    )
)
def test_any_tables_are_a_configuration_or_a_config_error(tables: dict[str, object]) -> None:
    try:
        config.parse(tables, RUNTIME, "any")
    except ConfigError:
        return


def test_what_the_schema_says_is_what_a_file_may_have() -> None:
    fields = config.schema()["$defs"]["Port"]["properties"]
    assert fields.keys() == set(config.Port.__struct_fields__)
    assert msgspec.json.encode(config.schema())
