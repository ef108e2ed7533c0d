# SPDX-License-Identifier: BSD-2-Clause
"""A guest that scribbles, lies and rings without end, beside two guests who exchange frames.

Whatever it does, its own port is all that suffers, the daemon keeps nothing of it, and the next
guest has the port as if nothing had been.
"""

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from ringpass._dp import ffi
from ringpass.netmap.abi import Request
from ringpass.netmap.session import Operation
from ringpass.passthrough.guest import Op
from tests.support.daemon import Daemon
from tests.support.miniguest import frame, wait_for
from tests.support.netmap import control, message
from tests.support.passthrough import (
    FakeDriver,
    FakeQemu,
    FakeRing,
    booted,
    nothing_left,
    qemu,
    serving,
)

ONE, TWO = "52:54:00:00:00:01", "52:54:00:00:00:02"
CONFIG = """
[switch.vale0]
[switch.vale1]
[port."vale0:a"]
kind = "passthrough"
slots = 64
[port."vale0:one"]
kind = "passthrough"
slots = 64
[port."vale0:two"]
kind = "passthrough"
slots = 64
[port."vale1:apart"]
kind = "passthrough"
slots = 64
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that the tests of this module share."""
    with serving(tmp_path_factory.mktemp("p"), CONFIG) as daemon:
        yield daemon


class Victims:
    """Two guests who exchange frames, and one on another switch who must never see any."""

    def __init__(self, daemon: Daemon) -> None:
        self.clients = [qemu(daemon, port) for port in ("vale0:one", "vale0:two", "vale1:apart")]
        self.drivers = [booted(client) for client in self.clients]
        rings = [driver.register().rings for driver in self.drivers]
        self.tx = self.drivers[0].ring(rings[0][0])
        self.rx = self.drivers[1].ring(rings[1][1])
        self.apart = self.drivers[2].ring(rings[2][1])
        self.sent = 0
        answer = self.drivers[1].ring(rings[1][0])
        answer.send(frame(ONE, TWO, b"here I am"))

    def exchange(self) -> None:
        """Send some frames, and have them all arrive in order."""
        frames = [frame(TWO, ONE, b"%d" % (self.sent + i)) for i in range(8)]
        self.sent += len(frames)
        self.tx.send(*frames)
        got: list[bytes] = []
        while len(got) < len(frames):
            got += [data for data in self.rx.receive() if data[:12] == frames[0][:12]]
        assert got == frames
        assert not self.apart.pending()

    def close(self) -> None:
        """End."""
        for client in self.clients:
            client.close()


@pytest.fixture
def victims(daemon: Daemon) -> Iterator[Victims]:
    """Return those who suffer nothing."""
    before = buffers(daemon)
    with nothing_left(daemon):
        victims = Victims(daemon)
        yield victims
        victims.exchange()
        victims.close()
    wait_for(lambda: buffers(daemon) == before, "everything given back")


def buffers(daemon: Daemon) -> dict[int, tuple[int, int]]:
    """Return what of each region is taken."""
    regions = daemon.call("status")["regions"]
    return {row["number"]: (row["buffers_used"], row["rings_used"]) for row in regions}


class Attacker:
    """A guest of vale0:a with all that it can have."""

    def __init__(self, client: FakeQemu, seed: int) -> None:
        self.client = client
        self.random = random.Random(seed)
        self.driver = booted(client, self.random.getrandbits(64))
        self.rings: list[FakeRing] = []
        for number, (name, flags) in enumerate(
            [("rp0", 0), ("rp0{1", 0), ("rp0}1", 0), ("rp0", 0x100), ("rp0", 0)]
        ):
            answer = self.driver.register(name, number, flags=flags, extra_bufs=20)
            assert answer.error == 0, answer.text
            self.rings += map(self.driver.ring, answer.rings)
        directory = ffi.cast("struct rp_directory *", self.driver.base)
        pools = ("guest_pool", "csb_pool", "if_pool", "ring_pool", "buf_pool")
        starts = [0, *(getattr(directory, pool).offset for pool in pools), client.size]
        #: Where something may be written, each as likely as the others.
        self.areas = list(pairwise(starts))

    def scribble(self) -> None:
        """Write anything anywhere."""
        first, end = self.random.choice(self.areas)
        data = self.random.randbytes(self.random.choice((1, 4, 8, 64, 4096)))
        at = self.random.randrange(first, min(end, first + 65536))
        at = min(at & ~3, self.client.size - len(data))
        self.client.memory[at : at + len(data)] = data

    def lie(self) -> None:
        """Write what is nearly right into a ring."""
        ring, pick = self.random.choice(self.rings), self.random.choice
        number = pick((0, 1, 63, 64, 65, 0xFFFF, 0xFFFFFFFF, self.random.getrandbits(32)))
        slot = ring.ring.slot[self.random.randrange(64)]
        lies: list[Callable[[], None]] = [
            lambda: setattr(ring.csb.atok, "head", number),
            lambda: setattr(ring.csb.atok, "appl_need_kick", number & 1),
            lambda: setattr(ring.csb.ktoa, "hwtail", number),
            lambda: setattr(ring.csb, "peer", number),
            lambda: setattr(ring.csb, "monitor", number),
            lambda: setattr(ring.csb, "ring_offset", number),
            lambda: setattr(ring.ring, "head", number),
            lambda: setattr(ring.ring, "num_slots", number),
            lambda: setattr(slot, "buf_idx", number),
            lambda: setattr(slot, "len", number & 0xFFFF),
            lambda: setattr(slot, "flags", self.random.getrandbits(16)),
            lambda: setattr(slot, "ptr", self.random.getrandbits(64)),
        ]
        for lie in self.random.sample(lies, 3):
            lie()

    def send(self) -> None:
        """Hand over slots, whatever is in them."""
        ring = self.rings[0]
        ring.csb.atok.head = (ring.csb.atok.head + self.random.randrange(64)) % 64
        self.driver.doorbell(ring.told.kick)

    def ring_bells(self) -> None:
        """Ring some doorbells."""
        for _ in range(8):
            self.driver.doorbell(self.random.randrange(len(self.client.doorbells)))

    def ask(self) -> None:
        """Ask for something, or for what is nearly something; wait for no answer."""
        name = self.random.choice(["rp0", "rp0{1", "rp0}2", "rp0@1", "vale0:one", "\xff" * 60])
        kind = self.random.choice(list(Request))
        body = self.random.randbytes(self.random.choice((0, 8, 16, 32, 56, 64)))
        data = message(self.random.choice(list(Operation)), control(kind, name, body))
        if self.random.random() < 0.3:
            at = self.random.randrange(len(data))
            data = data[:at] + self.random.randbytes(4) + data[at + 4 :]
        page = self.driver.page
        ffi.memmove(page.data, data, len(data))
        page.bytes = self.random.choice((len(data), len(data), 0, 3840, 3841, 0xFFFFFFFF))
        page.op = self.random.choice((Op.CALL, Op.CALL, Op.CLOSE, Op.OFFLOADS, Op.HELLO, 77))
        page.open = self.random.choice((0, 1, 9, 63, 64, 0xFFFFFFFF))
        if self.random.random() < 0.9:
            page.generation = self.driver.generation
        page.sent = self.random.getrandbits(32)
        self.driver.doorbell(0)


@pytest.mark.parametrize("seed", range(8))
def test_a_guest_that_scribbles_harms_nobody(daemon: Daemon, victims: Victims, seed: int) -> None:
    with qemu(daemon, "vale0:a") as client:
        attacker = Attacker(client, seed)
        acts: list[Callable[[], None]] = [
            attacker.scribble,
            attacker.lie,
            attacker.send,
            attacker.ring_bells,
            attacker.ask,
        ]
        for turn in range(400):
            attacker.random.choice(acts)()
            if turn % 20 == 0:
                victims.exchange()
    wait_for(lambda: daemon.call("port.show", name="vale0:a")["guest"] is None, "its end")
    with qemu(daemon, "vale0:a") as client:
        driver = booted(client)
        answer = driver.register()
        assert answer.error == 0, answer.text
        driver.ring(answer.rings[0]).send(frame("ff:ff:ff:ff:ff:ff", ONE, b"new"))
        wait_for(lambda: victims.rx.pending(), "the next guest's frame")
        victims.rx.receive()


def test_doorbells_in_a_storm_cost_their_share(daemon: Daemon, victims: Victims) -> None:
    with qemu(daemon, "vale0:a") as client:
        driver = booted(client)
        assert driver.register().error == 0
        stop = threading.Event()

        def storm() -> None:
            while not stop.is_set():
                for fd in client.doorbells:
                    os.eventfd_write(fd, 1)

        thread = threading.Thread(target=storm)
        thread.start()
        try:
            for _ in range(20):
                victims.exchange()
                began = time.monotonic()
                daemon.call("ping")
                assert time.monotonic() - began < 10
        finally:
            stop.set()
            thread.join()
        assert driver.close().error == 0


def test_a_guest_may_stop_in_the_middle(daemon: Daemon, victims: Victims) -> None:
    for half in range(4):
        with qemu(daemon, "vale0:a") as client:
            driver = FakeDriver(client, half)
            if half > 0:
                driver.begin(Op.HELLO)
            if half > 1:
                driver.wait(0)
                driver.begin(Op.CALL, 0, message(Operation.CTRL, b"half a request"))
            if half > 2:
                driver.page.sent += 1
        victims.exchange()


def test_an_eventfd_that_is_full_or_blocking_stops_nobody(daemon: Daemon, victims: Victims) -> None:
    with qemu(daemon, "vale0:a") as client:
        driver = booted(client)
        driver.page.op, driver.page.generation = Op.HELLO, 5
        driver.page.sent += 1
        for fd in (*client.vectors, *client.doorbells):
            with contextlib.suppress(BlockingIOError):  # it was signalled, and is nearly full
                os.eventfd_write(fd, 2**64 - 2)
            os.set_blocking(fd, True)
        wait_for(lambda: driver.record.answered == driver.page.sent, "the answer")
        victims.exchange()
