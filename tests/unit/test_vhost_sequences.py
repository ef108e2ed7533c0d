# SPDX-License-Identifier: BSD-2-Clause
"""Messages in any order, right and wrong, against the real session and the real data plane.

A front end says whatever hypothesis thinks of. After each word the virtqueues must be as the model
says, every answer must be the model's, and when the front end is gone nothing of it may be left:
no descriptor, no mapping, and a port on which the next one exchanges frames with its neighbour.
"""

import asyncio
import contextlib
import gc
import os
import select
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ringpass.dataplane import DataPlane, Full, MemorySlot, PortId, PortSpec, vhost_features
from ringpass.errors import RingpassError
from ringpass.sockets import Access
from ringpass.vhostuser import messages as m
from ringpass.vhostuser import port as port_module
from ringpass.vhostuser.device import Device, offered
from ringpass.vhostuser.messages import Request
from ringpass.vhostuser.port import VhostUserPort
from tests.support.miniguest import (
    BUFFER_BYTES,
    ENTRIES,
    FEATURES,
    HEADER,
    USER_ADDRESS,
    WRITE,
    MiniGuest,
    frame,
    wait_for,
)
from tests.support.vhost import RawFrontEnd, memfd, open_fds
from tests.support.vhost_model import PAIRS, RINGS, Guest, Message, Model, Over
from tests.support.vhost_said import MESSAGES, PACKED, WHOLE, descriptor

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"


class Switch:
    """Two ports in this process, whose event loop runs when `turn` is called."""

    def __init__(self, directory: Path) -> None:
        self.counters = memfd(0)
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._note)
        self.errors: list[dict[str, Any]] = []
        self.dataplane = DataPlane(self.counters)
        worker, switch = self.dataplane.add_worker(), self.dataplane.add_switch("vale0")
        self.ids: dict[str, PortId] = {}
        self.ports: dict[str, VhostUserPort] = {}
        for name, pairs in (("a", PAIRS), ("b", 1)):
            spec = PortSpec(
                f"vale0:{name}", switch=switch, worker=worker, tx_rings=pairs, rx_rings=pairs,
                full=Full.DROP,
            )  # fmt: skip
            self.ids[name] = port = self.dataplane.add_port(spec)
            features = offered(vhost_features(), pairs, ["csum"])
            device = Device(features, bytes.fromhex("525400000001"), 1500, pairs)
            self.ports[name] = VhostUserPort(
                name, device, self.dataplane.vhost(port), "server", directory / name, Access()
            )
            self.loop.run_until_complete(self._open(self.ports[name]))

    async def _open(self, port: VhostUserPort) -> None:
        port.open()

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(context)

    def turn(self) -> None:
        """Let the ports do what there is to do."""
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))

    def connect(self, path: Path) -> "SteppedFrontEnd":
        """Connect a front end to a port."""
        return SteppedFrontEnd.step_by(self, path)

    def close(self) -> None:
        async def close_ports() -> None:
            for port in self.ports.values():
                port.close()

        self.loop.run_until_complete(close_ports())
        self.loop.close()
        self.dataplane.close()
        os.close(self.counters)


class SteppedFrontEnd(RawFrontEnd):
    """A front end whose words have been heard when `send` returns."""

    switch: Switch

    @classmethod
    def step_by(cls, switch: Switch, path: Path) -> "SteppedFrontEnd":
        front_end = cls.connect(path)
        front_end.switch = switch
        front_end.socket.settimeout(0.5)
        switch.turn()
        return front_end

    def send_raw(self, data: bytes, fds: Sequence[int] = ()) -> None:
        super().send_raw(data, fds)
        self.switch.turn()

    def pending(self) -> bytes:
        """Return what has been answered, without waiting."""
        readable, _, _ = select.select([self.socket], [], [], 0)
        return self.socket.recv(4096) if readable else b""


class Conversation(RuleBasedStateMachine):
    """A front end of port a that says anything, and a well-behaved one on port b."""

    switch: Switch
    neighbour: MiniGuest

    def __init__(self) -> None:
        super().__init__()
        self.port = self.switch.ports["a"]
        self.guest: MiniGuest | None = None
        self.standby: MiniGuest | None = None
        self.model = Model(self.port.device, Guest())
        self.violations = self.port.history.violations
        self.before = open_fds(), mappings()

    @initialize(up=st.booleans(), packed=st.booleans())
    def begin(self, up: bool, packed: bool) -> None:
        self.connect(packed)
        if up:
            self.bring_up()

    @property
    def driver(self) -> MiniGuest:
        assert self.guest is not None
        return self.guest

    def connected(self) -> bool:
        return self.guest is not None

    @precondition(lambda self: not self.connected())
    @rule(packed=st.sampled_from([False, False, True]))
    def connect(self, packed: bool) -> None:
        """Come, for good with one format: its driver keeps what is in its memory."""
        self.packed = packed
        self.model.guest = Guest()
        self.guest = MiniGuest(self.port.path, PAIRS, connect=self.switch.connect)
        for ring in self.guest.rings:
            for number in range(ENTRIES):
                ring.describe(number, 12 + 60, 0 if ring.index % 2 else WRITE)
        for ring in self.guest.rings[1::2]:
            for number in range(ENTRIES):
                at = ring.buffers + number * BUFFER_BYTES
                self.guest.memory[at : at + 72] = HEADER + frame(B, A, b"of port a")

    @precondition(connected)
    @rule(message=MESSAGES, need_reply=st.booleans(), extra=st.sampled_from([0] * 30 + [1, -1]))
    def say(self, message: Message, need_reply: bool, extra: int = 0) -> None:
        """Say something; what comes of it must be what the model says."""
        if self.packed and message.request == Request.SET_FEATURES:
            assert isinstance(message.payload, m.Number)
            message = replace(message, payload=m.Number(message.payload.value | PACKED))
        body = message.payload.pack()
        if extra:
            message.extra = extra if body else 1
        body = body[: len(body) + message.extra] + bytes(max(0, message.extra))
        if message.extra < 0 and not message.payload.pack():
            message.extra = 0
        if self.speak(self.driver, self.model, message, body, need_reply=need_reply):
            self.leave()
        else:
            self.settle()

    @precondition(connected)
    @rule(message=MESSAGES, need_reply=st.booleans())
    def say_standing_by(self, message: Message, need_reply: bool) -> None:
        """Let a second front end say something; it never wants its rings to run."""
        if message.request == Request.SET_VRING_KICK:
            return
        if self.standby is None:
            self.standby = MiniGuest(self.port.path, PAIRS, connect=self.switch.connect)
            self.standby_model = Model(self.port.device, Guest(), holds=False)
        body = message.payload.pack() + bytes(message.extra)
        if self.speak(self.standby, self.standby_model, message, body, need_reply=need_reply):
            self.standby.close()
            self.standby = None
        self.settle()

    def speak(
        self, guest: MiniGuest, model: Model, message: Message, body: bytes, *, need_reply: bool
    ) -> bool:
        """Say something and compare what comes of it; return whether the session is over."""
        try:
            expected = model.hear(message, need_reply=need_reply)
            over = False
        except Over:
            over, expected = True, None
        fds = [descriptor(kind, guest.memory_fd) for kind in message.fds]
        front_end = guest.front_end
        assert isinstance(front_end, SteppedFrontEnd)
        front_end.send(message.request, body, fds, need_reply=need_reply)
        for fd in fds:
            os.close(fd)
        if over:
            assert front_end.closed(), message
            self.violations += 1
        elif expected is None:
            assert front_end.pending() == b"", message
        else:
            answer = m.Header(message.request, 5, len(expected)).pack() + expected
            assert front_end.pending() == answer
        return over

    @precondition(connected)
    @rule()
    def bring_up(self) -> None:
        """Say what makes all virtqueues run, whatever was said before."""
        whole = Message(
            Request.SET_MEM_TABLE,
            m.MemoryTable((MemorySlot(*WHOLE.slot),)),
            ("memory",),
            (WHOLE,),
        )
        self.say(Message(Request.SET_STATUS, m.Number(0)), need_reply=False)
        self.say(Message(Request.SET_FEATURES, m.Number(FEATURES)), need_reply=False)
        self.say(whole, need_reply=False)
        for index in range(RINGS):
            self.describe(index, Message(Request.SET_VRING_BASE, m.VringState(index, 0)))

    def describe(self, index: int, base: Message) -> None:
        """Say all that makes a virtqueue of the driver's run; it begins anew."""
        ring = self.driver.rings[index]
        start = USER_ADDRESS + ring.desc
        address = m.VringAddress(index, 0, start, start + 4096, start + 2048, 0)
        self.say(Message(Request.SET_VRING_NUM, m.VringState(index, ENTRIES)), need_reply=False)
        if self.guest is None:
            return
        self.driver.memory[ring.avail : ring.buffers] = bytes(ring.buffers - ring.avail)
        ring.made_available = 0
        self.model.guest.available[index] = self.model.guest.used[index] = 0
        self.say(base, need_reply=False)
        self.say(Message(Request.SET_VRING_ADDR, address), need_reply=False)
        self.say(Message(Request.SET_VRING_ENABLE, m.VringState(index, 1)), need_reply=False)
        self.say(
            Message(Request.SET_VRING_KICK, m.VringFile(index), ("eventfd",)), need_reply=False
        )

    @precondition(connected)
    @rule(index=st.integers(0, RINGS - 1), count=st.integers(1, 3))
    def offer(self, index: int, count: int) -> None:
        """Make buffers available: frames to send, or room for some."""
        ring = self.driver.rings[index]
        for _ in range(count):
            ring.offer(ring.made_available % ENTRIES)
        self.model.guest.available[index] = ring.made_available
        session = self.session()
        kick = session.rings[index].kick
        if kick is not None:
            os.eventfd_write(kick.fileno(), 1)
        self.settle()

    @precondition(connected)
    @rule()
    def lie(self) -> None:
        """Make more available than there can be."""
        ring = self.driver.rings[3]
        ring.made_available = (ring.made_available + ENTRIES + 1) & 0xFFFF
        ring.set_avail_index(ring.made_available)
        self.model.guest.available[3] = ring.made_available
        kick = self.session().rings[3].kick
        if kick is not None:
            os.eventfd_write(kick.fileno(), 1)
        self.settle()

    @precondition(connected)
    @rule()
    def hear_from_neighbour(self) -> None:
        sent = frame(A, B, os.urandom(8))
        before = self.driver.rings[0].used_index()
        self.drain()
        self.neighbour.send(sent)
        came = self.model.receive()
        self.settle()
        if not self.packed:
            assert self.driver.rings[0].used_index() == (before + came) & 0xFFFF

    @precondition(connected)
    @rule()
    def repair(self) -> None:
        """Let the administrator repair the port."""
        try:
            self.model.repair()
        except Over:
            with pytest.raises(RingpassError):
                self.port.repair()
            self.leave()
        else:
            self.port.repair()
            self.settle()

    @precondition(connected)
    @rule()
    def leave(self) -> None:
        """Go without a word; nothing is left."""
        self.driver.close()
        self.guest = None
        self.switch.turn()
        self.model.end()
        if self.standby is not None:
            self.leave_as_successor(self.standby)
        assert self.port.front_end is None
        fds, mapped = self.before
        assert open_fds() <= fds
        assert mappings() == mapped

    def leave_as_successor(self, standby: MiniGuest) -> None:
        """Let the standby, who holds the port now if what it said can be, go as well."""
        try:
            self.standby_model.take_port()
        except Over:
            assert self.port.front_end is None
            self.violations += 1
        else:
            assert self.session().attachment.holds_port
        standby.close()
        self.standby = None
        self.switch.turn()

    def session(self) -> Any:
        assert self.port.front_end is not None
        return self.port.front_end.session

    def settle(self) -> None:
        """Wait until the worker has done what it must."""
        was_broken = self.model.broken
        self.model.work()
        guest, rings = self.model.guest, self.driver.rings
        if self.model.broken and not was_broken:
            wait_for(lambda: self.status().broken, "the port to break")
            # How far the other virtqueues came, and which were started before it broke, is luck.
            for ring in self.model.rings if not self.packed else ():
                used = rings[ring.index].used_index()
                moved = used - guest.used[ring.index]
                ring.base = (ring.base + moved) & 0xFFFF
                guest.used[ring.index] = used
                ring.running &= self.session().rings[ring.index].running
        wait_for(
            lambda: self.packed or [ring.used_index() for ring in rings] == guest.used,
            "the worker",
        )
        self.drain()

    def drain(self) -> None:
        while self.neighbour.pending() is not None:
            pass

    def status(self) -> Any:
        return self.switch.dataplane.port_status(self.switch.ids["a"])

    @invariant()
    def virtqueues_are_as_they_must_be(self) -> None:
        assert self.switch.errors == []
        assert self.port.history.violations == self.violations
        assert "internal" not in self.port.history.last_error
        status = self.status()
        live = [
            bool((status.tx_live if index % 2 else status.rx_live) >> index // 2 & 1)
            for index in range(RINGS)
        ]
        assert live == [self.model.live(index) for index in range(RINGS)]
        assert (status.broken is not None) == self.model.broken
        if self.guest is not None:
            rings = self.session().rings
            assert [r.running for r in rings] == [r.running for r in self.model.rings]

    def teardown(self) -> None:
        if self.guest is not None:
            self.leave()
        with MiniGuest(self.port.path, PAIRS, A, connect=self.switch.connect) as successor:
            there, back = frame(B, A, os.urandom(40)), frame(A, B, os.urandom(40))
            self.drain()
            successor.send(there)
            assert self.neighbour.receive() == there
            self.neighbour.send(back)
            assert successor.receive() == back
        self.switch.turn()


def mappings() -> int:
    """Return how many pieces of guest memory this process has mapped."""
    return Path("/proc/self/maps").read_text().count("memfd:guest")


def test_any_conversation_leaves_the_ports_as_good_as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()  # what earlier tests left is not to close descriptors while they are counted
    monkeypatch.setattr(port_module, "PENALTY_S", 0)
    monkeypatch.setattr(port_module, "PAUSE_S", 0)
    with (
        tempfile.TemporaryDirectory(prefix="rp-") as directory,
        contextlib.closing(Switch(Path(directory))) as switch,
        MiniGuest(switch.ports["b"].path, mac=B, connect=switch.connect) as neighbour,
    ):
        run_state_machine_as_test(
            type("Bound", (Conversation,), {"switch": switch, "neighbour": neighbour}),
            settings=settings(max_examples=40, stateful_step_count=40),
        )
