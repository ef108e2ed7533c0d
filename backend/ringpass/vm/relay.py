# SPDX-License-Identifier: BSD-2-Clause
"""Keeps a guest that runs in the background, and its console within reach.

    python -I -S relay.py --directory DIR [--death-signal N] [--unprivileged] -- PROGRAM ARG...

The program gets a terminal of its own. What it prints goes to DIR/console.log, cut to its last
megabyte or two, and to whoever is connected to DIR/console.sock; what they send is its input.
Nobody who is slow, or absent, holds the guest up. When the program ends, DIR is removed.

It is a script of its own, importing nothing but the reaper, so that it is small: there is one
for each such guest.
"""

import argparse
import contextlib
import os
import pty
import select
import shutil
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ringpass.vm import reaper, terminal

LOG_LIMIT = 1 << 20
CHUNK = 65536


class Log:
    """Two files that together hold the last of what was written, LOG_LIMIT bytes at least."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.open("wb", buffering=0)

    def write(self, data: bytes) -> None:
        self.file.write(data)
        if self.file.tell() > LOG_LIMIT:
            self.file.close()
            self.path.replace(self.path.with_suffix(".old"))
            self.file = self.path.open("wb", buffering=0)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path, required=True)
    reaper.add_confinement(parser)
    parser.add_argument("argv", nargs="+")
    arguments = parser.parse_args()
    directory: Path = arguments.directory

    reaper.adopt_orphans()
    try:
        listener = listen(directory / "console.sock")
        guest, master = spawn(arguments)
        reaper.write_pid(directory / "pid", guest)
        serve(guest, master, listener, Log(directory / "console.log"))
    finally:
        reaper.kill_descendants()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen()
    return listener


def spawn(arguments: argparse.Namespace) -> tuple[int, int]:
    """Run the program on a terminal of its own; return its pid and our end of the terminal."""
    child, master = pty.fork()
    if child == 0:
        reaper.confine(arguments)
        terminal.pass_newlines()
        try:
            os.execvp(arguments.argv[0], arguments.argv)  # noqa: S606  no shell is meant
        except OSError as error:
            sys.stderr.write(f"cannot start the guest: {error}\n")
            os._exit(127)
    return child, master


def serve(guest: int, master: int, listener: socket.socket, log: Log) -> None:
    """Pass data on until the guest's process has ended and all it printed is in the log."""
    ended = os.pidfd_open(guest)
    os.set_blocking(master, False)
    sources = [master, ended, listener.fileno()]
    clients: dict[int, socket.socket] = {}
    while True:
        readable, _, _ = select.select([*sources, *clients], [], [])
        if master in readable:
            data = read(master)
            pass_output(data, log, clients)
            if not data:
                sources.remove(master)
        elif ended in readable:
            return
        if listener.fileno() in readable:
            client, _ = listener.accept()
            client.setblocking(False)
            clients[client.fileno()] = client
        for number in clients.keys() & set(readable):
            data = receive(clients[number])
            if not data:
                clients.pop(number).close()
            # What the guest is too slow to read is lost, as on any serial line.
            with contextlib.suppress(OSError):
                os.write(master, data)


def pass_output(data: bytes, log: Log, clients: dict[int, socket.socket]) -> None:
    log.write(data)
    for client in clients.values():
        with contextlib.suppress(OSError):
            client.send(data)


def read(master: int) -> bytes:
    try:
        return os.read(master, CHUNK)
    except OSError:  # EIO: the other end is closed
        return b""


def receive(client: socket.socket) -> bytes:
    try:
        return client.recv(CHUNK)
    except OSError:
        return b""


if __name__ == "__main__":
    sys.exit(main())
