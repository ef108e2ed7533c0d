# SPDX-License-Identifier: BSD-2-Clause
"""Random ports, hosts and batches: the switch does what a learning bridge of thirty lines does."""

import os
from collections import Counter, deque
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from ringpass.dataplane import DataPlane, FrontEndKind, Full, PortId, PortSpec
from ringpass.observe.counters import Counters
from tests.support.rings import RingUser

BROADCAST = b"\xff" * 6
HOSTS = [bytes([2, 0, 0, 0, 0, host]) for host in range(5)]
MAX_BATCH = 30  # frames: fewer than the data plane moves at a time
MAX_SLOTS_A_FRAME = 64


class Port(NamedTuple):
    """What the model knows of a port; `waiting` is what its user has not taken yet."""

    slots: int
    buf_bytes: int
    waiting: deque[bytes]

    def slots_for(self, frame: bytes) -> int:
        return -(-len(frame) // self.buf_bytes)

    def room(self) -> int:
        return self.slots - 1 - sum(self.slots_for(frame) for frame in self.waiting)


class Bridge:
    """The model: it learns, floods, and drops for a reason what it cannot deliver."""

    def __init__(self) -> None:
        self.ports: dict[PortId, Port] = {}
        self.home: dict[bytes, PortId] = {}
        self.drops: Counter[str] = Counter()
        self.delivered = 0

    def send(self, source: PortId, batch: list[bytes]) -> None:
        full: set[PortId] = set()  # where one frame of a batch finds no room, none behind it does
        for frame in batch:
            if len(frame) < 14:
                self.drops["short"] += 1
                continue
            to, sender = frame[:6], frame[6:12]
            if not sender[0] & 1 and any(sender):
                self.home[sender] = source
            home = None if to[0] & 1 else self.home.get(to)
            others = [port for port in self.ports if port != source]
            if home == source:
                self.drops["self"] += 1
            elif home is None and not others:
                self.drops["nobody"] += 1
            else:
                for port in others if home is None else [home]:
                    self._deliver(port, frame, full)

    def _deliver(self, to: PortId, frame: bytes, full: set[PortId]) -> None:
        port = self.ports[to]
        if port.slots_for(frame) > min(port.slots - 1, MAX_SLOTS_A_FRAME) and to not in full:
            self.drops["mtu"] += 1
        elif to in full or port.slots_for(frame) > port.room():
            self.drops["full"] += 1
            full.add(to)
        else:
            port.waiting.append(frame)
            self.delivered += 1

    def remove(self, port: PortId) -> None:
        del self.ports[port]
        self.home = {mac: home for mac, home in self.home.items() if home != port}


macs = st.sampled_from([*HOSTS, BROADCAST, bytes(6)])
frames = st.builds(
    lambda to, sender, rest: to + sender + rest,
    macs,
    macs,
    st.binary(max_size=8) | st.binary(min_size=2, max_size=400),
)
#: A frame, and how many bytes a piece of it has at most.
cut_frames = st.tuples(frames, st.integers(7, 400))


class SwitchAgainstModel(RuleBasedStateMachine):
    """Every step is done to the switch and to the model; both must agree after it."""

    ports = Bundle("ports")

    def __init__(self) -> None:
        super().__init__()
        self.counters_fd = os.memfd_create("counters", os.MFD_CLOEXEC)
        self.dataplane = DataPlane(self.counters_fd)
        self.counters = Counters(Path(f"/proc/self/fd/{self.counters_fd}"))
        self.caller = self.dataplane.caller()
        self.switch = self.dataplane.add_switch("vale0", ageing_s=0)
        self.users: dict[PortId, RingUser] = {}
        self.model = Bridge()
        self.gone: Counter[str] = Counter()

    def teardown(self) -> None:
        self.counters.close()
        self.caller.close()
        self.dataplane.close()
        os.close(self.counters_fd)

    @rule(target=ports, slots=st.integers(2, 40), buf_bytes=st.sampled_from([64, 128, 2048]))
    def add_port(self, slots: int, buf_bytes: int) -> PortId:
        """A port whose rx ring may be tiny; it sends from a ring of its own size, too."""
        port = self.dataplane.add_port(
            PortSpec(
                f"p{len(self.users)}",
                front_end=FrontEndKind.RINGS,
                switch=self.switch,
                slots=slots,
                buf_bytes=buf_bytes,
                full=Full.DROP,
            )
        )
        self.users[port] = RingUser(self.dataplane, self.caller, port)
        self.model.ports[port] = Port(slots, buf_bytes, deque())
        return port

    @rule(port=consumes(ports))
    def remove_port(self, port: PortId) -> None:
        self.gone += self.numbers(port)
        self.dataplane.remove_port(port)
        del self.users[port]
        self.model.remove(port)

    @rule(port=ports, batch=st.lists(cut_frames, max_size=MAX_BATCH))
    def send(self, port: PortId, batch: list[tuple[bytes, int]]) -> None:
        """As many frames of the batch as the tx ring has slots for."""
        user, sent, slots = self.users[port], [], 0
        for frame, cut in batch:
            size = min(cut, user.buf_bytes)
            pieces = [frame[i : i + size] for i in range(0, len(frame), size)]
            if slots + len(pieces) > user.tx.num_slots - 1:
                break
            user.put(pieces)
            sent.append(frame)
            slots += len(pieces)
        assert user.send() == slots
        self.model.send(port, sent)

    @rule(port=ports, n=st.integers(1, 20))
    def receive(self, port: PortId, n: int) -> None:
        waiting = self.model.ports[port].waiting
        expected = [waiting.popleft() for _ in range(min(n, len(waiting)))]
        assert self.users[port].receive(n) == expected

    @invariant()
    def tables_agree(self) -> None:
        rows = self.dataplane.fdb(self.switch)
        assert {row.mac: row.port for row in rows} == self.model.home

    @invariant()
    def counters_agree(self) -> None:
        seen = Counter(self.gone)
        for port in self.users:
            seen += self.numbers(port)
        assert seen.pop("delivered", 0) == self.model.delivered
        assert seen == self.model.drops

    def numbers(self, port: PortId) -> Counter[str]:
        """Return what was delivered to a port and dropped by its rings, by reason."""
        status = self.dataplane.port_status(port)
        found: Counter[str] = Counter()
        for record in (*status.tx_records, *status.rx_records):
            ring = self.counters.ring(record)
            assert ring is not None
            found += Counter(ring.drops)
            found["delivered"] += 0 if ring.tx else ring.frames
        return found


def test_the_switch_is_a_learning_bridge() -> None:
    run_state_machine_as_test(
        SwitchAgainstModel,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
