# SPDX-License-Identifier: BSD-2-Clause
"""Every kind of port with every front end: a frame passes, or the pair is refused with the reason.

TABLE has them all: a proof, or what is said of one that is refused.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryFile

import pytest

import ringpass
import ringport
from ringpass.dataplane import DataPlane, FrontEndKind, Kind, PortSpec
from ringpass.errors import RingpassError
from ringpass.observe.counters import FILE_NAME, Counters
from ringport.transport import daemon as transport
from tests.support.daemon import Daemon
from tests.support.miniguest import MiniGuest, frame, wait_for
from tests.support.rings import RingUser

KINDS = ("VALE", "null", "pipe", "NIC", "host", "monitor")
FRONT_ENDS = ("embedded", "vhost-user")

HERE, THERE = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
GO, COME = frame(THERE, HERE, b"go"), frame(HERE, THERE, b"come")

CONFIG = """
[switch.vale0]
[port."vale0:here"]
[port."vale0:there"]
[port."vale0:sink"]
kind = "null"
"""

#: What a pair that is refused is asked for by.
NAMES = {"NIC": "eth0", "host": "eth0^", "monitor": "vale0:here/t"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d"), CONFIG) as daemon:
        yield daemon


def embedded_vale(_: Daemon) -> None:
    with ringpass.Backend() as backend:
        here, there = backend.open("vale0:here"), backend.open("vale0:there")
        put(here, GO)
        assert take(there) == GO
        put(there, COME)
        assert take(here) == COME


def embedded_null(_: Daemon) -> None:
    with (
        TemporaryFile() as file,
        DataPlane(file.fileno()) as plane,
        plane.caller() as caller,
        Counters(Path(f"/proc/self/fd/{file.fileno()}")) as counters,
    ):
        port = plane.add_port(PortSpec("sink", kind=Kind.NULL, front_end=FrontEndKind.RINGS))
        user = RingUser(plane, caller, port)
        user.put([GO])
        assert user.send() == 1
        assert discarded(counters, "sink") == 1


def embedded_pipe(_: Daemon) -> None:
    with ringpass.Backend() as backend:
        here, there = backend.open("netmap:p{1"), backend.open("netmap:p}1")
        put(here, GO)
        assert take(there) == GO
        put(there, COME)
        assert take(here) == COME


def embedded_monitor(_: Daemon) -> None:
    with ringpass.Backend() as backend:
        here, there = backend.open("vale0:here"), backend.open("vale0:there")
        monitor = backend.open("vale0:here/t")
        put(here, GO)
        assert take(monitor) == take(there) == GO


def vhost_vale(daemon: Daemon) -> None:
    here, there = daemon.socket("vale0:here"), daemon.socket("vale0:there")
    with MiniGuest(here) as one, MiniGuest(there) as two:
        one.send(GO)
        assert two.receive() == GO
        two.send(COME)
        assert one.receive() == COME


def vhost_pipe(daemon: Daemon) -> None:
    daemon.call("port.add", name="p{1", settings={})
    binding = transport.Daemon("netmap:p}1", path=daemon.runtime_dir / transport.FILE_NAME)
    with MiniGuest(daemon.socket("p{1")) as guest, ringport.Port("p}1", binding) as program:
        guest.send(GO)
        assert take(program) == GO
        put(program, COME)
        assert guest.receive() == COME


def vhost_null(daemon: Daemon) -> None:
    with MiniGuest(daemon.socket("vale0:sink")) as guest:
        guest.send(GO)
        with Counters(daemon.runtime_dir / FILE_NAME) as counters:
            wait_for(lambda: discarded(counters, "vale0:sink") == 1, "the frame to be discarded")


#: Without a worker; tests/netns/test_embedded_nic.py has one.
NO_INTERFACES = "opens no interfaces of the host"
TABLE: dict[tuple[str, str], Callable[[Daemon], None] | str] = {
    ("VALE", "embedded"): embedded_vale,
    ("null", "embedded"): embedded_null,
    ("pipe", "embedded"): embedded_pipe,
    ("NIC", "embedded"): NO_INTERFACES,
    ("host", "embedded"): NO_INTERFACES,
    ("monitor", "embedded"): embedded_monitor,
    ("VALE", "vhost-user"): vhost_vale,
    ("null", "vhost-user"): vhost_null,
    ("pipe", "vhost-user"): vhost_pipe,
    ("NIC", "vhost-user"): "it has no colon",
    ("host", "vhost-user"): "it has no colon",
    ("monitor", "vhost-user"): "contains '/', which netmap's names cannot",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_pair_passes_a_frame_or_is_refused(daemon: Daemon, kind: str, front_end: str) -> None:
    expected = TABLE[kind, front_end]
    if callable(expected):
        expected(daemon)
        return
    with pytest.raises((RingpassError, ringport.Error), match=expected):
        ASK[front_end](daemon, NAMES[kind])


def test_the_table_has_all_pairs_and_no_others() -> None:
    assert set(TABLE) == set(itertools.product(KINDS, FRONT_ENDS))


def ask_embedded(_: Daemon, name: str) -> None:
    with ringpass.Backend() as backend:
        backend.open(name if name.startswith("vale") else f"netmap:{name}")


def ask_vhost(daemon: Daemon, name: str) -> None:
    daemon.call("port.add", name=name, settings={})


ASK = {"embedded": ask_embedded, "vhost-user": ask_vhost}


def put(port: ringport.Port, data: bytes) -> None:
    """Send a frame."""
    assert port.tx[0].put(data)
    port.txsync()


def take(port: ringport.Port) -> bytes | None:
    """Return the frame that came."""
    assert port.wait_readable(10)
    port.rxsync()
    return port.rx[0].get()


def discarded(counters: Counters, port: str) -> int:
    """Return how many frames a port threw away on purpose."""
    return sum(ring.drops.get("discard", 0) for ring in counters.rings() if ring.port == port)
