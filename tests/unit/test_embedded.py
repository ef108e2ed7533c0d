# SPDX-License-Identifier: BSD-2-Clause
"""A backend in this process: ports are opened, synced, waited for and closed without a daemon."""

import asyncio
import errno
import os
import threading

import pytest

import ringpass
from ringport import Error, Port


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


def test_a_name_is_free_again_when_its_port_was_closed() -> None:
    with ringpass.Backend() as backend:
        with backend.open("vale0:a"), pytest.raises(Error, match="it is open") as caught:
            backend.open("vale0:a")
        assert caught.value.errno == errno.EBUSY
        backend.open("vale0:a")


def test_a_wait_is_ended_by_another_threads_sync() -> None:
    with ringpass.Backend() as backend, backend.open("vale0:a") as a, backend.open("vale0:b") as b:
        assert not b.wait_readable(0.001)
        sender = threading.Timer(0.01, send, (a, frame(255, 1)))
        sender.start()
        assert b.wait_readable(20)
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
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
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
        assert caught.value.errno == errno.EPIPE
        send(b, frame(255, 2))


def test_nothing_is_left_behind() -> None:
    def maps() -> int:
        with open("/proc/self/maps") as lines:  # noqa: PTH123
            return sum("ringpass" in line for line in lines)

    before = len(os.listdir("/proc/self/fd")), maps()  # noqa: PTH208
    for _ in range(3):
        backend = ringpass.Backend()
        port = backend.open("vale0:a")
        port.rx[0].batch()
        port.wait_readable(0)
        port.fileno()
        backend.close()
        backend.close()
        assert port.closed
    assert (len(os.listdir("/proc/self/fd")), maps()) == before  # noqa: PTH208
