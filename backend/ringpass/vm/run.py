# SPDX-License-Identifier: BSD-2-Clause
"""Guests for people: in the foreground on their terminal, or in the background."""

import os
import select
import socket
import subprocess
import sys
import time
import tty

from ringpass.errors import RingpassError
from ringpass.vm import registry, terminal
from ringpass.vm.guest import CONSOLE_TAIL, READY, GuestError
from ringpass.vm.launch import Launch

CHUNK = 65536

DETACH = b"\x1d"
"""Ctrl-], which ends a look at a guest's console."""


def foreground(launch: Launch) -> int:
    """Run a guest on this process's standard input and output; return its exit code."""
    launch.prepare()
    try:
        with terminal.restored():
            return subprocess.run(launch.command(), env=launch.environment, check=False).returncode
    finally:
        registry.release(launch.directory)


def detach(launch: Launch, timeout: float) -> registry.Running:
    """Start a guest in the background and wait until it is ready, or can be migrated to.

    Raises GuestError if it ends, or is not ready after `timeout` seconds; then it is stopped.
    """
    launch.prepare()
    incoming = launch.directory / registry.INCOMING
    log = launch.directory / registry.LOG
    log.touch()
    # The log is held open: a guest that ends takes its directory along.
    with log.open("rb") as console:
        relay = subprocess.Popen(
            launch.background_command(),
            env=launch.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + timeout
        text = b""
        while not (incoming.is_socket() if launch.incoming else READY.encode() in text):
            ended = relay.poll() is not None
            text += console.read()
            if ended or time.monotonic() > deadline:
                relay.terminate()
                relay.wait(registry.STOPPING)
                why = "it ended" if ended else f"it is not ready after {timeout:.0f} s"
                lines = text.decode(errors="replace").splitlines()[-CONSOLE_TAIL:]
                raise GuestError(f"cannot start guest {launch.name}", why, console="\n".join(lines))
            time.sleep(0.05)
    return registry.find(launch.name)


def attach(running: registry.Running) -> None:
    """Join standard input and output to the console of a guest in the background, until Ctrl-]."""
    path = running.directory / registry.CONSOLE
    with socket.socket(socket.AF_UNIX) as console, terminal.restored():
        try:
            console.connect(str(path))
        except OSError as error:
            raise RingpassError(
                f"cannot reach the console of guest {running.guest.name}",
                f"{path}: {error.strerror}",
                "only guests started with --detach have a console to come back to",
            ) from None
        if sys.stdin.isatty():
            tty.setraw(sys.stdin)
        join(console)


def join(console: socket.socket) -> None:
    sources = [sys.stdin.fileno(), console.fileno()]
    while True:
        readable, _, _ = select.select(sources, [], [])
        if console.fileno() in readable:
            data = console.recv(CHUNK)
            if not data:
                return
            os.write(sys.stdout.fileno(), data)
        if sys.stdin.fileno() in readable:
            typed, leave, _ = os.read(sys.stdin.fileno(), CHUNK).partition(DETACH)
            console.sendall(typed)
            if leave or not typed:
                return
