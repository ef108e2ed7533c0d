# SPDX-License-Identifier: BSD-2-Clause
"""What comes over the socket of QEMU's netdev, when it is not QEMU's netdev that sends it.

Whatever is said, the session that said it is all that ends: its port is there for the next one,
nothing of it is left in the daemon, and others notice nothing.
"""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ringpass.descriptors import MAX_THREADS, MAX_WAITING
from ringpass.passthrough import netdev_messages as m
from ringpass.passthrough.netdev_server import MAX_STRANGERS
from ringpass.sockets import Packet
from tests.support.daemon import Daemon
from tests.support.miniguest import frame, wait_for
from tests.support.netdev_client import (
    CHANGED,
    CLOSE,
    HELLO,
    OPEN,
    GuestMemory,
    NetdevClient,
    Refused,
    hello,
    message,
    netdev,
    opening,
)
from tests.support.passthrough import FakeDriver, held, nothing_left, receive
from tests.support.processes import stopped
from tests.support.slow import lingering
from tests.support.wait import PATIENCE_S

CONFIG = """
[switch.vale0]
[switch.vale1]
[port."vale0:a"]
kind = "passthrough"
slots = 64
[port."vale1:one"]
kind = "passthrough"
slots = 64
[port."vale1:two"]
kind = "passthrough"
slots = 64
[port."vale1:three"]
kind = "passthrough"
slots = 64
"""
SIZES = {HELLO: m.HELLO.size, OPEN: m.OPEN.size, CLOSE: 0}
NONSENSE = {
    "nothing but a byte": b"x",
    "half a header": message(CLOSE, 2)[:100],
    "no header of ours": message(CLOSE, 2, magic=0),
    "another version": message(CLOSE, 2, version=2),
    "no number": message(CLOSE, 0),
    "an operation that is none": message(9, 2),
    "an operation of the backend": message(CHANGED, 2, bytes(m.PORT.size)),
    "more than it says": message(OPEN, 2, opening(), bytes=31),
    "a body too short": message(OPEN, 2, opening()[:-1]),
    "a body too long": message(CLOSE, 2, b"x"),
    "more than fits": message(OPEN, 2, bytes(m.MAX_BYTES)),
    "descriptors that did not come": message(CLOSE, 2, fds=1),
    "no descriptors for its blocks": message(OPEN, 2, opening(flags=1)),
    "flags that are none": message(OPEN, 2, opening(flags=4)),
    "hello once more": message(HELLO, 2, hello()),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that the tests of this module share."""
    with Daemon(tmp_path_factory.mktemp("n"), CONFIG) as daemon:
        yield daemon


class Victims:
    """Two guests of another switch who exchange frames all the time."""

    def __init__(self, daemon: Daemon) -> None:
        self.clients = [netdev(daemon, f"vale1:{name}").hello() for name in ("one", "two")]
        rings = [client.open().rings for client in self.clients]
        drivers = [FakeDriver(client) for client in self.clients]
        self._tx, self._rx = drivers[0].ring(rings[0][0]), drivers[1].ring(rings[1][1])
        self._number = count()

    def exchange(self) -> None:
        """Send a frame, and have it arrive."""
        sent = frame("ff:ff:ff:ff:ff:ff", "52:54:00:00:00:01", b"%d" % next(self._number))
        self._tx.send(sent)
        receive(self._rx, [sent])

    def close(self) -> None:
        """End."""
        for client in self.clients:
            client.close()


@pytest.fixture(scope="module")
def victims(daemon: Daemon) -> Iterator[Victims]:
    """Return those who are to notice nothing."""
    victims = Victims(daemon)
    yield victims
    victims.close()


@pytest.fixture(autouse=True)
def _nothing_left(daemon: Daemon, victims: Victims) -> Iterator[None]:
    """What a test leaves in the daemon makes it fail."""
    with nothing_left(daemon):
        yield
        victims.exchange()
        with netdev(daemon, "vale0:a") as client:
            wait_for(lambda: comes_in(client), "the port for the next one")
            client.open()


def comes_in(client: NetdevClient) -> bool:
    """Return whether the port is free, and had by `client` then."""
    with contextlib.suppress(Refused):
        client.hello()
        return True
    return False


def violations(daemon: Daemon) -> int:
    """Return how many sessions of vale0:a ended for what they did."""
    return int(daemon.call("port.show", name="vale0:a")["violations"])


def wait_for_end(client: NetdevClient) -> list[int]:
    """Return the errors that came until the backend hung up."""
    errors = []
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            errors.append(int(client.receive().head.error))
    return errors


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_ends_its_session(daemon: Daemon, name: str) -> None:
    before = violations(daemon)
    with netdev(daemon, "vale0:a").hello() as client:
        client.open()
        client.send(NONSENSE[name])
        assert wait_for_end(client) == [errno.EPROTO]
    shown = daemon.call("port.show", name="vale0:a")
    assert (shown["violations"], shown["guest"]) == (before + 1, None)
    assert shown["last_error"]


@pytest.mark.parametrize("op", [OPEN, CLOSE])
def test_who_does_not_say_hello_is_put_out(daemon: Daemon, op: int) -> None:
    before = violations(daemon)
    with netdev(daemon, "vale0:a").hello(), netdev(daemon, "vale0:a") as client:
        client.send(message(op, 1, bytes(SIZES[op])))
        assert wait_for_end(client) == [errno.EPROTO]
        # The one that has the port has it still.
        assert daemon.call("port.show", name="vale0:a")["guest"] is not None
    assert violations(daemon) == before + 1


@pytest.mark.parametrize("fields", [{"pairs": 1}, {"pad": 1}, {"region_bytes": 4096}])
def test_a_hello_that_contradicts_itself_is_nonsense(
    daemon: Daemon, fields: dict[str, int]
) -> None:
    with netdev(daemon, "vale0:a") as client:
        client.send(message(HELLO, 1, hello(**fields)))
        assert wait_for_end(client) == [errno.EPROTO]


def test_descriptors_that_nobody_asked_for_are_closed(daemon: Daemon) -> None:
    with netdev(daemon, "vale0:a").hello() as client:
        fds = [os.eventfd(0) for _ in range(250)]
        client.send(message(CLOSE, 2, fds=250), fds)
        client.send(message(CLOSE, 3, fds=250), fds)  # nobody reads this any more
        assert wait_for_end(client) == [errno.EPROTO]
    for fd in fds:
        os.close(fd)


def test_descriptors_that_do_not_close_are_no_more_than_a_few(daemon: Daemon) -> None:
    """Each waits for a thread that closes it, and the daemon has it as long."""
    plain = os.open("/proc/self/exe", os.O_RDONLY)
    before = held(daemon)[0]
    with lingering(MAX_THREADS) as slow, contextlib.ExitStack() as clients:
        client = clients.enter_context(netdev(daemon, "vale0:a"))
        with stopped(daemon.pid):  # so that its descriptors are the last
            client.send(message(CLOSE, 1, fds=len(slow)), slow)
            while slow:
                os.close(slow.pop())
        assert wait_for_end(client) == [errno.EPROTO]
        for _ in range(6):
            client = clients.enter_context(netdev(daemon, "vale0:a"))
            client.send(message(CLOSE, 1, fds=250), [plain] * 250)
        with netdev(daemon, "vale1:three").hello():
            assert held(daemon)[0] < before + MAX_WAITING + 2 * 253
    os.close(plain)
    wait_for(lambda: held(daemon)[0] <= before, "all is closed")


def test_strangers_are_few(daemon: Daemon) -> None:
    strangers = [netdev(daemon, "vale0:a") for _ in range(MAX_STRANGERS + 1)]
    with pytest.raises((EOFError, ConnectionError)):
        strangers[0].receive()  # the one that was here the longest makes room
    with strangers[1].hello() as client:
        client.open()
        for stranger in strangers:
            stranger.close()


def test_who_does_not_listen_is_answered_in_its_own_time(daemon: Daemon, victims: Victims) -> None:
    with netdev(daemon, "vale0:a").hello() as client:
        client.socket.setblocking(False)
        sent = 0
        until = time.monotonic() + 1
        while time.monotonic() < until:
            try:
                client.send(message(CLOSE, sent + 2))
                sent += 1
            except BlockingIOError:
                began = time.monotonic()
                daemon.call("ping")
                victims.exchange()
                assert time.monotonic() - began < 10
                time.sleep(0.01)
        assert sent > 1
        client.socket.settimeout(PATIENCE_S)
        numbers = [client.receive().head.number for _ in range(min(sent, 200))]
        assert numbers == list(range(2, 2 + len(numbers)))


def test_a_qemu_that_ends_in_any_state_leaves_nothing(daemon: Daemon) -> None:
    memory = GuestMemory()
    for steps in range(5):
        client = netdev(daemon, "vale0:a")
        if steps > 0:
            wait_for(lambda client=client: comes_in(client), "the port")  # type: ignore[misc]
        if steps == 2:
            client.open()
        if steps == 3:
            memory.open(client)
        if steps == 4:
            client.send(message(OPEN, 99, opening()))
        client.close()
    memory.close()


heads = st.fixed_dictionaries(
    {},
    optional={
        "magic": st.integers(0, 2**32 - 1),
        "version": st.integers(0, 2**16 - 1),
        "bytes": st.integers(0, 2**32 - 1),
        "fds": st.integers(0, 2**32 - 1),
    },
)


@given(
    st.integers(0, 6),
    st.integers(0, 3),
    st.binary(max_size=40),
    heads,
    st.lists(st.just(-1), max_size=4),
    st.booleans(),
)
@example(CLOSE, 1, b"", {}, [], True)
def test_every_packet_is_a_request_or_nonsense(
    op: int, number: int, body: bytes, head: dict[str, int], fds: list[int], whole: bool
) -> None:
    data = message(op, number, body, **{"fds": len(fds), **head})
    with contextlib.suppress(m.Nonsense):
        request = m.parse(Packet(data, fds, whole))
        assert whole
        assert len(body) == SIZES[op]
        assert request.number == number
        assert request.body.fds == len(fds)


@given(st.binary(max_size=600))
def test_noise_is_no_request(data: bytes) -> None:
    with pytest.raises(m.Nonsense):
        m.parse(Packet(data, [], whole=True))


words = st.sampled_from([0, 1, 12, 63, 64, 4096, 2**31, 2**32 - 1])
long_words = st.sampled_from([0, 64, 4096, 2 * 4096, 2**40, 2**63, 2**64 - 64, 2**64 - 1])
Step = tuple[str, dict[str, int]]
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(
        st.just("hello"),
        st.fixed_dictionaries(
            {}, optional={"peer": words, "queues": words, "pairs": words, "region_bytes": words}
        ),
    ),
    st.tuples(
        st.just("open"),
        st.fixed_dictionaries(
            {"flags": st.sampled_from([0, 1, 1, 2, 3])},
            optional={
                "features": long_words,
                "atok_offset": long_words,
                "ktoa_offset": long_words,
                "header_bytes": st.sampled_from([0, 12, 10]),
            },
        ),
    ),
    st.tuples(st.sampled_from(["close", "again", "truncate", "scribble", "kick"]), st.just({})),
)


class Actor:
    """A client that does what it is told, whatever comes of it."""

    def __init__(self, daemon: Daemon) -> None:
        self.client = netdev(daemon, "vale0:a")
        self.memory = GuestMemory()

    def do(self, what: str, fields: dict[str, int]) -> None:
        """Do one thing. A session that ended is begun anew by the next hello."""
        client = self.client
        try:
            match what:
                case "hello":
                    client.socket.close()
                    client.connect()
                    client.hello(client.held[: 1 + 2 * fields.get("pairs", 0)], **fields)
                case "again" if client.held:
                    client.again()
                case "open" if fields["flags"] & 1:
                    self.memory.open(client, **fields)
                case "open":
                    client.open(**fields)  # type: ignore[arg-type]
                case "close":
                    client.ask(CLOSE)
                case "truncate":
                    os.ftruncate(self.memory.fd, 0)
                    os.ftruncate(self.memory.fd, 3 * 4096)
                case "scribble":
                    self.memory.map[:] = os.urandom(len(self.memory.map))
                case "kick":
                    for fd in client.doorbells if client.port else []:
                        os.eventfd_write(fd, 1)
        except (Refused, EOFError, ConnectionError, BrokenPipeError):
            return

    def close(self) -> None:
        """End."""
        self.client.close()
        self.memory.close()


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(said=st.lists(steps, max_size=12))
def test_any_sequence_harms_its_own_session_alone(
    daemon: Daemon, victims: Victims, said: list[Step]
) -> None:
    actor = Actor(daemon)
    actor.do("hello", {})
    for what, fields in said:
        actor.do(what, fields)
    actor.close()
    victims.exchange()


def test_a_socket_of_another_type_does_not_connect(daemon: Daemon) -> None:
    path = daemon.socket("vale0:a").with_suffix(".netdev")
    with socket.socket(socket.AF_UNIX) as stream, pytest.raises(OSError, match="rotocol"):
        stream.connect(os.fspath(path))
