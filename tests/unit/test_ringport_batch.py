# SPDX-License-Identifier: BSD-2-Clause
"""Batches of ringport: vectors of slots, wherever the ring wraps, and swaps that lose no buffer."""

import errno
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ringpass
import ringport
from ringport import Error, Port, Ring, abi
from ringport.bridge import Bridge, Direction
from tests.support.netmap_region import FakeRegion

SIZES = st.integers(2, 17)


def filled(fake: FakeRegion, start: int, frames: Sequence[bytes]) -> Port:
    """Return an open port, in whose rx ring `frames` lie from slot `start` on."""
    for ring in fake.rings:
        if ring.dir == abi.DIR_RX:
            ring.head = ring.cur = ring.tail = start % ring.num_slots
    port = fake.port()
    fake.binding.waiting.extend(frames)
    port.rxsync()
    return port


def at(ring: Ring, fake: FakeRegion, number: int, start: int) -> None:
    """Let the tx ring `ring`, the fake's ring `number`, be empty with its head at `start`."""
    raw = fake.rings[number]
    raw.head = raw.cur = start % ring.num_slots
    raw.tail = (raw.head - 1) % ring.num_slots


def numbered(count: int, size: int = 20) -> list[bytes]:
    return [i.to_bytes(2, "big") + bytes([i % 251]) * (size - 2) for i in range(count)]


@given(slots=SIZES, start=st.integers(0, 20), count=st.integers(0, 20), most=st.integers(0, 20))
def test_a_batch_is_the_slots_from_head_on(slots: int, start: int, count: int, most: int) -> None:
    with filled(FakeRegion([(False, slots)]), start, numbered(count)) as port:
        (ring,) = port.rx
        batch = ring.batch(most)
        plain = list(ring)[:most]
        assert len(batch) == len(plain) == min(count, slots - 1, most)
        assert batch.index.tolist() == [slot.index for slot in plain]
        assert batch.buf_idx.tolist() == [slot.buf_idx for slot in plain]
        assert batch.lengths.tolist() == [slot.len for slot in plain]
        assert batch.field(0, ">u2").tolist() == list(range(len(plain)))
        assert [bytes(row) for row in batch.rows()] == [bytes(slot.data) for slot in plain]
        assert batch.slots["buf_idx"].tolist() == batch.buf_idx.tolist()
        assert sum(len(part) for part in batch.parts) == len(batch)
        batch.advance()
        assert len(ring) == min(count, slots - 1) - len(plain)


@given(slots=SIZES, start=st.integers(0, 20))
def test_what_is_assigned_is_in_the_slots(slots: int, start: int) -> None:
    fake = FakeRegion([(True, slots)], buf_bytes=64)
    with fake.port() as port:
        (ring,) = port.tx
        at(ring, fake, 0, start)
        batch = ring.batch()
        number = np.arange(len(batch))
        batch.lengths = 32
        batch.flags = number % 2
        batch.ptr = number
        batch.set_rows(np.full(32, 7, np.uint8))
        batch.set_field(4, number, ">u4")
        batch.set_field(8, 0xABCD, ">u2")
        for i, slot in enumerate(ring):
            assert (slot.len, slot.flags, slot.ptr) == (32, i % 2, i)
            assert bytes(slot.data) == b"\7" * 4 + i.to_bytes(4, "big") + b"\xab\xcd" + b"\7" * 22


@given(slots=SIZES, start=st.integers(0, 20), count=st.integers(1, 20))
def test_a_field_may_have_fields_of_its_own(slots: int, start: int, count: int) -> None:
    kind = np.dtype([("number", ">u2"), ("filling", "u1", (3,))])
    with filled(FakeRegion([(False, slots)]), start, numbered(count)) as port:
        (ring,) = port.rx
        batch = ring.batch()
        found = batch.field(0, kind)
        assert found["number"].tolist() == list(range(len(batch)))
        assert found["filling"].tolist() == [[i] * 3 for i in range(len(batch))]
        found["filling"] = 99  # a copy, so the frames stay as they are
        found["number"] += 1
        batch.set_field(4, found, kind)
        assert [bytes(slot.data[:10]) for slot in ring] == [
            frame[:4] + (i + 1).to_bytes(2) + b"ccc" + frame[9:10]
            for i, frame in enumerate(numbered(len(batch)))
        ]


def test_no_bytes_are_a_field_too() -> None:
    with filled(FakeRegion([(False, 8)]), 6, numbered(4)) as port:
        batch = port.rx[0].batch()
        assert batch.rows(5, 5).shape == (4, 0)
        batch.set_rows(np.empty((4, 0), np.uint8), 5)
        assert [bytes(row) for row in batch.rows()] == numbered(4)


def test_parts_are_the_slots_themselves() -> None:
    with filled(FakeRegion([(False, 8)]), 6, numbered(5)) as port:
        batch = port.rx[0].batch()
        first, second = batch.parts
        assert (len(first), len(second)) == (2, 3)
        second["len"] = 9
        assert batch.lengths.tolist() == [20, 20, 9, 9, 9]


@given(
    sizes=st.tuples(SIZES, SIZES),
    starts=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    count=st.integers(0, 20),
    data=st.data(),
)
def test_a_move_swaps_and_no_buffer_is_lost(
    sizes: tuple[int, int], starts: tuple[int, int], count: int, data: st.DataObject
) -> None:
    fake = FakeRegion([(True, sizes[0]), (False, sizes[1])])
    frames = numbered(count)
    with filled(fake, starts[1], frames) as port:
        (tx,), (rx,) = port.tx, port.rx
        at(tx, fake, 0, starts[0])
        before = sorted(fake.buf_indexes())
        sent = []
        while count:
            batch = rx.batch()
            keep = None
            if data.draw(st.booleans()):
                chosen = data.draw(
                    st.lists(st.booleans(), min_size=len(batch), max_size=len(batch))
                )
                keep = np.array(chosen, np.bool_)
            done = batch.move(tx, keep)
            sent += [frames[i] for i in range(done) if keep is None or keep[i]]
            frames = frames[done:]
            assert sorted(fake.buf_indexes()) == before
            port.txsync()
            port.rxsync()
            if not done and len(rx) == 0:
                break
        assert fake.binding.sent == sent
        assert not frames


@pytest.mark.parametrize("zero_copy", [True, False])
@given(starts=st.tuples(st.integers(0, 9), st.integers(0, 6)), more=st.lists(st.booleans()))
def test_frames_of_several_slots_are_handed_on_whole(
    zero_copy: bool, starts: tuple[int, int], more: list[bool]
) -> None:
    source = FakeRegion([(True, 7), (False, 10)])
    sink = source if zero_copy else FakeRegion([(True, 7)])
    with filled(source, starts[0], numbered(9)) as port:
        target = port if zero_copy else sink.port()
        (rx,), (tx,) = port.rx, target.tx
        at(tx, sink, 0, starts[1])
        more = [*more, *[False] * 8][:8]
        more.append(False)
        for slot, goes_on in zip(rx, more, strict=True):
            slot.flags = abi.NS_MOREFRAG * goes_on
        ends = [i + 1 for i, goes_on in enumerate(more) if not goes_on]
        fitting = max([end for end in ends if end <= 6], default=0)
        assert ringport.forward(rx, tx) == fitting
        assert len(rx) == 9 - fitting
        handed = [tx.slot((starts[1] + i) % 7).more for i in range(fitting)]
        assert handed == more[:fitting]


def test_a_frame_is_kept_or_dropped_whole() -> None:
    fake = FakeRegion([(True, 8), (False, 8)])
    with filled(fake, 0, numbered(6)) as port:
        (tx,), (rx,) = port.tx, port.rx
        batch = rx.batch()
        batch.flags = [0, abi.NS_MOREFRAG, abi.NS_MOREFRAG, 0, abi.NS_MOREFRAG, 0]
        assert batch.first.tolist() == [True, True, False, False, True, False]
        assert batch.frame_lengths.tolist() == [20, 60, 40]
        keep = np.array([False, True, False, False, False, True])
        assert batch.of_frames(keep).tolist() == [False, True, True, True, False, False]
        assert batch.move(tx, keep) == 6
        port.txsync()
        assert fake.binding.sent == numbered(6)[1:4]


def test_a_mask_of_another_length_is_refused() -> None:
    with filled(FakeRegion([(True, 8), (False, 8)]), 0, numbered(3)) as port:
        with pytest.raises(Error, match="the batch 3 slots") as caught:
            port.rx[0].batch().move(port.tx[0], np.array([True]))
        assert caught.value.errno == errno.EINVAL


@given(
    sizes=st.lists(st.integers(0, 128), min_size=1, max_size=7),
    starts=st.tuples(st.integers(0, 7), st.integers(0, 7)),
    buf_bytes=st.sampled_from([64, 128, 256]),
)
def test_a_copy_carries_the_same_bytes(
    sizes: list[int], starts: tuple[int, int], buf_bytes: int
) -> None:
    frames = [bytes([i]) * size for i, size in enumerate(sizes)]
    sink = FakeRegion([(True, 16)], buf_bytes=buf_bytes)
    with (
        filled(FakeRegion([(False, 8)], buf_bytes=128), starts[0], frames) as source,
        sink.port() as target,
    ):
        (rx,), (tx,) = source.rx, target.tx
        at(tx, sink, 0, starts[1])
        assert ringport.forward(rx, tx) == len(frames)
        got: list[bytes] = []
        while len(got) < len(frames):
            got.append(_frame_at(tx, sink, sum(max(-(-len(f) // buf_bytes), 1) for f in got)))
        assert got == frames
        assert len(rx) == 0


def _frame_at(tx: Ring, fake: FakeRegion, behind: int) -> bytes:
    """Return the frame that begins so many slots behind the first one that was put into `tx`."""
    at = (fake.rings[0].tail + 1 + behind) % tx.num_slots
    frame = bytes(tx.slot(at).data)
    while tx.slot(at).more:
        at = (at + 1) % tx.num_slots
        frame += bytes(tx.slot(at).data)
    return frame


def test_swaps_need_one_region() -> None:
    with (
        filled(FakeRegion([(False, 8)]), 0, numbered(2)) as source,
        FakeRegion([(True, 8)]).port() as sink,
        pytest.raises(Error, match="different regions") as caught,
    ):
        source.rx[0].batch().move(sink.tx[0])
    assert caught.value.errno == errno.EXDEV


def test_offsets_go_with_their_buffers() -> None:
    fake = FakeRegion([(True, 8), (False, 8)], offset_bits=8)
    for ring in fake.rings:
        for i in range(8):
            ring.slot[i].ptr = 100 + i
    frames = numbered(4)
    with filled(fake, 6, frames) as port:
        batch = port.rx[0].batch()
        assert batch.field(0, ">u2").tolist() == [0, 1, 2, 3]
        assert [bytes(row) for row in batch.rows(0, 20)] == frames
        batch.set_field(0, [7, 8, 9, 10], ">u2")
        batch.set_rows([122, 122], 2)
        batch.move(port.tx[0], np.array([True, True, False, True]))
        port.txsync()
        kept = zip((7, 8, 10), (frames[0], frames[1], frames[3]), strict=True)
        wanted = [number.to_bytes(2, "big") + b"zz" + frame[4:] for number, frame in kept]
        assert fake.binding.sent == wanted


@pytest.mark.parametrize("use", ["field", "rows", "set_field", "set_rows"])
def test_a_hostile_index_is_refused(use: str) -> None:
    fake = FakeRegion([(False, 8)])
    with filled(fake, 0, numbered(3)) as port:
        fake.rings[0].slot[1].buf_idx = 2**31
        batch = port.rx[0].batch()
        arguments: dict[str, tuple[Any, ...]] = {
            "field": (0,),
            "rows": (0, 4),
            "set_field": (0, 1),
            "set_rows": ([1, 2],),
        }
        with pytest.raises(Error, match="index 2147483648 is not within") as caught:
            getattr(batch, use)(*arguments[use])
        assert caught.value.errno == errno.EFAULT
        assert bytes(port.rx[0][0].data) == numbered(1)[0]  # not even the frames before it


def test_what_is_outside_a_buffer_is_refused() -> None:
    with filled(FakeRegion([(False, 8)], buf_bytes=64), 0, numbered(3)) as port:
        batch = port.rx[0].batch()
        for outside in (lambda: batch.field(63, "u2"), lambda: batch.rows(60, 65)):
            with pytest.raises(Error, match="its buffer has 64 bytes"):
                outside()


def test_arrays_outlive_a_port() -> None:
    port = filled(FakeRegion([(False, 8)]), 0, numbered(3))
    buffers = port.rx[0].buffers
    row = int(port.rx[0].batch().buf_idx[2])
    port.close()
    assert bytes(buffers[row, :2]) == b"\0\2"


@pytest.mark.parametrize("most", [3, 4, 9])
def test_a_copy_between_other_buffers_cuts_no_frame_at_the_end_of_a_batch(most: int) -> None:
    pieces = [b"a" * 64, b"b" * 30, b"c" * 64, b"d" * 30]
    sink = FakeRegion([(True, 16)], buf_bytes=128, offset_bits=4)
    with filled(FakeRegion([(False, 8)], buf_bytes=64), 6, pieces) as source, sink.port() as target:
        (rx,), (tx,) = source.rx, target.tx
        rx.batch().flags = [abi.NS_MOREFRAG, 0, abi.NS_MOREFRAG, 0]
        done = rx.batch(most).copy(tx)
        assert done == (2 if most == 3 else 4)
        assert len(rx) == 4 - done
        while len(rx):
            rx.batch().copy(tx)
        target.txsync()
        assert sink.binding.sent == [b"a" * 64 + b"b" * 30, b"c" * 64 + b"d" * 30]


def test_frames_before_one_that_never_fits_are_told_of() -> None:
    frames = [b"a" * 60, bytes(2000), b"b" * 60]
    sink = FakeRegion([(True, 4)], buf_bytes=64)
    with filled(FakeRegion([(False, 8)]), 0, frames) as source, sink.port() as target:
        (rx,), (tx,) = source.rx, target.tx
        assert rx.batch().copy(tx) == 1
        with pytest.raises(Error, match="2000 bytes") as caught:
            rx.batch().copy(tx)
        assert caught.value.errno == errno.EMSGSIZE
        assert len(rx) == 2


@pytest.mark.parametrize("copy", [True, False])
def test_a_bridge_drops_a_frame_that_never_fits(copy: bool) -> None:
    key = "one region"
    source = FakeRegion([(False, 16)], key=key)
    sink = FakeRegion([(True, 4)], key=key)
    with filled(source, 0, numbered(9)) as one, sink.port() as other:
        one.rx[0].batch().flags = [0, *[abi.NS_MOREFRAG] * 3, 0, 0, 0, 0, 0]
        way = Direction(one, other, copy=copy)
        assert [way.step() for _ in range(5)] == [1, 0, 3, 1, 0]
        assert (way.slots, way.dropped, way.blocked) == (5, 1, False)
        assert len(one.rx[0]) == 0


def test_a_bridge_drops_what_needs_too_many_of_the_sinks_buffers() -> None:
    sink = FakeRegion([(True, 4)], buf_bytes=64)
    with filled(FakeRegion([(False, 8)]), 0, [bytes(2000), b"b" * 60]) as one, sink.port() as other:
        way = Direction(one, other)
        assert [way.step() for _ in range(3)] == [0, 1, 0]
        assert (way.slots, way.bytes, way.dropped) == (1, 60, 1)
        assert sink.binding.sent == [b"b" * 60]


def test_a_bridge_sleeps_until_the_sink_has_more_room() -> None:
    with ringpass.Backend() as backend:
        a, b = (backend.open(f"vale0:x{end}@conf:slots=8") for end in ("{1", "}1"))
        c, d = (backend.open(f"vale0:x{end}@conf:slots=8") for end in ("{2", "}2"))
        for port in (c, a):  # five of seven slots of the sink are taken, and then come three
            for number in range(5 if port is c else 3):
                port.tx[0].put(bytes([number]) * 60)
                port.tx[0].slot(number).flags = abi.NS_MOREFRAG if port is a and number < 2 else 0
            port.txsync()
        joined = Bridge(b, c)
        assert joined.step() == 0
        assert joined.directions[0].blocked
        assert not joined.wait(0)
        d.rxsync()
        assert len(list(iter(d.rx[0].get, None))) == 5
        d.rxsync()
        assert joined.wait(0)
        assert joined.step() == 3
        d.rxsync()
        assert [len(frame) for frame in iter(d.rx[0].get, None)] == [180]
