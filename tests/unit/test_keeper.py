# SPDX-License-Identifier: BSD-2-Clause
"""Who holds descriptors for the next daemon: our own keeper, hostile datagrams, systemd."""

import array
import multiprocessing
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass.keeper import store
from ringpass.keeper.document import MAX_BYTES, Document
from ringpass.keeper.entries import Entries
from ringpass.keeper.link import OwnKeeper, Systemd, link
from tests.support.miniguest import wait_for
from tests.support.wait import PATIENCE_S

CONNECTION = "connection"


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[OwnKeeper]:
    """Return a link to a keeper that runs, and holds a file of the name `first`.

    It also holds a connection, so that it stays when nobody is linked to it.
    """
    keeper = OwnKeeper(tmp_path)
    assert keeper.take() == []
    keeper.send("FDSTORE=1\nFDNAME=first\nFDPOLL=0", [file("first")])
    ours, theirs = socket.socketpair()
    with theirs, ours:
        keeper.send(f"FDSTORE=1\nFDNAME={CONNECTION}", [ours.fileno()])
        assert held(tmp_path) == {"first": ["first"]}
        yield keeper
        keeper.end()
    assert list(tmp_path.iterdir()) == []


def file(text: str) -> int:
    """Return a file in memory that has this text."""
    fd = os.memfd_create("test", os.MFD_CLOEXEC)
    os.write(fd, text.encode())
    return fd


def held(path: Path) -> dict[str, list[str]]:
    """Return the names that a keeper holds, and the texts of their files, as a new daemon would."""
    found: dict[str, list[str]] = {}
    for name, fd in OwnKeeper(path).take():
        if name != CONNECTION:
            found.setdefault(name, []).append(os.pread(fd, 100, 0).decode())
        os.close(fd)
    return found


def names(path: Path) -> list[str]:
    """Return the names that a keeper holds, in their order."""
    found = OwnKeeper(path).take()
    for each in found:
        os.close(each.fd)
    return [each.name for each in found]


def test_what_was_stored_is_given_to_the_next_one(keeper: OwnKeeper, tmp_path: Path) -> None:
    keeper.send("FDSTORE=1\nFDNAME=two\nFDPOLL=0", [file("a"), file("b")])
    assert held(tmp_path) == {"first": ["first"], "two": ["a", "b"]}
    keeper.send("FDSTOREREMOVE=1\nFDNAME=first")
    assert held(tmp_path) == {"two": ["a", "b"]}


def test_more_than_a_message_holds_is_given(keeper: OwnKeeper, tmp_path: Path) -> None:
    count = 2 * store.FDS_A_MESSAGE
    for i in range(count):
        fd = os.eventfd(i, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        keeper.send(f"FDSTORE=1\nFDNAME=e{i}\nFDPOLL=0", [fd])
        os.close(fd)
    found = OwnKeeper(tmp_path).take()
    assert [name for name, _ in found][2:] == [f"e{i}" for i in range(count)]
    assert os.eventfd_read(found[-1].fd) == count - 1
    for each in found:
        os.close(each.fd)


def test_what_hangs_up_is_let_go(keeper: OwnKeeper, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            keeper.send("FDSTORE=1\nFDNAME=watched", [ours.fileno()])
            keeper.send("FDSTORE=1\nFDNAME=kept\nFDPOLL=0", [ours.fileno()])
        assert names(tmp_path) == ["first", CONNECTION, "watched", "kept"]
    wait_for(lambda: names(tmp_path) == ["first", CONNECTION, "kept"], "the descriptor let go")


@pytest.mark.parametrize(
    ("text", "fds"),
    [
        (b"FDSTORE=1\nFDNAME=x", 0),
        (b"FDSTORE=1\nFDNAME=a:b", 1),
        (b"FDSTORE=1\nFDNAME=" + b"n" * 256, 1),
        (b"FDSTORE=1\nFDNAME=\x07", 1),
        (b"FDSTORE=1\nFDNAME=\xff\xfe", 1),
        (b"FDSTORE=1\nFDNAME=x\n" + b"-" * 5000, 1),
        (b"FDSTOREGIVE=1", 0),
        (b"FDSTOREGIVE=1", 2),
        (b"FDSTOREREMOVE=1", 1),
        (b"\0\n=\n==\nSTOP", 3),
        (b"", 250),
    ],
)
def test_nonsense_changes_nothing(keeper: OwnKeeper, tmp_path: Path, text: bytes, fds: int) -> None:
    assert keeper._process is not None
    pid = keeper._process.pid
    daemon = OwnKeeper(tmp_path)
    for each in daemon.take():
        os.close(each.fd)
    before = open_files(pid)
    sent = [file("x") for _ in range(fds)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hostile:
        hostile.connect(os.fspath(tmp_path / "keeper.sock"))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", sent))] if sent else []
        hostile.sendmsg([text], rights)
    for fd in sent:
        os.close(fd)
    daemon.send("FDSTORE=1\nFDNAME=after\nFDPOLL=0", [file("after")])
    wait_for(lambda: open_files(pid) == before + 1, "all others closed")
    assert held(tmp_path) == {"first": ["first"], "after": ["after"]}


def open_files(pid: int) -> int:
    """Return how many descriptors a process has."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_there_are_only_so_many() -> None:
    held = store.Store()
    held.count = store.MAX_FDS - 1
    with pytest.raises(store.Refused, match="is the limit"):
        held.add("x", [100, 101])
    assert held.held == {}


def _ask_as_a_stranger(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        # The path alone would keep a stranger out. What is sent is from who sends it.
        stranger.connect(path)
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with its:
                socket.send_fds(stranger, [b"FDSTOREGIVE=1"], [its.fileno()])
            assert ours.recv(100) == b"", "it was given something"
        stranger.send(b"STOP=1")


@pytest.mark.usefixtures("keeper")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_strangers_are_not_heard(tmp_path: Path) -> None:
    path = tmp_path / "keeper.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    asks = multiprocessing.get_context("fork").Process(
        target=_ask_as_a_stranger, args=(os.fspath(path),)
    )
    asks.start()
    asks.join(PATIENCE_S)
    assert asks.exitcode == 0
    assert held(tmp_path) == {"first": ["first"]}


def test_entries_are_whole_or_gone(tmp_path: Path) -> None:
    entries = Entries(OwnKeeper(tmp_path))
    whole = entries.add("guest", {"a": file("a"), "b": file("b")}, b"one")
    whole.write(b"two\nlines")
    broken = entries.add("guest", {"a": file("x"), "b": file("y")}, b"cut off")
    gone = entries.add("region", {"m": file("m")}, b"")
    entries.remove(gone)
    thief = OwnKeeper(tmp_path)
    thief.take()
    thief.send(f"FDSTOREREMOVE=1\nFDNAME={broken.name('b')}")
    again = Entries(OwnKeeper(tmp_path))
    assert again.found("guest") == [b"two\nlines"]
    assert again.found("region") == []
    taken = again.take("guest", lambda data: data.startswith(b"two"))
    assert taken is not None
    assert {part: os.pread(fd, 9, 0) for part, fd in taken.fds.items()} == {"a": b"a", "b": b"b"}
    # A number is never another entry's.
    assert again.add("guest", {"a": file("n")}, b"").number > broken.number
    third = Entries(OwnKeeper(tmp_path))
    assert len(third.found("guest")) == 2
    third.drop_found()
    assert Entries(OwnKeeper(tmp_path)).found("guest") == []
    third.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_daemon_that_cannot_start_found_stays(tmp_path: Path) -> None:
    first = Entries(OwnKeeper(tmp_path))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        first.add("guest", {"a": ours.fileno()}, b"one", {"a"})
        second = Entries(OwnKeeper(tmp_path))
        second.abandon()
        second.close()
        third = Entries(OwnKeeper(tmp_path))
        assert third.found("guest") == [b"one"]
        third.close()


def test_a_document_is_whole_whenever_its_writer_is_killed() -> None:
    document = Document()
    document.write(b"first")
    document.write(b"second")
    fd = os.dup(document.fd)
    size = os.fstat(fd).st_size
    # The third one goes where the first was; it is cut off, or garbled, anywhere.
    for at in (0, 7, 12, 17, 20):
        os.pwrite(fd, b"\xff" * 5, 16 + MAX_BYTES + at)
        assert Document(os.dup(fd)).text == b"second"
    document.write(b"third" * 1000)
    assert Document(os.dup(fd)).text == b"third" * 1000
    assert size <= os.fstat(fd).st_size
    with pytest.raises(OSError, match="at most"):
        document.write(bytes(MAX_BYTES + 1))
    assert Document(os.memfd_create("nothing")).text == b""


def test_systemd_is_spoken_to_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(PATIENCE_S)
        systemd.bind(os.fspath(path))
        environment = {"NOTIFY_SOCKET": os.fspath(path)}
        found = link(tmp_path, environment)
        assert isinstance(found, Systemd)
        entries = Entries(found)
        entries.add("guest", {"a": file("a"), "c": file("c")}, b"one", {"c"})
        entries.ready()
        said = [socket.recv_fds(systemd, 4096, 10) for _ in range(4)]
        assert [(text, len(fds)) for text, fds, _, _ in said] == [
            (b"FDSTORE=1\nFDNAME=guest.1.a\nFDPOLL=0", 1),
            (b"FDSTORE=1\nFDNAME=guest.1.c", 1),
            (b"FDSTORE=1\nFDNAME=guest.1.document\nFDPOLL=0", 1),
            (b"READY=1", 0),
        ]
        entries.close()
        ends = {systemd.recv(4096) for _ in range(3)}
        assert ends == {
            b"FDSTOREREMOVE=1\nFDNAME=guest.1." + part for part in (b"a", b"c", b"document")
        }


def test_systemd_passes_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = Document()
    document.write(b"a\nhello")
    first = max(file("a"), document.fd) + 10
    os.dup2(file("a"), first, inheritable=True)
    os.dup2(document.fd, first + 1, inheritable=True)
    monkeypatch.setattr("ringpass.keeper.link._FIRST_PASSED", first)
    passed = {
        "NOTIFY_SOCKET": "@ringpass-test",
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": "2",
        "LISTEN_FDNAMES": "guest.4.a:guest.4.document",
    }
    entries = Entries(link(tmp_path, passed))
    assert entries.found("guest") == [b"hello"]
    assert not os.get_inheritable(first)
    for_another = {**passed, "LISTEN_PID": "1"}
    assert Entries(link(tmp_path, for_another)).found("guest") == []
    os.close(first)
    os.close(first + 1)
