# SPDX-License-Identifier: BSD-2-Clause
"""netmap's structures have the sizes and offsets that a compiled netmap program has."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringpass.netmap import abi
from ringpass.netmap.abi import Body, OptionType, Request

# Structure, size, offset and format of each field that is a number.
LAYOUTS: list[tuple[type[Body], int, dict[str, tuple[int, str]]]] = [
    (
        abi.Header,
        88,
        {
            "version": (0, "H"),
            "reqtype": (2, "H"),
            "reserved": (4, "I"),
            "options": (72, "Q"),
            "body": (80, "Q"),
        },
    ),
    (
        abi.OptionHeader,
        24,
        {"next": (0, "Q"), "reqtype": (8, "I"), "status": (12, "I"), "size": (16, "Q")},
    ),
    (
        abi.Register,
        56,
        {
            "offset": (0, "Q"),
            "memsize": (8, "Q"),
            "tx_slots": (16, "I"),
            "rx_slots": (20, "I"),
            "tx_rings": (24, "H"),
            "rx_rings": (26, "H"),
            "host_tx_rings": (28, "H"),
            "host_rx_rings": (30, "H"),
            "mem_id": (32, "H"),
            "ringid": (34, "H"),
            "mode": (36, "I"),
            "extra_bufs": (40, "I"),
            "flags": (48, "Q"),
        },
    ),
    (
        abi.PortInfo,
        32,
        {
            "memsize": (0, "Q"),
            "tx_slots": (8, "I"),
            "rx_slots": (12, "I"),
            "tx_rings": (16, "H"),
            "rx_rings": (18, "H"),
            "host_tx_rings": (20, "H"),
            "host_rx_rings": (22, "H"),
            "mem_id": (24, "H"),
        },
    ),
    (abi.ValeAttach, 64, {"port_index": (56, "I")}),
    (abi.ValeDetach, 8, {"port_index": (0, "I")}),
    (abi.ValeList, 8, {"bridge_idx": (0, "H"), "port_idx": (4, "I")}),
    (abi.PortHeader, 8, {"hdr_len": (0, "I")}),
    (
        abi.ValeNewif,
        16,
        {
            "tx_slots": (0, "I"),
            "rx_slots": (4, "I"),
            "tx_rings": (8, "H"),
            "rx_rings": (10, "H"),
            "mem_id": (12, "H"),
        },
    ),
    (abi.ValePolling, 16, {"mode": (0, "I"), "first_cpu": (4, "I"), "num_cpus": (8, "I")}),
    (
        abi.PoolsInfo,
        64,
        {
            "memsize": (0, "Q"),
            "mem_id": (8, "H"),
            "if_pool_offset": (16, "Q"),
            "if_pool_objtotal": (24, "I"),
            "if_pool_objsize": (28, "I"),
            "ring_pool_offset": (32, "Q"),
            "ring_pool_objtotal": (40, "I"),
            "ring_pool_objsize": (44, "I"),
            "buf_pool_offset": (48, "Q"),
            "buf_pool_objtotal": (56, "I"),
            "buf_pool_objsize": (60, "I"),
        },
    ),
    (abi.KloopStart, 8, {"sleep_us": (0, "I")}),
    (abi.Extmem, 96 - 24, {"usrptr": (0, "Q")}),
    (abi.Csb, 40 - 24, {"atok": (24 - 24, "Q"), "ktoa": (32 - 24, "Q")}),
    (abi.KloopMode, 32 - 24, {"mode": (24 - 24, "I")}),
    (
        abi.Offsets,
        56 - 24,
        {
            "max_offset": (24 - 24, "Q"),
            "initial_offset": (32 - 24, "Q"),
            "offset_bits": (40 - 24, "I"),
            "tx_align": (44 - 24, "I"),
            "min_gap": (48 - 24, "Q"),
        },
    ),
    (
        abi.LegacyRequest,
        60,
        {
            "version": (16, "I"),
            "offset": (20, "I"),
            "memsize": (24, "I"),
            "tx_slots": (28, "I"),
            "rx_slots": (32, "I"),
            "tx_rings": (36, "H"),
            "rx_rings": (38, "H"),
            "ringid": (40, "H"),
            "cmd": (42, "H"),
            "arg1": (44, "H"),
            "arg2": (46, "H"),
            "arg3": (48, "I"),
            "flags": (52, "I"),
        },
    ),
]


@pytest.mark.parametrize(
    ("layout", "size", "fields"), LAYOUTS, ids=lambda v: getattr(v, "__name__", "")
)
def test_each_field_is_where_netmap_has_it(
    layout: type[Body], size: int, fields: dict[str, tuple[int, str]]
) -> None:
    assert layout.bytes() == size
    for number, (word, (offset, form)) in enumerate(fields.items()):
        value = layout()
        largest = 256 ** struct.calcsize(form) - 1 - number
        setattr(value, word, largest)
        data = value.pack()
        assert struct.unpack_from(f"<{form}", data, offset) == (largest,)
        assert layout.unpack(data) == layout.unpack(value.pack())
        assert getattr(layout.unpack(data), word) == largest


@pytest.mark.parametrize("layout", [row[0] for row in LAYOUTS])
@given(data=st.data())
def test_any_bytes_unpack_and_pack_to_the_same_fields(
    layout: type[Body], data: st.DataObject
) -> None:
    raw = data.draw(st.binary(min_size=layout.bytes(), max_size=layout.bytes()))
    value = layout.unpack(raw)
    assert layout.unpack(value.pack()) == value


def test_every_request_and_option_has_its_body() -> None:
    assert set(abi.BODIES) == set(Request)
    assert set(abi.OPTION_BODIES) == set(OptionType)
    bodiless = [request.name for request, body in abi.BODIES.items() if body is None]
    assert bodiless == ["VALE_DELIF", "SYNC_KLOOP_STOP", "CSB_ENABLE"]


@given(st.binary(max_size=64))
def test_a_name_of_any_bytes_survives(raw: bytes) -> None:
    expected = raw.split(b"\0", 1)[0]
    assert abi.chars(abi.text(raw)) == expected
