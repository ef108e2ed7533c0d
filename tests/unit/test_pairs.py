# SPDX-License-Identifier: BSD-2-Clause
"""Every kind of port with every front end: a frame passes, or the pair is refused with the reason.

TABLE has them all: a proof, or what is said of one that is refused.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import NamedTuple

import pytest

import ringpass
import ringport
from ringpass.dataplane import DataPlane, FrontEndKind, Kind, PortSpec
from ringpass.errors import RingpassError
from ringpass.observe.counters import FILE_NAME, Counters
from ringport.transport import daemon as transport
from tests.support.daemon import Daemon
from tests.support.miniguest import MiniGuest, frame, wait_for
from tests.support.networks import Network, Raw
from tests.support.rings import RingUser

KINDS = ("VALE", "null", "pipe", "NIC", "host", "monitor")
FRONT_ENDS = ("process", "embedded", "vhost-user")

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
NAMES = {"null": "vale0:sink", "NIC": "eth0", "host": "eth0^", "monitor": "vale0:here/t"}


class Place(NamedTuple):
    """A daemon beside the interface eth0, which a cable joins with another one elsewhere."""

    daemon: Daemon
    here: Network
    there: Network

    def open(self, name: str) -> ringport.Port:
        """Open a port as a process does."""
        path = self.daemon.runtime_dir / transport.FILE_NAME
        return ringport.Port(name, transport.Daemon(name, path=path))


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    if os.geteuid():
        pytest.skip("only root may use the host's interfaces")
    with (
        TemporaryDirectory(prefix="rp-") as directory,
        Network() as here,
        Network() as there,
    ):
        here.cable("eth0", there, "eth0")
        daemon = Daemon(Path(directory), CONFIG)
        here.do(daemon.__enter__)
        try:
            yield Place(daemon, here, there)
        finally:
            daemon.__exit__(None, None, None)


def process_vale(place: Place) -> None:
    with place.open("vale0:one") as one, place.open("vale0:two") as two:
        put(one, GO)
        assert take(two) == GO
        put(two, COME)
        assert take(one) == COME


def process_pipe(place: Place) -> None:
    with place.open("netmap:q{1") as one, place.open("netmap:q}1") as two:
        put(one, GO)
        assert take(two) == GO
        put(two, COME)
        assert take(one) == COME


def process_nic(place: Place) -> None:
    with place.open("netmap:eth0") as port, Raw(place.there, "eth0") as wire:
        put(port, GO)
        assert wire.receive(1) == [GO]
        wire.send(COME)
        assert take(port) == COME


def process_host(place: Place) -> None:
    with place.open("netmap:eth0^") as port, Raw(place.here, "eth0") as stack:
        put(port, GO)
        assert stack.receive(1) == [GO]
        stack.send(COME)
        assert take(port) == COME


def process_monitor(place: Place) -> None:
    with place.open("vale0:one") as one, place.open("vale0:two") as two:
        with place.open("vale0:one/t") as monitor:
            put(one, GO)
            assert take(monitor) == GO
        assert take(two) == GO


def embedded_vale(_: Place) -> None:
    with ringpass.Backend() as backend:
        here, there = backend.open("vale0:here"), backend.open("vale0:there")
        put(here, GO)
        assert take(there) == GO
        put(there, COME)
        assert take(here) == COME


def embedded_null(_: Place) -> None:
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


def embedded_pipe(_: Place) -> None:
    with ringpass.Backend() as backend:
        here, there = backend.open("netmap:p{1"), backend.open("netmap:p}1")
        put(here, GO)
        assert take(there) == GO
        put(there, COME)
        assert take(here) == COME


def embedded_monitor(_: Place) -> None:
    with ringpass.Backend() as backend:
        here, there = backend.open("vale0:here"), backend.open("vale0:there")
        monitor = backend.open("vale0:here/t")
        put(here, GO)
        assert take(monitor) == take(there) == GO


def vhost_vale(place: Place) -> None:
    here, there = place.daemon.socket("vale0:here"), place.daemon.socket("vale0:there")
    with MiniGuest(here) as one, MiniGuest(there) as two:
        one.send(GO)
        assert two.receive() == GO
        two.send(COME)
        assert one.receive() == COME


def vhost_pipe(place: Place) -> None:
    place.daemon.call("port.add", name="p{1", settings={})
    with MiniGuest(place.daemon.socket("p{1")) as guest, place.open("netmap:p}1") as program:
        guest.send(GO)
        assert take(program) == GO
        put(program, COME)
        assert guest.receive() == COME


def vhost_null(place: Place) -> None:
    with MiniGuest(place.daemon.socket("vale0:sink")) as guest:
        guest.send(GO)
        with Counters(place.daemon.runtime_dir / FILE_NAME) as counters:
            wait_for(lambda: discarded(counters, "vale0:sink") == 1, "the frame to be discarded")


#: Without a worker; tests/netns/test_embedded_nic.py has one.
NO_INTERFACES = "opens no interfaces of the host"
TABLE: dict[tuple[str, str], Callable[[Place], None] | str] = {
    ("VALE", "process"): process_vale,
    ("null", "process"): "it is for a virtual machine",
    ("pipe", "process"): process_pipe,
    ("NIC", "process"): process_nic,
    ("host", "process"): process_host,
    ("monitor", "process"): process_monitor,
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
    ("monitor", "vhost-user"): "contains '/', which our names cannot",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_pair_passes_a_frame_or_is_refused(place: Place, kind: str, front_end: str) -> None:
    expected = TABLE[kind, front_end]
    if callable(expected):
        expected(place)
        return
    with pytest.raises((RingpassError, ringport.Error), match=expected):
        ASK[front_end](place, NAMES[kind])


def test_the_table_has_all_pairs_and_no_others() -> None:
    assert set(TABLE) == set(itertools.product(KINDS, FRONT_ENDS))


def ask_process(place: Place, name: str) -> None:
    place.open(name).close()


def ask_embedded(_: Place, name: str) -> None:
    with ringpass.Backend() as backend:
        backend.open(name if name.startswith("vale") else f"netmap:{name}")


def ask_vhost(place: Place, name: str) -> None:
    place.daemon.call("port.add", name=name, settings={})


ASK = {"process": ask_process, "embedded": ask_embedded, "vhost-user": ask_vhost}


def put(port: ringport.Port, data: bytes) -> None:
    """Send a frame."""
    assert (*port.tx, *port.host_tx)[0].put(data)
    port.txsync()


def take(port: ringport.Port) -> bytes | None:
    """Return the frame that came."""
    assert port.wait_readable(10)
    port.rxsync()
    return (*port.rx, *port.host_rx)[0].get()


def discarded(counters: Counters, port: str) -> int:
    """Return how many frames a port threw away on purpose."""
    return sum(ring.drops.get("discard", 0) for ring in counters.rings() if ring.port == port)
