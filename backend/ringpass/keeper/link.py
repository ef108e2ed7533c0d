# SPDX-License-Identifier: BSD-2-Clause
"""How the daemon speaks to who holds its descriptors: a keeper of its own, or systemd.

Both take datagrams as sd_notify(3) has them. systemd hands everything to the next daemon when it
starts it; a keeper is asked.
"""

import array
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from ringpass.keeper import store
from ringpass.sockets import Access, bind

log = logging.getLogger(__name__)

FILE_NAME = "keeper.sock"
TIMEOUT_S = 2.0
#: The first descriptor that systemd passes, SD_LISTEN_FDS_START.
_FIRST_PASSED = 3


class Held(NamedTuple):
    """A descriptor that was held, and is the receiver's."""

    name: str
    fd: int


class Link(Protocol):
    """Who holds descriptors."""

    def take(self) -> list[Held]:
        """Return duplicates of all that is held. Raises OSError."""

    def send(self, text: str, fds: Sequence[int] = ()) -> None:
        """Send a datagram. Raises OSError, RingpassError."""

    def ready(self) -> None:
        """Tell that the daemon serves."""

    def end(self) -> None:
        """Let go of everything. Never fails."""


class Nobody:
    """Nobody holds anything."""

    def take(self) -> list[Held]:
        """Return nothing."""
        return []

    def send(self, text: str, fds: Sequence[int] = ()) -> None:
        """Do nothing."""

    def ready(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class Systemd:
    """systemd, for a service with FileDescriptorStoreMax=, NotifyAccess=main and Restart=."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._environment = environment
        address = environment["NOTIFY_SOCKET"]
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(TIMEOUT_S)
        self._names: set[str] = set()

    def take(self) -> list[Held]:
        """Return what systemd passed to this process."""
        if self._environment.get("LISTEN_PID") != str(os.getpid()):
            return []
        names = self._environment.get("LISTEN_FDNAMES", "").split(":")
        held = []
        for at in range(int(self._environment.get("LISTEN_FDS", "0"))):
            fd = _FIRST_PASSED + at
            os.set_inheritable(fd, False)
            held.append(Held(names[at] if at < len(names) else "", fd))
        self._names.update(name for name, _ in held)
        return held

    def send(self, text: str, fds: Sequence[int] = ()) -> None:
        """Send a datagram."""
        _send(self._socket, text, fds, self._address)
        name = text.rpartition("FDNAME=")[2].partition("\n")[0]
        if text.startswith("FDSTORE=1"):
            self._names.add(name)
        elif text.startswith("FDSTOREREMOVE=1"):
            self._names.discard(name)

    def ready(self) -> None:
        """Tell systemd that the service has started."""
        self.send("READY=1")

    def end(self) -> None:
        """Let systemd close all that it holds."""
        for name in list(self._names):
            with contextlib.suppress(OSError):
                self.send(f"FDSTOREREMOVE=1\nFDNAME={name}")
        self._socket.close()


class OwnKeeper:
    """A keeper beside the daemon of `runtime_dir`. It starts when there is something to hold."""

    def __init__(self, runtime_dir: Path) -> None:
        self._path = runtime_dir / FILE_NAME
        self._socket: socket.socket | None = None
        self._life: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def take(self) -> list[Held]:
        """Return what the keeper of an earlier daemon holds, which becomes ours."""
        try:
            found = _connect(self._path)
        except (FileNotFoundError, ConnectionRefusedError):
            return []
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(TIMEOUT_S)
        with its:
            _send(found, "FDSTOREGIVE=1", [its.fileno()])
        held: list[Held] = []
        while part := _receive(ours):
            held += part
        ours.setblocking(False)
        self._socket, self._life = found, ours
        return held

    def send(self, text: str, fds: Sequence[int] = ()) -> None:
        """Send a datagram, to a new keeper if there is none."""
        if self._socket is None:
            self._start()
        assert self._socket is not None
        try:
            _send(self._socket, text, fds)
        except OSError:
            self._forget()
            raise
        self._log_refusals()

    def ready(self) -> None:
        """Do nothing: nobody waits."""

    def end(self) -> None:
        """End the keeper."""
        if self._socket is None:
            return
        with contextlib.suppress(OSError):
            _send(self._socket, "STOP=1", [])
        if self._process is not None:
            try:
                self._process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._forget()
        self._path.unlink(missing_ok=True)

    def _start(self) -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with bind(self._path, Access(0o600), socket.SOCK_DGRAM) as listening, its:
            # It says who sent what, also what is sent before the keeper looks.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            fds = listening.fileno(), its.fileno()
            # Not ringpass itself: what this process imports its start waits for.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", store.__file__, *map(str, fds)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                pass_fds=fds,
                start_new_session=True,
            )
            self._socket, self._life = _connect(self._path), ours
        log.info("event=keeper-started pid=%d", self._process.pid)

    def _log_refusals(self) -> None:
        assert self._life is not None
        with contextlib.suppress(OSError):
            while said := self._life.recv(4096):
                log.warning("event=keeper-refused why=%r", said.decode(errors="replace"))

    def _forget(self) -> None:
        for each in (self._socket, self._life):
            if each is not None:
                each.close()
        self._socket = self._life = None


def link(runtime_dir: Path, environment: MutableMapping[str, str] | None = None) -> Link:
    """Return who holds descriptors for the daemon of `runtime_dir`: systemd, where it does."""
    found = os.environ if environment is None else environment
    return Systemd(found) if found.get("NOTIFY_SOCKET") else OwnKeeper(runtime_dir)


def _connect(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.settimeout(TIMEOUT_S)
    try:
        found.connect(os.fspath(path))
    except OSError:
        found.close()
        raise
    return found


def _send(to: socket.socket, text: str, fds: Sequence[int], address: str | None = None) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    to.sendmsg([text.encode()], rights, socket.MSG_NOSIGNAL, address)


def _receive(connected: socket.socket) -> list[Held]:
    """Return what one datagram of a keeper gives; nothing: that was all."""
    data, fds, _, _ = socket.recv_fds(
        connected, 1 << 16, store.FDS_A_MESSAGE, socket.MSG_CMSG_CLOEXEC
    )
    names = data.decode().strip().removeprefix("LISTEN_FDNAMES=").split(":") if fds else []
    return [Held(name, fd) for name, fd in zip(names, fds, strict=True)]
