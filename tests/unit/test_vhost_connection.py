# SPDX-License-Identifier: BSD-2-Clause
"""A socket that yields vhost-user messages, in pieces and with descriptors."""

import itertools
import os
import resource
import socket
import struct
import threading
from collections.abc import Iterator, Set

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringpass.vhostuser.connection import Connection, Disconnected
from ringpass.vhostuser.messages import MAX_PAYLOAD, MAX_TABLE_ROWS, Header, ProtocolError
from tests.support.slow import full_closer
from tests.support.vhost import RawFrontEnd, encode, open_fds
from tests.support.wait import wait_until


class Pair:
    """A connection and the front end at its other end."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.connection = Connection(ours)
        self.front_end = RawFrontEnd(theirs)

    def close(self) -> None:
        self.connection.close()
        self.front_end.socket.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return a connected pair; afterwards no descriptor is left."""
    before = open_fds()
    pair = Pair()
    yield pair
    pair.close()
    assert open_fds() <= before


def test_a_message_arrives_whole(pair: Pair) -> None:
    pair.front_end.send(9, b"payload")
    message = pair.connection.receive()
    assert message is not None
    assert (message.header, message.body, message.fds) == (Header(9, 1, 7), b"payload", [])
    assert pair.connection.receive() is None


@pytest.mark.parametrize("step", [1, 5, 12, 13])
def test_a_message_in_pieces_arrives_once_it_is_whole(pair: Pair, step: int) -> None:
    data = encode(9, b"some payload")
    for start in range(0, len(data) - 1, step):
        end = min(start + step, len(data) - 1)
        pair.front_end.send_raw(data[start:end])
        assert pair.connection.receive() is None
    pair.front_end.send_raw(data[-1:])
    message = pair.connection.receive()
    assert message is not None
    assert message.body == b"some payload"


def test_descriptors_belong_to_the_message_that_they_came_with(pair: Pair) -> None:
    pair.front_end.send(1, b"x")
    pair.front_end.send(2, b"y", [0, 0, 0])
    pair.front_end.send(3, b"z")
    counts = []
    while (message := pair.connection.receive()) is not None:
        with message:
            counts.append(len(message.fds))
            for fd in message.fds:
                assert not os.get_inheritable(fd.fileno())
    assert counts == [0, 3, 0]


def test_who_sends_more_than_can_be_closed_is_not_listened_to() -> None:
    go_on = threading.Event()
    closer = full_closer(go_on)
    ours, theirs = socket.socketpair()
    connection, front_end = Connection(ours, closer), RawFrontEnd(theirs)
    front_end.send(1, b"x")
    assert connection.receive() is not None, "what brings no descriptor is read"
    front_end.send(1, b"x", [0])
    with pytest.raises(ProtocolError, match="faster than they can be closed"):
        connection.receive()
    go_on.set()
    connection.close()
    front_end.socket.close()
    wait_until(lambda: closer.pending == 0, "all is closed")


@pytest.mark.parametrize("count", [MAX_TABLE_ROWS + 1, MAX_TABLE_ROWS + 2, 200])
def test_too_many_descriptors_are_refused(pair: Pair, count: int) -> None:
    pair.front_end.send(1, b"x", [0] * count)
    with pytest.raises(ProtocolError, match="more than 8 descriptors"):
        pair.connection.receive()


@pytest.mark.parametrize("split", [4, 12, 14])
def test_descriptors_in_the_middle_of_a_message_are_refused(pair: Pair, split: int) -> None:
    data = encode(1, b"payload")
    pair.front_end.send_raw(data[:split])
    assert pair.connection.receive() is None
    pair.front_end.send_raw(data[split:], [0])
    with pytest.raises(ProtocolError, match="middle of a message"):
        pair.connection.receive()


def test_descriptors_that_the_daemon_has_no_room_for_are_no_fault_of_the_front_end(
    pair: Pair,
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    pair.front_end.send(1, b"x", [0, 0, 0])
    room = os.dup(0)
    os.close(room)
    resource.setrlimit(resource.RLIMIT_NOFILE, (room + 2, limits[1]))
    try:
        with pytest.raises(ProtocolError, match="the daemon has too many open") as caught:
            pair.connection.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "LimitNOFILE" in caught.value.fix


def test_the_end_between_messages_is_no_error(pair: Pair) -> None:
    pair.front_end.send(1)
    pair.front_end.socket.close()
    assert pair.connection.receive() is not None
    with pytest.raises(Disconnected):
        pair.connection.receive()


@pytest.mark.parametrize("length", [1, 11, 12, 15])
def test_the_end_inside_a_message_is_an_error(pair: Pair, length: int) -> None:
    pair.front_end.send_raw(encode(1, b"payload")[:length], [0])
    pair.front_end.socket.close()
    with pytest.raises(ProtocolError, match="ended in the middle"):
        pair.connection.receive()


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ((1, 0x0, 0), "protocol version 0"),
        ((1, 0x2, 0), "protocol version 2"),
        ((1, 0x5, 0), "a reply"),
        ((1, 0x1, MAX_PAYLOAD + 1), "a payload of"),
        ((1, 0x1, 2**32 - 1), "a payload of"),
    ],
)
def test_a_header_that_cannot_be_right_is_refused(
    pair: Pair, header: tuple[int, int, int], why: str
) -> None:
    pair.front_end.send_raw(struct.pack("=III", *header))
    with pytest.raises(ProtocolError, match=why):
        pair.connection.receive()


def test_replies_that_nobody_reads_end_the_session(pair: Pair) -> None:
    def flood() -> None:
        for _ in range(1_000_000):
            pair.connection.send(bytes(20))

    with pytest.raises(ProtocolError, match="does not read"):
        flood()


def test_a_front_end_that_is_gone_gets_no_reply(pair: Pair) -> None:
    pair.front_end.socket.close()
    with pytest.raises(Disconnected):
        pair.connection.send(bytes(20))


MESSAGES = st.lists(
    st.tuples(
        st.integers(0, 45), st.binary(max_size=60) | st.just(bytes(MAX_PAYLOAD)), st.integers(0, 3)
    ),
    max_size=6,
)
CUTS = st.sets(st.integers(1, 300)) | st.just(frozenset(range(300)))


@settings(max_examples=200)
@given(MESSAGES, CUTS, st.none() | st.integers(0, 300))
def test_any_cut_of_a_stream_yields_its_messages_and_their_descriptors(
    messages: list[tuple[int, bytes, int]], cuts: Set[int], stray_at: int | None
) -> None:
    """Descriptors come with a message's first byte; anywhere else they end the session."""
    before = open_fds()
    files = [os.memfd_create("given", os.MFD_CLOEXEC) for _ in range(4)]
    stream, given = b"", {}
    for request, body, count in messages:
        given[len(stream)] = files[:count]
        stream += encode(request, body)
    # A message with descriptors has a sendmsg() of its own; else a piece may begin anywhere.
    begins = {at for at in cuts if at < len(stream)} | {at for at, fds in given.items() if fds}
    if stray_at is not None and stray_at < len(stream) and stray_at not in given:
        begins.add(stray_at)
        given[stray_at] = files[3:]
    pieces = itertools.pairwise(sorted(begins | {0, len(stream)}))
    expected = [(r, body, [os.fstat(fd).st_ino for fd in files[:n]]) for r, body, n in messages]
    got: list[tuple[int, bytes, list[int]]] = []
    pair = Pair()
    try:
        for begin, end in pieces:
            fds = given.get(begin, [])
            pair.front_end.send_raw(stream[begin:end], fds)
            if fds == files[3:]:
                with pytest.raises(ProtocolError, match="middle of a message"):
                    _collect(pair.connection, got)
                break
            _collect(pair.connection, got)
        else:
            assert len(got) == len(expected)
        assert got == expected[: len(got)]
    finally:
        pair.close()
        for fd in files:
            os.close(fd)
    assert open_fds() <= before


def _collect(connection: Connection, got: list[tuple[int, bytes, list[int]]]) -> None:
    while (message := connection.receive()) is not None:
        with message:
            inodes = [os.fstat(fd.fileno()).st_ino for fd in message.fds]
            got.append((message.header.request, message.body, inodes))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.binary(min_size=1, max_size=64), st.integers(0, 3)), max_size=8))
def test_any_stream_is_messages_or_refused_and_leaks_nothing(
    parts: list[tuple[bytes, int]],
) -> None:
    before = open_fds()
    pair = Pair()
    try:
        for data, fds in parts:
            pair.front_end.send_raw(data, [0] * fds)
        pair.front_end.socket.close()
        while (message := pair.connection.receive()) is not None:
            message.close()
    except (Disconnected, ProtocolError):
        pass
    finally:
        pair.close()
    assert open_fds() <= before
