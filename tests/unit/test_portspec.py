# SPDX-License-Identifier: BSD-2-Clause
"""netmap's names of ports: what each asks for, and what is wrong with those that are none."""

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringpass.portspec import BadPortSpec, ExternalMemory, Flag, Mode, Offset, Pipe, parse

RT = Flag.NR_MONITOR_RX | Flag.NR_MONITOR_TX
GOOD: dict[str, dict[str, Any]] = {
    "netmap:eth0": {"name": "eth0", "mode": Mode.NR_REG_ALL_NIC},
    "netmap:eth0-0": {"name": "eth0", "mode": Mode.NR_REG_ONE_NIC, "ringid": 0},
    "netmap:eth0-4094": {"mode": Mode.NR_REG_ONE_NIC, "ringid": 4094},
    "netmap:eth0^": {"mode": Mode.NR_REG_SW},
    "netmap:eth0^2": {"mode": Mode.NR_REG_ONE_SW, "ringid": 2},
    "netmap:eth0*": {"mode": Mode.NR_REG_NIC_SW},
    "netmap:eth0/x": {"flags": Flag.NR_EXCLUSIVE},
    "netmap:eth0/zz": {"flags": Flag.NR_ZCOPY_MON},
    "netmap:eth0/RT": {"flags": Flag.NR_RX_RINGS_ONLY | Flag.NR_TX_RINGS_ONLY},
    "netmap:eth0/rt": {"flags": RT},
    "netmap:eth0+rt": {"name": "eth0", "flags": RT},
    "netmap:eth0-1+z": {"mode": Mode.NR_REG_ONE_NIC, "ringid": 1, "flags": Flag.NR_ZCOPY_MON},
    "netmap:eth0@2": {"mem_id": 2},
    "netmap:eth0@65535": {"mem_id": 65535},
    "netmap:eth0@2/x@2": {"mem_id": 2, "flags": Flag.NR_EXCLUSIVE},
    "netmap:eth0/@2": {"mem_id": 2},
    "netmap:eth0^1/x@3": {"mode": Mode.NR_REG_ONE_SW, "ringid": 1, "mem_id": 3},
    "netmap:eth0{1": {"name": "eth0{1", "parent": "eth0", "pipe": Pipe.MASTER, "pipe_id": "1"},
    "vale0:a}in": {"name": "vale0:a}in", "parent": "vale0:a", "pipe": Pipe.SLAVE, "pipe_id": "in"},
    "netmap:a.b{c": {"parent": "a.b", "pipe": Pipe.MASTER, "pipe_id": "c"},
    "netmap:x{1-0": {"name": "x{1", "mode": Mode.NR_REG_ONE_NIC},
    "vale0:vm1": {"name": "vale0:vm1"},
    "vale:x": {"name": "vale:x"},
    "vale_Z9:eth0.1": {"name": "vale_Z9:eth0.1"},
    "netmap:eth0@conf:rings=2,slots=512,tx_rings=3": {
        "tx_rings": 3,
        "rx_rings": 2,
        "tx_slots": 512,
        "rx_slots": 512,
    },
    "netmap:eth0@conf:host-rings=2,rings=": {"host_tx_rings": 2, "host_rx_rings": 2, "rx_rings": 0},
    "netmap:eth0@conf:": {"rx_rings": 0},
    "netmap:eth0@conf:rx-slots=64@conf:tx-slots=32": {"tx_slots": 32, "rx_slots": 64},
    "netmap:eth0-1/x@2@share=vale0:a": {"mem_id": 2, "share": "vale0:a", "ringid": 1},
    "netmap:eth0@extmem=/dev/shm/a=b,c": {"extmem": ExternalMemory("/dev/shm/a=b,c")},
    "netmap:eth0@extmem:file=/x,buf-num=9": {"extmem": ExternalMemory("/x", buf_num=9)},
    "netmap:eth0@offset=128": {"offset": Offset(128)},
    "netmap:eth0@offset:initial=64,bits=16": {"offset": Offset(64, 16)},
}

BAD = {
    "": "",
    "eth0": "eth0",
    "valeX": "valeX",
    "vale-0:x": "vale-0:x",
    "netmap:": "netmap:",
    "netmap:@2": "netmap:@2",
    "netmap:" + 64 * "a": 64 * "a",
    "netmap:pipe{1}2": "{1}2",
    "netmap:a{b{c": "{b{c",
    "netmap:a{b.c": "{b.c",
    "netmap:a{": "{",
    "netmap:eth0-": "-",
    "netmap:eth0-4095": "-4095",
    "netmap:eth0-99999999999": "-99999999999",
    "netmap:eth0-3-4": "-4",
    "netmap:eth0*2": "2",
    "netmap:eth0/": "/",
    "netmap:eth0+": "+",
    "netmap:eth0/q": "q",
    "netmap:eth0+x": "x",
    "netmap:eth0/x/z": "/",
    "netmap:eth0@2/": "/",
    "netmap:eth0@0": "@0",
    "netmap:eth0@65536": "@65536",
    "netmap:eth0@70000": "@70000",
    "netmap:eth0@2@3": "@3",
    "netmap:eth0@2x": "x",
    "netmap:eth0@\u0663": "@\u0663",
    "netmap:eth0@": "@",
    "netmap:eth0@@conf:": "@",
    "netmap:eth0@confx": "@confx",
    "netmap:eth0@conf=4": "@conf=4",
    "netmap:eth0@conf:rings=abc": "@conf:rings=abc",
    "netmap:eth0@conf:rings=70000": "@conf:rings=70000",
    "netmap:eth0@conf:rings=-1": "@conf:rings=-1",
    "netmap:eth0@conf:rings": "@conf:rings",
    "netmap:eth0@conf:rings=1,": "@conf:rings=1,",
    "netmap:eth0@conf:rings=1,rings=1": "@conf:rings=1,rings=1",
    "netmap:eth0@conf:queues=1": "@conf:queues=1",
    "netmap:eth0@share": "@share",
    "netmap:eth0@share=": "@share=",
    "netmap:eth0@share=eth1": "@share=eth1",
    "netmap:eth0@share=vale0:a@share=vale0:b": "@share=vale0:b",
    "netmap:eth0@extmem:buf-num=1": "@extmem:buf-num=1",
    "netmap:eth0@extmem=/a@extmem=/b": "@extmem=/b",
    "netmap:eth0@offset:bits=8": "@offset:bits=8",
    "netmap:eth0@offset=1,bits=8": "@offset=1,bits=8",
}


@pytest.mark.parametrize("text", GOOD)
def test_name_asks_for_what_netmap_reads_in_it(text: str) -> None:
    spec = asdict(parse(text))
    expected = {
        key: asdict(value) if isinstance(value, ExternalMemory | Offset) else value
        for key, value in GOOD[text].items()
    }
    assert {key: spec[key] for key in expected} == expected


@pytest.mark.parametrize("text", BAD)
def test_name_that_is_none_is_refused_with_the_part_that_is_wrong(text: str) -> None:
    with pytest.raises(BadPortSpec) as caught:
        parse(text)
    assert caught.value.part == BAD[text]
    assert caught.value.reason
    assert repr(BAD[text]) in str(caught.value)


@pytest.mark.parametrize("text", ["netmap:\udcff", "vale0:\udcff/x", "netmap:a@extmem=\udcff"])
def test_name_that_is_not_utf_8_is_refused(text: str) -> None:
    with pytest.raises(BadPortSpec, match="not UTF-8") as caught:
        parse(text)
    assert str(caught.value).encode()
    assert caught.value.part == text.replace("\udcff", "\\udcff")


@pytest.mark.parametrize("flags", ["z", "t", "r", "ztr", "rrz"])
@pytest.mark.parametrize("port", ["netmap:eth0", "netmap:eth0-2", "vale0:a", "netmap:p{1"])
def test_old_spelling_of_monitors_means_the_same_as_the_new_one(port: str, flags: str) -> None:
    assert parse(f"{port}+{flags}") == parse(f"{port}/{flags}")


@given(st.text(st.sampled_from("netmapvl01{}:-^*/@+=,xztrRT_."), max_size=40))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    try:
        spec = parse("netmap:" + text)
    except BadPortSpec:
        return
    assert 0 < len(spec.name) <= 63
    assert 0 <= spec.ringid <= 4094
    assert 0 <= spec.mem_id <= 0xFFFF
