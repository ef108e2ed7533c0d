# SPDX-License-Identifier: BSD-2-Clause
"""What the device reads in `nr_name`, and which rings a registration means."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringpass.errors import RingpassError
from ringpass.netmap import names
from ringpass.netmap.abi import Flag, Mode, Register
from ringpass.netmap.names import PortName
from ringpass.netmap.rings import Geometry, Range, Selection, select

NIC = Geometry(4, 2, 1024, 512, 1, 1)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("vale0:vm1", PortName("vale0:vm1", "vale", switch="vale0")),
        ("vale:x", PortName("vale:x", "vale", switch="vale")),
        ("eth0", PortName("eth0", "interface")),
        ("valet0", PortName("valet0", "interface")),
        ("val0", PortName("val0", "interface")),
        ("x{a", PortName("x{a", "pipe", parent="x", peer="x}a", master=True)),
        (
            "vale0:x}7",
            PortName("vale0:x}7", "pipe", parent="vale0:x", peer="vale0:x{7", master=False),
        ),
    ],
)
def test_a_name_has_parts(text: str, parsed: PortName) -> None:
    assert names.parse(text) == parsed


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", errno.EINVAL),
        ("vale0:", errno.EINVAL),
        ("vale0:" + "x" * 16, errno.EINVAL),
        ("vale" + "0" * 12 + ":x", errno.EINVAL),
        ("vale0:a:b", errno.EINVAL),
        ("vale0:a b", errno.EINVAL),
        ("{x", errno.EINVAL),
        ("x{", errno.EINVAL),
        ("x{1}2", errno.EINVAL),
        ("x{a.b", errno.EINVAL),
        ("a/b", errno.EINVAL),
        ("a:b", errno.EINVAL),
        ("\udcff", errno.EINVAL),
        ("i" * 16, errno.ENXIO),
    ],
)
def test_what_is_no_name_is_refused(text: str, number: int) -> None:
    with pytest.raises(RingpassError) as caught:
        names.parse(text)
    assert caught.value.errno == number
    assert caught.value.fix


@given(st.text(max_size=70))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        parsed = names.parse(text)
    except RingpassError as error:
        assert error.errno in (errno.EINVAL, errno.ENXIO)  # noqa: PT017  either is fine
    else:
        assert parsed.text == text
        assert text.isprintable()


@pytest.mark.parametrize(
    ("mode", "ringid", "flags", "selection"),
    [
        (Mode.ALL_NIC, 3, 0, Selection(Range(0, 4), Range(0, 2))),
        (Mode.SW, 0, 0, Selection(host_tx=Range(0, 1), host_rx=Range(0, 1))),
        (Mode.NIC_SW, 0, 0, Selection(Range(0, 4), Range(0, 2), Range(0, 1), Range(0, 1))),
        (Mode.ONE_NIC, 1, 0, Selection(Range(1, 1), Range(1, 1))),
        (Mode.ONE_NIC, 3, 0, Selection(Range(3, 1), Range(0, 1))),
        (Mode.ONE_SW, 0, 0, Selection(host_tx=Range(0, 1), host_rx=Range(0, 1))),
        (Mode.ALL_NIC, 0, Flag.RX_RINGS_ONLY, Selection(rx=Range(0, 2))),
        (Mode.NIC_SW, 0, Flag.TX_RINGS_ONLY, Selection(Range(0, 4), host_tx=Range(0, 1))),
        (Mode.ALL_NIC, 0, Flag.RX_RINGS_ONLY | Flag.TX_RINGS_ONLY, Selection()),
    ],
)
def test_a_mode_means_rings(mode: Mode, ringid: int, flags: int, selection: Selection) -> None:
    assert select("eth0", NIC, mode, ringid, flags) == selection


@pytest.mark.parametrize(
    ("geometry", "mode", "ringid"),
    [
        (NIC, Mode.DEFAULT, 0),
        (NIC, Mode.PIPE_MASTER, 0),
        (NIC, Mode.PIPE_SLAVE, 0),
        (NIC, 9, 0),
        (NIC, 0xFFFF_FFFF, 0),
        (NIC, Mode.ONE_NIC, 4),
        (NIC, Mode.ONE_SW, 1),
        (Geometry(), Mode.SW, 0),
        (Geometry(), Mode.NIC_SW, 0),
        (Geometry(), Mode.ONE_SW, 0),
    ],
)
def test_rings_that_are_not_there_are_refused(geometry: Geometry, mode: int, ringid: int) -> None:
    with pytest.raises(RingpassError) as caught:
        select("x", geometry, mode, ringid, 0)
    assert caught.value.errno == errno.EINVAL


@given(
    st.builds(
        Register,
        tx_slots=st.integers(0, 0xFFFF_FFFF),
        rx_slots=st.integers(0, 0xFFFF_FFFF),
        tx_rings=st.integers(0, 0xFFFF),
        rx_rings=st.integers(0, 0xFFFF),
    )
)
def test_any_geometry_becomes_one_that_can_be_had(request: Register) -> None:
    got = Geometry().wanted(request)
    assert 1 <= got.tx_rings <= 16
    assert 1 <= got.rx_rings <= 16
    assert 2 <= got.tx_slots <= 4096
    assert 2 <= got.rx_slots <= 4096
    if request.tx_slots in range(2, 4097):
        assert got.tx_slots == request.tx_slots
    assert (got.tx_slots == 1024) >= (request.tx_slots == 0)


ranges = st.builds(Range, st.integers(0, 6), st.integers(0, 6))


@given(ranges, ranges)
def test_ranges_overlap_if_they_have_a_ring_in_common(one: Range, other: Range) -> None:
    common = [ring for ring in range(20) if ring in one and ring in other]
    assert one.overlaps(other) == bool(common)
