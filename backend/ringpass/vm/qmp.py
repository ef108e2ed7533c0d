# SPDX-License-Identifier: BSD-2-Clause
"""A client of QEMU's machine protocol: one command at a time, events kept aside."""

import json
import socket
import time
from pathlib import Path
from typing import Any, Self

from ringpass.errors import RingpassError


class QmpError(RingpassError):
    """QEMU refused a command, or does not answer."""


class Qmp:
    """A connection to the QMP socket of a running QEMU. Use it in a `with` statement.

    `events` collects what QEMU reported on its own: dicts with `event` and `data`.
    """

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        self.path = path
        self.events: list[dict[str, Any]] = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.timeout = timeout
        try:
            self.socket.connect(str(path))
        except OSError as error:
            self.socket.close()
            raise QmpError(f"cannot connect to QEMU at {path}", str(error)) from None
        self.reader = self.socket.makefile("rb")
        self.answer()  # the greeting
        self.execute("qmp_capabilities")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.reader.close()
        self.socket.close()

    def execute(self, command: str, **arguments: object) -> Any:
        """Run a command and return its result. Underscores in argument names become hyphens."""
        words = {name.replace("_", "-"): value for name, value in arguments.items()}
        self.socket.sendall(json.dumps({"execute": command, "arguments": words}).encode())
        while True:
            message = self.answer()
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise QmpError(f"QEMU refused {command}", message["error"]["desc"])
            else:
                return message["return"]

    def wait_event(self, name: str, timeout: float = 10.0) -> dict[str, Any]:
        """Return the first event `name` since the connection was made, waiting for it if needed."""
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event
            left = deadline - time.monotonic()
            message = self.receive(left) if left > 0 else None
            if message is None:
                raise QmpError(f"QEMU did not report {name}", f"no such event in {timeout} s")
            if "event" in message:
                self.events.append(message)

    def answer(self) -> dict[str, Any]:
        """Return the next message, which is due. Raises QmpError if none comes."""
        message = self.receive(self.timeout)
        if message is None:
            raise QmpError(f"QEMU does not answer at {self.path}", "its main loop is busy")
        return message

    def receive(self, timeout: float) -> dict[str, Any] | None:
        """Return the next message, or None if none comes within `timeout` seconds."""
        self.socket.settimeout(timeout)
        try:
            line = self.reader.readline()
        except TimeoutError:
            return None
        if not line:
            raise QmpError(f"QEMU closed the connection at {self.path}", "it has ended")
        message: dict[str, Any] = json.loads(line)
        return message
