# SPDX-License-Identifier: BSD-2-Clause
"""Random tables, flows and ports: the built-in logics do what some lines of Python say."""

import struct
from collections import Counter
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ringpass.dataplane import Logic
from tests.support.switched import Switched

PORTS = ["a", "b", "c", "d", "e"]
MACS = [bytes([2, 0, 0, 0, 0, n]) for n in range(1, 7)] + [b"\xff" * 6, bytes(6), b"\1" + bytes(5)]

ports = st.sampled_from(PORTS)
quick = settings(max_examples=60)


@quick
@given(
    table=st.dictionaries(st.sampled_from(MACS[:6]), st.sampled_from([*PORTS, "gone"]), max_size=6),
    unknown=st.sampled_from(["", "unknown=drop", "unknown=flood"]),
    sent=st.lists(
        st.tuples(ports, st.sampled_from(MACS), st.sampled_from(MACS)), min_size=1, max_size=20
    ),
)
def test_a_static_table_is_a_dictionary(
    table: dict[bytes, str], unknown: str, sent: list[tuple[str, bytes, bytes]]
) -> None:
    expected: dict[str, list[bytes]] = {}
    drops: Counter[str] = Counter()
    words = [f"{mac.hex(':')}={port}" for mac, port in table.items()]
    with Switched(*PORTS) as switched:
        switched.dataplane.set_switch_logic(
            switched.switch, Logic.STATIC, " ".join([unknown, *words])
        )
        for number, (source, to, sender) in enumerate(sent):
            frame = to + sender + struct.pack(">HI", 0x88B5, number) + bytes(42)
            switched.send(source, frame)
            home = table.get(to)
            if to[0] & 1 or (home is None and "flood" in unknown):
                receivers = [port for port in PORTS if port != source]
            elif home in PORTS:
                receivers = [home] if home != source else []
                drops["self"] += home == source
            else:
                receivers = []
                drops["logic"] += 1
            for port in receivers:
                expected.setdefault(port, []).append(frame)
        assert switched.receive() == expected
        assert switched.drops() == +drops
        assert switched.dataplane.fdb(switched.switch) == []


@dataclass(frozen=True)
class Flow:
    """Two ends of a conversation, and how its packets look on the wire."""

    ipv6: bool
    source: int
    destination: int
    source_port: int
    destination_port: int
    protocol: int
    vlans: int

    def back(self) -> "Flow":
        """Return the other direction."""
        return replace(
            self,
            source=self.destination,
            destination=self.source,
            source_port=self.destination_port,
            destination_port=self.source_port,
        )

    def frame(self, payload: bytes, ttl: int, macs: bytes, fragment: int = 0) -> bytes:
        """Return a packet; what the parameters say is no part of a flow."""
        l4 = struct.pack(">HH", self.source_port, self.destination_port) + payload
        if self.ipv6:
            ip = struct.pack(">IHBB", 6 << 28, len(l4), self.protocol, ttl)
            ip += self.source.to_bytes(16) + self.destination.to_bytes(16)
        else:
            ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(l4), 7, fragment, ttl, self.protocol, 0)
            ip += self.source.to_bytes(16)[-4:] + self.destination.to_bytes(16)[-4:]
        tags = b"\x81\x00\x00\x05" * self.vlans
        return macs + tags + (b"\x86\xdd" if self.ipv6 else b"\x08\x00") + ip + l4


flows = st.builds(
    Flow,
    ipv6=st.booleans(),
    source=st.integers(0, 2**128 - 1),
    destination=st.integers(0, 2**128 - 1),
    source_port=st.integers(0, 65535),
    destination_port=st.integers(0, 65535),
    protocol=st.sampled_from([6, 17, 132]),
    vlans=st.integers(0, 2),
)
wires = st.tuples(
    st.binary(min_size=16, max_size=200), st.integers(1, 255), st.binary(min_size=12, max_size=12)
)


def where(switched: Switched, source: str, frame: bytes) -> str:
    """Send a frame and return the one port that received it."""
    switched.send(source, frame)
    (receiver, got), *others = switched.receive().items()
    assert got == [frame]
    assert not others
    return receiver


@quick
@given(uplinks=st.sets(ports, max_size=4), flow=flows, first=wires, second=wires, source=ports)
def test_a_flow_keeps_its_port_in_both_directions(
    uplinks: set[str],
    flow: Flow,
    first: tuple[bytes, int, bytes],
    second: tuple[bytes, int, bytes],
    source: str,
) -> None:
    with Switched(*PORTS) as switched:
        words = " ".join(f"uplink={name}" for name in uplinks)
        switched.dataplane.set_switch_logic(switched.switch, Logic.HASH, words)
        port = where(switched, source, flow.frame(*first))
        assert port != source
        assert not uplinks or (port in uplinks) != (source in uplinks)
        assert where(switched, source, flow.frame(*second)) == port
        assert where(switched, source, flow.back().frame(*second)) == port
        if uplinks:
            # Whoever of a side sends it: the other side's port is the flow's own.
            for other in uplinks if source in uplinks else set(PORTS) - uplinks:
                assert where(switched, other, flow.frame(*first)) == port


@quick
@given(
    flow=flows.filter(lambda flow: not flow.ipv6),
    offset=st.integers(1, 0x3FFF),
    wire=wires,
    ports_of_fragment=st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
)
def test_all_fragments_of_a_packet_go_one_way(
    flow: Flow,
    offset: int,
    wire: tuple[bytes, int, bytes],
    ports_of_fragment: tuple[int, int],
) -> None:
    first, second = ports_of_fragment
    other = replace(flow, source_port=first, destination_port=second)
    with Switched(*PORTS) as switched:
        switched.dataplane.set_switch_logic(switched.switch, Logic.HASH, "uplink=a")
        port = where(switched, "a", flow.frame(*wire, fragment=0x2000))
        assert where(switched, "a", other.frame(*wire, fragment=offset)) == port


@quick
@given(frames=st.lists(st.binary(min_size=14, max_size=150), min_size=1, max_size=30))
def test_whatever_the_bytes_a_hash_delivers_each_frame_once(frames: list[bytes]) -> None:
    with Switched(*PORTS) as switched:
        switched.dataplane.set_switch_logic(switched.switch, Logic.HASH, "")
        switched.send("a", *frames)
        got = switched.receive()
        assert "a" not in got
        assert Counter(frame for some in got.values() for frame in some) == Counter(frames)
        assert not switched.drops()
