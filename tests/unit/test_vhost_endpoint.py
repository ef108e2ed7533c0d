# SPDX-License-Identifier: BSD-2-Clause
"""Sockets for front ends: who may open them, what is in their way, and how they are reached."""

import asyncio
import grp
import os
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from ringpass import listener as listener_module
from ringpass.errors import ConfigError, Denied, RingpassError
from ringpass.listener import Listener
from ringpass.sockets import Access, bind, check_path
from ringpass.vhostuser import endpoint
from ringpass.vhostuser.endpoint import Connector
from tests.support.slow import full_closer
from tests.support.vhost import open_fds
from tests.support.wait import PATIENCE_S


@pytest.fixture
def path(runtime_dir: Path) -> Path:
    return runtime_dir / "port.sock"


def test_a_socket_has_its_mode_whatever_the_umask(path: Path) -> None:
    before = os.umask(0o077)
    try:
        with bind(path, Access(0o666)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)


def test_a_socket_has_its_group(path: Path) -> None:
    group = grp.getgrgid(os.getgid())
    with bind(path, Access(0o660, group.gr_name)):
        assert path.stat().st_gid == group.gr_gid


def test_a_group_that_does_not_exist_is_named_and_no_socket_is_left(path: Path) -> None:
    before = open_fds()
    with pytest.raises(ConfigError) as caught:
        bind(path, Access(0o660, "no-such-group"))
    assert "no-such-group" in caught.value.what
    assert not path.exists()
    assert open_fds() <= before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_group_that_is_not_ours_is_denied_with_a_fix(path: Path) -> None:
    path.parent.chmod(0o777)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            bind(path, Access(0o660, "root"))
        except Denied as error:
            os._exit(0 if "usermod" in error.fix else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("length", [108, 300])
def test_a_path_that_is_too_long_says_how_long_it_may_be(length: int) -> None:
    with pytest.raises(ConfigError) as caught:
        check_path(Path("/" + "x" * (length - 1)))
    assert f"{length} bytes" in caught.value.why
    assert "107" in caught.value.why


def test_the_longest_path_is_taken(runtime_dir: Path) -> None:
    path = runtime_dir / ("x" * (107 - len(str(runtime_dir)) - 1))
    with bind(path, Access()):
        assert path.exists()


def test_the_socket_of_a_dead_process_is_replaced(path: Path) -> None:
    bind(path, Access()).close()
    assert path.exists()
    with bind(path, Access()):
        assert path.exists()


def test_the_socket_of_a_live_process_is_left_and_the_process_named(path: Path) -> None:
    with bind(path, Access()) as first:
        first.listen()
        with pytest.raises(RingpassError) as caught:
            bind(path, Access())
        assert f"process {os.getpid()} listens" in caught.value.why
        assert path.exists()


def test_the_socket_of_a_process_that_does_not_answer_is_left(path: Path) -> None:
    with bind(path, Access()) as first:
        first.listen(0)
        waiting = []
        for _ in range(3):
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(str(path))
        with pytest.raises(RingpassError, match="does not answer"):
            bind(path, Access())
        for connecting in waiting:
            connecting.close()


def test_a_file_that_is_no_socket_is_left(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(ConfigError, match="not a socket"):
        bind(path, Access())
    assert path.read_text() == "precious"


def test_a_directory_that_does_not_exist_is_named(runtime_dir: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        bind(runtime_dir / "no" / "x.sock", Access())
    assert str(runtime_dir / "no") in caught.value.fix


def test_a_listener_accepts_pauses_and_cleans_up(path: Path) -> None:
    async def scenario() -> None:
        accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
        listener = Listener(path, Access(), accepted.put_nowait)
        listener.open()
        with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
            one.connect(str(path))
            (await asyncio.wait_for(accepted.get(), PATIENCE_S)).close()
            paused = time.monotonic()
            listener.resume(0.1)
            two.connect(str(path))
            (await asyncio.wait_for(accepted.get(), PATIENCE_S)).close()
            assert time.monotonic() - paused >= 0.1, "nobody is let in during the pause"
        listener.resume(10)
        listener.close()
        listener.close()
        assert not path.exists()

    before = open_fds()
    asyncio.run(scenario())
    assert open_fds() <= before


def test_nobody_comes_in_while_too_much_waits_to_be_closed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "RETRY_S", 0.01)
    go_on = threading.Event()

    async def scenario() -> None:
        accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
        listener = Listener(path, Access(), accepted.put_nowait)
        listener.closer = full_closer(go_on)
        listener.open()
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(path))
            await asyncio.sleep(0.05)
            assert accepted.empty()
            go_on.set()
            (await asyncio.wait_for(accepted.get(), PATIENCE_S)).close()
        listener.close()

    asyncio.run(scenario())


def test_a_connector_tries_until_somebody_listens_and_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "RETRY_S", 0.02)

    async def scenario() -> None:
        connected: asyncio.Queue[socket.socket] = asyncio.Queue()
        connector = Connector(path, connected.put_nowait)
        connector.open()
        await asyncio.sleep(0.05)
        assert connected.empty()
        for _ in range(2):
            with bind(path, Access()) as listening:
                listening.listen()
                (await asyncio.wait_for(connected.get(), PATIENCE_S)).close()
            connector.resume(0)
            await asyncio.sleep(0.05)
        connector.close()
        with bind(path, Access()) as listening:
            listening.listen()
            await asyncio.sleep(0.05)
            assert connected.empty()

    before = open_fds()
    asyncio.run(scenario())
    assert open_fds() <= before
