# SPDX-License-Identifier: BSD-2-Clause
"""The keeper: a small process that holds a daemon's descriptors while the daemon is not there.

    store.py SOCKET LIFE

SOCKET is the descriptor of a datagram socket that is bound already, LIFE that of a stream whose end
says that the daemon is gone. A datagram is what sd_notify(3) sends to systemd, lines of KEY=VALUE
with descriptors beside them:

    FDSTORE=1 FDNAME=name [FDPOLL=0]     hold these; without FDPOLL=0 until they hang up
    FDSTOREREMOVE=1 FDNAME=name          close all of that name
    FDSTOREGIVE=1                        send all to the socket that comes along, by datagrams
                                         LISTEN_FDNAMES=name:name... and their descriptors, the
                                         last one without any; it is LIFE from now on
    STOP=1                               end

The last two are not systemd's. Only the daemon's user and root are heard. When the daemon is gone
and nothing held can hang up any more, nobody can need the rest: the keeper ends.

It starts while somebody waits, so it imports little, and nothing of ringpass.
"""

import array
import contextlib
import os
import resource
import select
import socket
import struct
import sys

MAX_FDS = 8192
MAX_DATAGRAM = 4096
MAX_NAME = 255
#: The kernel's own limit is 253 descriptors a message.
FDS_A_MESSAGE = 240
GIVE_TIMEOUT_S = 5.0
_CREDENTIALS = struct.Struct("=iII")


class Refused(Exception):
    """A datagram is not done, and why."""


class Store:
    """The descriptors that are held, by name."""

    def __init__(self) -> None:
        self.held: dict[str, list[int]] = {}
        self.count = 0

    def add(self, name: str, fds: list[int]) -> None:
        """Hold `fds`, which are the store's then. Raises Refused."""
        if not fds:
            raise Refused("no descriptor came to be held")
        if not 0 < len(name) <= MAX_NAME or not name.isascii() or not name.isprintable():
            raise Refused("a name of up to 255 printable characters is needed")
        if ":" in name:
            raise Refused(f"{name!r} has a colon")
        if self.count + len(fds) > MAX_FDS:
            raise Refused(f"{self.count} descriptors are held, and {MAX_FDS} is the limit")
        self.held.setdefault(name, []).extend(fds)
        self.count += len(fds)

    def remove(self, name: str) -> None:
        """Close all descriptors of a name."""
        fds = self.held.pop(name, [])
        self.count -= len(fds)
        close(fds)

    def remove_fd(self, fd: int) -> None:
        """Close one descriptor, if it is held."""
        for name, fds in list(self.held.items()):
            if fd in fds:
                fds.remove(fd)
                self.count -= 1
                os.close(fd)
                if not fds:
                    del self.held[name]


class Keeper:
    """The process: a store, who may use it, and when it ends."""

    def __init__(self, listening: socket.socket, life: socket.socket) -> None:
        self.store = Store()
        self.stopped = False
        self._listening = listening
        self._life: socket.socket | None = None
        self._watched: set[int] = set()
        self._poll = select.epoll()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._poll.register(listening.fileno(), select.EPOLLIN)
        self._live_by(life)

    def run(self) -> None:
        """Serve until nobody needs it any more."""
        while not self.stopped and (self._life is not None or self._watched):
            for fd, _ in self._poll.poll():
                self._look(fd)

    def _look(self, fd: int) -> None:
        if fd == self._listening.fileno():
            self._receive()
        elif self._life is not None and fd == self._life.fileno():
            self._poll.unregister(fd)
            self._life.close()
            self._life = None
        elif fd in self._watched:
            self._unwatch(fd)
            self.store.remove_fd(fd)

    def _receive(self) -> None:
        room = socket.CMSG_SPACE(4 * 253) + socket.CMSG_SPACE(_CREDENTIALS.size)
        flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        try:
            data, controls, cut, _ = self._listening.recvmsg(MAX_DATAGRAM, room, flags)
        except BlockingIOError:
            return
        fds, uid = attached(controls)
        try:
            if uid not in (0, os.geteuid()):
                raise Refused(f"user {uid} does not own this keeper")
            if cut & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise Refused("a datagram is too long, or too many descriptors came with it")
            self._do(fields(data), fds)
        except Refused as refusal:
            self._say(str(refusal))
        finally:
            close(fds)

    def _do(self, asked: dict[str, str], fds: list[int]) -> None:
        """Do what a datagram asks for, and take those of `fds` out that are not to be closed."""
        if asked.get("FDSTORE") == "1":
            self.store.add(asked.get("FDNAME", "stored"), fds)
            if asked.get("FDPOLL") != "0":
                self._watch(fds)
            fds.clear()
        elif asked.get("FDSTOREREMOVE") == "1":
            name = asked.get("FDNAME", "")
            for fd in self.store.held.get(name, []):
                self._unwatch(fd)
            self.store.remove(name)
        elif asked.get("FDSTOREGIVE") == "1":
            self._give(fds)
        elif asked.get("STOP") == "1":
            self.stopped = True

    def _give(self, fds: list[int]) -> None:
        if len(fds) != 1:
            raise Refused(f"{len(fds)} descriptors came for what is to be given, and one is needed")
        to = socket.socket(fileno=fds.pop())
        self._live_by(to)
        to.settimeout(GIVE_TIMEOUT_S)
        all_ = [(name, fd) for name, held in self.store.held.items() for fd in held]
        try:
            for first in range(0, len(all_), FDS_A_MESSAGE):
                part = all_[first : first + FDS_A_MESSAGE]
                names = ":".join(name for name, _ in part)
                rights = array.array("i", [fd for _, fd in part])
                to.sendmsg(
                    [f"LISTEN_FDNAMES={names}\n".encode()],
                    [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)],
                    socket.MSG_NOSIGNAL,
                )
            to.sendmsg([b"LISTEN_FDNAMES=\n"], [], socket.MSG_NOSIGNAL)
        except OSError as error:
            raise Refused(f"what is held cannot be given: {error}") from error
        finally:
            to.setblocking(False)

    def _say(self, text: str) -> None:
        """Tell the daemon, which logs it, if it is there and listens."""
        if self._life is not None:
            with contextlib.suppress(OSError):
                self._life.send(text.encode(), socket.MSG_NOSIGNAL)

    def _live_by(self, life: socket.socket) -> None:
        if self._life is not None:
            self._poll.unregister(self._life.fileno())
            self._life.close()
        self._life = life
        life.setblocking(False)
        self._poll.register(life.fileno(), select.EPOLLRDHUP)

    def _watch(self, fds: list[int]) -> None:
        for fd in fds:
            try:
                self._poll.register(fd, 0)
            except PermissionError:
                continue  # a file: it never hangs up
            self._watched.add(fd)

    def _unwatch(self, fd: int) -> None:
        if fd in self._watched:
            self._watched.remove(fd)
            self._poll.unregister(fd)


def attached(controls: list[tuple[int, int, bytes]]) -> tuple[list[int], int]:
    """Return the descriptors that came with a datagram, and its sender's user."""
    fds, uid = array.array("i"), -1
    for level, kind, data in controls:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            _, uid, _ = _CREDENTIALS.unpack(data)
    return list(fds), uid


def fields(data: bytes) -> dict[str, str]:
    """Return the lines of a datagram as a table. Raises Refused."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise Refused(f"a datagram is no text: {error}") from error
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def close(fds: list[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        os.close(fd)


def main() -> None:
    """Run the process."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listening, life = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    Keeper(listening, life).run()


if __name__ == "__main__":
    main()
