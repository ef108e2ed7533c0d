# SPDX-License-Identifier: BSD-2-Clause
"""A daemon in a process of its own, as users run it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ringpass.client import Client
from ringpass.errors import DaemonUnreachable
from tests.support.wait import PATIENCE_S

RINGPASS = Path(sys.executable).with_name("ringpass")


class Daemon:
    """`ringpass up` in `runtime_dir`, with the configuration `text`. A context manager."""

    def __init__(self, runtime_dir: Path, text: str) -> None:
        self.runtime_dir = runtime_dir
        self.config = runtime_dir / "test.toml"
        self.log_path = runtime_dir / "log"
        self.config.write_text(text)
        self.client = Client(runtime_dir / "control.sock", timeout=PATIENCE_S)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        if error is not None:
            sys.stderr.write(self.log())

    def start(self, timeout: float = PATIENCE_S) -> None:
        """Start the process; return when it answers."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                # It must not outlive its test, however that ends.
                ["setpriv", "--pdeathsig", "KILL", RINGPASS, "up", self.config],
                env={**os.environ, "RINGPASS_RUNTIME_DIR": str(self.runtime_dir)},
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.client.call("ping")
                return
            except DaemonUnreachable:
                assert self.process.poll() is None, f"the daemon ended:\n{self.log()}"
                assert time.monotonic() < deadline, f"the daemon does not answer:\n{self.log()}"
                time.sleep(0.02)

    def kill(self) -> None:
        """End the process as a crash would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        self.client.close()

    def call(self, method: str, **params: Any) -> Any:
        """Return the result of a method."""
        return self.client.call(method, **params)

    def socket(self, port: str) -> Path:
        """Return the socket of a port."""
        return self.runtime_dir / f"{port.replace(':', '.')}.sock"

    def log(self) -> str:
        """Return what the daemon logged."""
        return self.log_path.read_text()


def keepers_of(daemon: Daemon) -> list[int]:
    """Return the keepers that were started for a daemon."""
    lines = [line for line in daemon.log().splitlines() if "event=keeper-started" in line]
    return [int(line.rpartition("pid=")[2]) for line in lines]
