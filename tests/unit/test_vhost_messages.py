# SPDX-License-Identifier: BSD-2-Clause
"""The vhost-user wire format: what is packed is unpacked, and nothing else is."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringpass.dataplane import MemorySlot
from ringpass.vhostuser import messages as m

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
SLOT = st.builds(MemorySlot, U64, U64, U64, U64)

PAYLOADS: st.SearchStrategy[m.Payload] = st.one_of(
    st.just(m.Empty()),
    st.builds(m.Number, U64),
    st.builds(m.VringState, U32, U32),
    st.builds(m.VringAddress, U32, U32, U64, U64, U64, U64),
    st.builds(m.VringFile, U64),
    st.builds(m.MemoryTable, st.lists(SLOT, max_size=m.MAX_TABLE_ROWS).map(tuple)),
    st.builds(m.MemoryRow, SLOT),
    st.builds(m.ConfigSpace, st.integers(0, 6), U32, st.binary(max_size=250)),
)
KINDS = (
    m.Header, m.Empty, m.Number, m.VringState, m.VringAddress, m.VringFile, m.MemoryTable,
    m.MemoryRow, m.ConfigSpace,
)  # fmt: skip


@given(PAYLOADS)
def test_what_is_packed_is_unpacked(payload: m.Payload) -> None:
    assert type(payload).unpack(payload.pack()) == payload


@given(st.sampled_from(KINDS), st.binary(max_size=m.MAX_PAYLOAD))
def test_any_bytes_are_unpacked_or_refused(kind: type[m.Payload], data: bytes) -> None:
    with contextlib.suppress(m.ProtocolError):
        payload = kind.unpack(data)
        assert kind.unpack(payload.pack()) == payload


def test_a_memory_table_may_have_room_for_more_rows() -> None:
    row = MemorySlot(0, 4096, 0x1000, 0)
    table = m.MemoryTable((row,))
    assert m.MemoryTable.unpack(table.pack() + bytes(32)) == table


@pytest.mark.parametrize("count", [9, 2**32 - 1])
def test_a_memory_table_with_too_many_rows_is_refused(count: int) -> None:
    with pytest.raises(m.ProtocolError, match="rows"):
        m.MemoryTable.unpack(struct.pack("=II", count, 0) + bytes(32 * 9))


def test_a_memory_table_with_fewer_bytes_than_rows_is_refused() -> None:
    with pytest.raises(m.ProtocolError, match="2 rows in 40 bytes"):
        m.MemoryTable.unpack(struct.pack("=II", 2, 0) + bytes(32))


def test_a_configuration_beyond_its_end_is_refused() -> None:
    with pytest.raises(m.ProtocolError, match="bytes 250 to 260"):
        m.ConfigSpace.unpack(struct.pack("=III", 250, 10, 0) + bytes(10))


def test_a_reply_has_the_flags_that_user_mode_linux_insists_on() -> None:
    assert m.reply(m.Request.GET_FEATURES, m.Number(7)) == struct.pack("=IIIQ", 1, 5, 8, 7)


def test_feature_bits_have_names() -> None:
    bits = m.Feature.CSUM | m.Feature.VERSION_1 | 1 << 50
    assert m.words(bits, m.Feature) == ["CSUM", "VERSION_1", "bit 50"]
