# SPDX-License-Identifier: BSD-2-Clause
"""Rings and slots of ringport, over plain memory that is laid out as netmap does."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringpass._dp import ffi, lib
from ringport import Error, abi
from tests.support.netmap_region import FakeRegion

PACKAGE = Path(__file__).parents[2] / "guestdrv" / "ringport"


def test_the_numbers_are_the_compilers() -> None:
    assert ffi.sizeof("struct netmap_slot") == abi.SLOT.size
    assert ffi.sizeof("struct netmap_ring") == abi.RING_SLOTS_AT
    assert ffi.sizeof("struct netmap_if") == abi.RING_OFS_AT
    assert ffi.offsetof("struct netmap_ring", "head") == abi.RING_CURSORS
    assert ffi.offsetof("struct netmap_ring", "ts_sec") == abi.RING_TIME_AT
    assert ffi.offsetof("struct netmap_ring", "offset_mask") == abi.RING_OFFSET_MASK_AT
    assert ffi.offsetof("struct netmap_if", "ni_bufs_head") == abi.BUFS_HEAD_AT
    assert (lib.NETMAP_DIR_RX, lib.NETMAP_DIR_TX) == (abi.DIR_RX, abi.DIR_TX)
    assert (lib.NETMAP_API, lib.NETMAP_MAX_FRAGS) == (abi.API, abi.MAX_FRAGS)
    assert lib.NETMAP_BUF_RESERVED == abi.BUFS_RESERVED
    names = [name for name in vars(abi) if name.startswith("NS_")]
    assert {name: getattr(lib, name) for name in names} == {n: vars(abi)[n] for n in names}


def test_rings_are_found_in_netmaps_order() -> None:
    port = FakeRegion([(True, 8), (True, 16), (False, 32)]).port()
    assert [(ring.is_tx, ring.number, ring.num_slots) for ring in port.rings] == [
        (True, 0, 8),
        (True, 1, 16),
        (False, 0, 32),
    ]
    assert (len(port.tx), len(port.rx), port.host_tx, port.host_rx) == (2, 1, (), ())


@given(
    slots=st.integers(2, 20),
    rounds=st.lists(st.lists(st.binary(max_size=300), max_size=30), max_size=6),
)
def test_frames_leave_as_they_were_put(slots: int, rounds: list[list[bytes]]) -> None:
    fake = FakeRegion([(True, slots)], buf_bytes=64)
    with fake.port() as port:
        (ring,), binding = port.tx, fake.binding
        for frames in rounds:
            put = []
            for frame in frames:
                pieces = [frame[i : i + 64] for i in range(0, len(frame), 64)] or [b""]
                if len(pieces) > slots - 1:
                    with pytest.raises(Error, match="slots of 64 bytes"):
                        ring.put(frame)
                elif ring.put(frame):
                    put += pieces
                else:
                    assert ring.space < len(pieces)
            port.txsync()
            assert binding.sent == put
            binding.sent.clear()
            assert ring.space == slots - 1


@given(slots=st.integers(2, 20), sizes=st.lists(st.integers(0, 64), max_size=60))
def test_frames_are_received_as_they_came(slots: int, sizes: list[int]) -> None:
    fake = FakeRegion([(False, slots)], buf_bytes=64)
    frames = [bytes([i]) * size for i, size in enumerate(sizes)]
    with fake.port() as port:
        (ring,) = port.rx
        fake.binding.waiting.extend(frames)
        got = []
        while port.wait_readable(0):
            got += [bytes(slot.data) for slot in ring]
            ring.advance(len(ring))
        assert got == frames


def test_a_frame_of_several_slots_is_taken_whole() -> None:
    fake = FakeRegion([(False, 8)])
    with fake.port() as port:
        (ring,) = port.rx
        fake.binding.waiting.extend([b"abc", b"de", b"f"])
        port.rxsync()
        ring[0].flags = ring[1].flags = abi.NS_MOREFRAG
        assert ring.get() == b"abcdef"
        assert ring.get() is None
        fake.binding.waiting.append(b"begun")
        port.rxsync()
        ring[0].flags = abi.NS_MOREFRAG
        assert ring.get() is None
        assert len(ring) == 1


def test_slots_are_reached_by_their_place_behind_head() -> None:
    ring = FakeRegion([(True, 4)]).port().tx[0]
    assert [slot.index for slot in ring] == [0, 1, 2]
    ring.advance(2)
    assert (ring.head, ring.cur, ring.tail, ring.space) == (2, 2, 3, 1)
    assert [slot.index for slot in ring[:]] == [2]
    assert ring[-1].index == ring[0].index == 2
    assert ring.slot(3).index == 3
    with pytest.raises(IndexError):
        ring[1]
    with pytest.raises(IndexError):
        ring.slot(4)


@pytest.mark.parametrize("slots", [-1, 4])
def test_more_than_it_has_no_ring_gives_away(slots: int) -> None:
    ring = FakeRegion([(True, 4)]).port().tx[0]
    with pytest.raises(Error, match="its user owns 3 slots") as caught:
        ring.advance(slots)
    assert caught.value.errno == errno.EINVAL
    assert ring.head == 0


def test_slots_swap_their_buffers() -> None:
    fake = FakeRegion([(True, 4), (False, 4)])
    with fake.port() as port:
        one, other = port.tx[0][0], port.rx[0].slot(0)
        one.data = b"hello"
        before = (one.buf_idx, other.buf_idx)
        one.swap(other)
        assert (other.buf_idx, one.buf_idx) == before
        assert one.flags == other.flags == abi.NS_BUF_CHANGED
        other.len = 5
        assert bytes(other.data) == b"hello"
        other.data[0] = ord("j")
        assert bytes(other.buffer[:5]) == b"jello"


def test_slots_of_different_regions_do_not_swap() -> None:
    one, other = (FakeRegion([(True, 4)]).port().tx[0][0] for _ in range(2))
    with pytest.raises(Error, match="different regions") as caught:
        one.swap(other)
    assert caught.value.errno == errno.EXDEV


def test_data_begins_where_the_slot_says() -> None:
    fake = FakeRegion([(True, 4)], buf_bytes=64, offset_bits=6)
    with fake.port() as port:
        (ring,) = port.tx
        for slot in ring:
            slot.ptr = 16 | 1 << 40
        assert ring.put(b"x" * 60)
        port.txsync()
        assert fake.binding.sent == [b"x" * 48, b"x" * 12]
        with pytest.raises(Error, match="from offset 16 on"):
            ring[0].data = bytes(49)


@pytest.mark.parametrize("buf_idx", [0, 1, 5, 2**32 - 1])
def test_a_buffer_outside_the_region_is_refused(buf_idx: int) -> None:
    slot = FakeRegion([(True, 3)]).port().tx[0][0]
    slot.buf_idx = buf_idx
    with pytest.raises(Error, match=f"index {buf_idx} is not within 2 to 4") as caught:
        _ = slot.data
    assert caught.value.errno == errno.EFAULT


@pytest.mark.parametrize(
    ("field", "value"), [("len", 2**16), ("flags", -1), ("buf_idx", 2**33), ("ptr", 2**64)]
)
def test_a_value_that_its_field_has_no_room_for_is_a_value_error(field: str, value: int) -> None:
    with FakeRegion([(True, 4)]).port() as port:
        slot = port.tx[0][0]
        before = getattr(slot, field)
        with pytest.raises(ValueError, match="invalid value for format"):
            setattr(slot, field, value)
        with pytest.raises(TypeError):
            setattr(slot, field, "1")
        assert getattr(slot, field) == before


def test_a_length_over_the_buffer_shows_the_buffer() -> None:
    slot = FakeRegion([(True, 3)], buf_bytes=64).port().tx[0][0]
    slot.len = 65535
    assert len(slot.data) == 64


@pytest.mark.parametrize("cursor", ["head", "tail"])
def test_a_cursor_outside_the_ring_is_refused(cursor: str) -> None:
    fake = FakeRegion([(True, 3)])
    (ring,) = fake.port().tx
    setattr(fake.rings[0], cursor, 3)
    with pytest.raises(Error, match="is not one of its 3 slots"):
        len(ring)


@pytest.mark.parametrize(
    ("field", "value"), [("num_slots", 0), ("num_slots", 2**31), ("nr_buf_size", 0)]
)
def test_a_ring_that_is_none_is_refused(field: str, value: int) -> None:
    fake = FakeRegion([(True, 3)])
    setattr(fake.rings[0], field, value)
    with pytest.raises(Error, match="cannot use tx ring 0"):
        fake.port()
    assert fake.binding.closed == 1


def test_extra_buffers_are_listed_and_given_back() -> None:
    fake = FakeRegion([(True, 3)], extra_bufs=3)
    port = fake.port()
    assert port.extra_bufs == [5, 6, 7]
    slot = port.tx[0][0]
    port.buffer(6)[:2] = b"hi"
    slot.buf_idx, port.extra_bufs[1] = 6, slot.buf_idx
    assert bytes(slot.buffer[:2]) == b"hi"
    port.close()
    assert fake.nifp.ni_bufs_head == 5
    assert FakeRegion.port(fake).extra_bufs == [5, 2, 7]


def test_extra_buffers_in_a_circle_are_noticed() -> None:
    fake = FakeRegion([(True, 3)], extra_bufs=2)
    fake.port().buffer(6)[:4] = (5).to_bytes(4, "little")
    with pytest.raises(Error, match="in a circle"):
        fake.port()


def test_a_closed_port_says_so() -> None:
    fake = FakeRegion([(True, 3)])
    port = fake.port()
    binding = fake.binding
    port.close()
    port.close()
    assert port.closed
    assert binding.closed == 1
    for call in (port.txsync, port.rxsync, port.wait_readable, port.fileno):
        with pytest.raises(Error, match="it was closed"):
            call()


def test_a_wait_ends_when_its_time_is_up() -> None:
    with FakeRegion([(True, 3), (False, 3)]).port() as port:
        assert not port.wait_readable(0.002)
        assert port.wait_writable(0)


def test_the_package_works_with_nothing_but_python(tmp_path: Path) -> None:
    """As in a guest: no ringpass, no numpy, only this directory."""
    (tmp_path / "ringport").symlink_to(PACKAGE)
    program = """if 1:
        import sys, errno, mmap, struct
        sys.path.insert(0, sys.argv[1])
        import ringport
        from ringport.region import Region, RingPlace
        from ringport.ring import Ring
        memory = mmap.mmap(-1, 8192)
        struct.pack_into("<qIIHHIII", memory, 0, 4096, 4, 512, 0, 1, 0, 0, 3)
        struct.pack_into("<I", memory, 256, 2)
        ring = Ring(Region(memoryview(memory), "here"), RingPlace(True, False, 0, 0))
        assert ring.put(b"hello")
        assert memory[4096 + 1024 :][:5] == b"hello"
        try:
            ring.batch()
        except ringport.Error as error:
            assert error.errno == errno.ENOTSUP
            assert "numpy is not installed" in str(error)
        assert not {"ringpass", "numpy"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-I", "-S", "-c", program, str(tmp_path)], check=True)
