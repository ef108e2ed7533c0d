# SPDX-License-Identifier: BSD-2-Clause
"""A backend in this process: ports are opened, synced, waited for and closed without a daemon."""

import asyncio
import errno
import select
import threading
from collections.abc import Callable

import pytest

import ringpass
from ringport import Error, Port
from tests.support.vhost import open_fds
from tests.support.wait import PATIENCE_S


def frame(receiver: int, sender: int, text: bytes = b"") -> bytes:
    """Return a frame from one station to another; 255 is everybody."""
    to = b"\xff" * 6 if receiver == 255 else bytes([2, 0, 0, 0, 0, receiver])
    return (to + bytes([2, 0, 0, 0, 0, sender]) + b"\x88\xb5" + text).ljust(60, b"\0")


def send(port: Port, *frames: bytes) -> None:
    for one in frames:
        assert port.tx[0].put(one)
    port.txsync()


def receive(port: Port) -> list[bytes]:
    port.rxsync()
    got = []
    while (one := port.rx[0].get()) is not None:
        got.append(one)
    return got


def test_frames_move_when_their_ports_are_synced() -> None:
    with ringpass.Backend() as backend, backend.open("vale0:a") as a, backend.open("vale0:b") as b:
        assert receive(b) == []
        frames = [frame(255, 1, bytes([i])) for i in range(10)]
        send(a, *frames)
        assert receive(b) == frames
        send(b, frame(1, 2))
        assert receive(a) == [frame(1, 2)]


def test_switches_are_worlds_of_their_own() -> None:
    with ringpass.Backend() as backend, backend.open("vale0:a") as a, backend.open("vale1:a") as b:
        send(a, frame(255, 1))
        assert receive(b) == []


def test_geometry_is_what_the_name_asks_for() -> None:
    with ringpass.Backend() as backend:
        port = backend.open("vale0:a@conf:tx-rings=2,rx-rings=3,slots=64")
        assert (len(port.tx), len(port.rx)) == (2, 3)
        assert {ring.num_slots for ring in port.rings} == {64}


def test_opens_of_one_port_share_its_rings_unless_one_wants_them_alone() -> None:
    with ringpass.Backend() as backend:
        with backend.open("vale0:a") as one, backend.open("vale0:a") as other:
            one.tx[0].slot(3).len = 77
            assert other.tx[0].slot(3).len == 77
            with pytest.raises(Error, match="you want them alone") as caught:
                backend.open("vale0:a/x")
            assert caught.value.errno == errno.EBUSY
        with (
            backend.open("vale0:a/x"),
            pytest.raises(Error, match="has them alone"),
        ):
            backend.open("vale0:a")


@pytest.mark.parametrize(
    ("name", "code", "why"),
    [
        ("vale0", errno.EINVAL, "begins with neither"),
        ("netmap:eth0", errno.ENXIO, "no interfaces of the host"),
        ("vale0:a@77", errno.EINVAL, "region"),
        ("vale0:a/t", errno.EINVAL, "no program has it open"),
        ("vale0:a@extmem=/tmp/x", errno.ENOTSUP, "leave @extmem out"),
        ("vale0:a@share=vale0:b,", errno.EINVAL, "share"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_the_reason(name: str, code: int, why: str) -> None:
    with ringpass.Backend() as backend:
        with pytest.raises(Error, match=why) as caught:
            backend.open(name)
        assert caught.value.errno == code
        backend.open("vale0:a")


def test_a_pipe_moves_frames_without_a_copy() -> None:
    with ringpass.Backend() as backend:
        one, other = backend.open("vale0:a{1"), backend.open("vale0:a}1")
        assert one.region_key == other.region_key
        slot = one.tx[0][0]
        sent = slot.buf_idx
        assert one.tx[0].put(frame(2, 1, b"hello"))
        one.txsync()
        assert other.wait_readable(0)
        assert other.rx[0][0].buf_idx == sent
        assert other.rx[0].get() == frame(2, 1, b"hello")


def test_a_full_pipe_holds_its_sender_back() -> None:
    with ringpass.Backend() as backend:
        one, other = backend.open("vale0:a{1"), backend.open("vale0:a}1")
        sent = 0
        while one.wait_writable(0):
            assert one.tx[0].put(frame(2, 1, sent.to_bytes(2)))
            sent += 1
        assert sent >= 1023
        got = 0
        while other.wait_readable(0):
            assert other.rx[0].get() == frame(2, 1, got.to_bytes(2))
            got += 1
            one.txsync()
        assert got == sent
        assert one.wait_writable(0)


def test_ends_of_pipes_of_one_port_bridge_without_a_copy() -> None:
    with ringpass.Backend() as backend:
        a, b, c, d = (backend.open(f"vale0:x{end}") for end in ("{1", "}1", "{2", "}2"))
        for i in range(10):
            a.tx[0].put(frame(2, 1, bytes([i])))
        a.txsync()
        b.rxsync()
        assert b.rx[0].batch().move(c.tx[0]) == 10
        c.txsync()
        assert receive(d) == [frame(2, 1, bytes([i])) for i in range(10)]


def test_a_pipe_wakes_a_thread_at_its_other_end() -> None:
    with ringpass.Backend() as backend:
        one, other = backend.open("vale0:a{1"), backend.open("vale0:a}1")
        sender = threading.Timer(0.01, send, (one, frame(2, 1)))
        sender.start()
        assert other.wait_readable(PATIENCE_S)
        sender.join()
        assert receive(other) == [frame(2, 1)]


def test_a_monitor_sees_both_directions() -> None:
    with (
        ringpass.Backend() as backend,
        backend.open("vale0:a") as a,
        backend.open("vale0:b") as b,
        backend.open("vale0:a/rt") as monitor,
    ):
        send(a, frame(255, 1, b"question"))
        send(b, frame(1, 2, b"answer"))
        got = []
        for ring in (*monitor.rx, *monitor.rx):
            ring.sync()
            while (one := ring.get()) is not None:
                got.append(one)
        assert got == [frame(255, 1, b"question"), frame(1, 2, b"answer")]


def test_regions_are_shared_where_the_name_says_so() -> None:
    with ringpass.Backend() as backend:
        one = backend.open("vale0:a", extra_bufs=3)
        assert len(one.extra_bufs) == 3
        other = backend.open("vale1:b@share=vale0:a")
        numbered = backend.open(f"vale2:c@{one.mem_id}")
        alone = backend.open("vale0:d")
        assert one.mem_id == other.mem_id == numbered.mem_id != alone.mem_id
        assert one.region_key == other.region_key == numbered.region_key != alone.region_key
        with pytest.raises(Error, match="leave one of the two out"):
            backend.open(f"vale3:e@{alone.mem_id}@share=vale0:a")
        with pytest.raises(Error, match="port vale0:none is not there") as refused:
            backend.open("vale3:e@share=vale0:none")
        assert refused.value.errno == errno.EINVAL


def test_with_a_worker_nobody_needs_to_call() -> None:
    with ringpass.Backend(worker=True) as backend:
        a, b = backend.open("vale0:a"), backend.open("vale0:b")
        send(b, frame(255, 2))
        for number in range(3):
            send(a, frame(2, 1, bytes([number])))
        got: list[bytes] = []
        while len(got) < 3 and b.wait_readable(PATIENCE_S):
            got += receive(b)
        assert got == [frame(2, 1, bytes([number])) for number in range(3)]
        assert a.wait_readable(PATIENCE_S)
        assert receive(a) == [frame(255, 2)]


def test_a_descriptor_tells_of_frames() -> None:
    with ringpass.Backend() as backend:
        for names in (("vale0:a", "vale0:b"), ("vale0:a{1", "vale0:a}1")):
            one, other = (backend.open(name) for name in names)
            poll = select.poll()
            poll.register(other, select.POLLIN)
            for _ in range(2):
                other.rxsync()
                assert receive(other) == []
                assert poll.poll(0) == []
                send(one, frame(255, 1))
                assert [fd for fd, _ in poll.poll(1000 * PATIENCE_S)] == [other.fileno()]
                assert receive(other) == [frame(255, 1)]
                receive(other)


def test_a_wait_is_ended_by_another_threads_sync() -> None:
    with ringpass.Backend() as backend, backend.open("vale0:a") as a, backend.open("vale0:b") as b:
        assert not b.wait_readable(0.001)
        sender = threading.Timer(0.01, send, (a, frame(255, 1)))
        sender.start()
        assert b.wait_readable(PATIENCE_S)
        sender.join()
        assert receive(b) == [frame(255, 1)]
        assert a.wait_writable(0)


def test_coroutines_wait_for_each_other() -> None:
    async def answer(port: Port, sender: int) -> None:
        await port.readable()
        assert receive(port)
        send(port, frame(255, sender))

    async def ask(port: Port) -> list[bytes]:
        send(port, frame(255, 1))
        await port.readable()
        await port.writable()
        return receive(port)

    async def both(a: Port, b: Port) -> list[bytes]:
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(answer(b, 2))
            asked = tasks.create_task(ask(a))
        return asked.result()

    with ringpass.Backend() as backend, backend.open("vale0:a") as a, backend.open("vale0:b") as b:
        assert asyncio.run(both(a, b)) == [frame(255, 2)]


def test_a_broken_ring_breaks_its_port_with_a_reason() -> None:
    with ringpass.Backend() as backend, backend.open("vale0:a") as a, backend.open("vale0:b") as b:
        a.tx[0].slot(0).buf_idx = 0
        a.tx[0].advance()
        with pytest.raises(Error, match="buffer index is not in the region") as caught:
            a.txsync()
        assert caught.value.errno == errno.EIO
        send(b, frame(255, 2))


def test_a_monitor_is_told_by_a_worker_that_its_port_has_gone() -> None:
    with (
        ringpass.Backend(worker=True) as backend,
        backend.open("vale0:a") as a,
        backend.open("vale0:a/rt") as monitor,
    ):
        a.close()
        with pytest.raises(Error, match="which it monitored, is gone") as caught:
            monitor.wait_readable(PATIENCE_S)
        assert caught.value.errno == errno.EIO


def test_nothing_is_left_behind() -> None:
    def maps() -> int:
        with open("/proc/self/maps") as lines:  # noqa: PTH123
            return sum("ringpass" in line for line in lines)

    before, mapped = open_fds(), maps()
    for _ in range(3):
        backend = ringpass.Backend()
        port = backend.open("vale0:a")
        port.rx[0].batch()
        port.wait_readable(0)
        port.fileno()
        backend.close()
        backend.close()
        assert port.closed
    assert open_fds() <= before
    assert maps() == mapped


@pytest.mark.parametrize("name", ["vale0:a", "vale0:x{1"])
@pytest.mark.parametrize(
    "use",
    [
        lambda port: port.tx[0].put(bytes(60)),
        lambda port: port.rx[0].get(),
        lambda port: port.rx[0].sync(),
        lambda port: port.rx[0].batch(),
        lambda port: port.rx[0].slot_array,
        lambda port: port.rx[0].slot(1).data,
        lambda port: setattr(port.rx[0], "cur", 1),
        lambda port: len(port.rx[0]),
        lambda port: port.buffer(2),
        Port.rxsync,
        Port.txsync,
        Port.fileno,
        Port.wait_readable,
    ],
)
def test_closed_ports_say_so(name: str, use: Callable[[Port], object]) -> None:
    with ringpass.Backend() as backend:
        port = backend.open(name)
    with pytest.raises(Error, match=r"closed|no open port") as caught:
        use(port)
    assert caught.value.errno == errno.EBADF


def test_a_closed_backend_opens_nothing() -> None:
    backend = ringpass.Backend()
    backend.close()
    backend.close()
    with pytest.raises(Error, match="its backend was closed") as caught:
        backend.open("vale0:a")
    assert caught.value.errno == errno.EBADF
