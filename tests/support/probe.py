# SPDX-License-Identifier: BSD-2-Clause
"""A daemon that a test looks into: its ports, its counters file, its process."""

import json
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ringpass.observe.counters import FILE_NAME, Counters, RingCounters
from ringpass.observe.status import FdbEntry, PortState, PortStatus
from tests.support.daemon import RINGPASS, Daemon
from tests.support.wait import PATIENCE_S, wait_until


class ProbedDaemon(Daemon):
    """A daemon with the questions that tests ask it. All waits have limits."""

    def stop(self) -> None:
        """End the process as an administrator would."""
        assert self.process is not None
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0, self.log()

    def run(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        """Run a command of `ringpass` for this daemon."""
        return subprocess.run(
            [RINGPASS, "--runtime-dir", self.runtime_dir, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def ask(self, *arguments: str | Path) -> Any:
        """Run a command with --json and return what it prints. Fails if the command does."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def port(self, name: str) -> PortStatus:
        """Return the status of a port."""
        return self.client.ask(PortStatus, "port.show", name=name)

    def fdb(self, switch: str = "vale0") -> dict[str, FdbEntry]:
        """Return the MAC table of a switch, by address."""
        rows = self.client.ask(list[FdbEntry], "switch.fdb", name=switch)
        return {row.mac: row for row in rows}

    def wait_port(self, name: str, *states: PortState, timeout: float = PATIENCE_S) -> PortStatus:
        """Wait until a port is in one of `states`; return its status then."""

        what = f"{name} is {' or '.join(states)}"
        wait_until(lambda: self.port(name).state in states, what, timeout)
        return self.port(name)

    def rings(self, port: str) -> list[RingCounters]:
        """Return the counters of a port's rings, from the file, without asking the daemon."""
        with Counters(self.runtime_dir / FILE_NAME) as counters:
            return [ring for ring in counters.rings() if ring.port == port]

    def descriptors(self) -> int:
        """Return how many descriptors it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def cpu_seconds(self) -> float:
        """Return the time that its threads have run, to the nanosecond."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def configuration(
    ports: Mapping[str, Mapping[str, object]], *, workers: int = 1, ageing: int = 300
) -> str:
    """Return a configuration file: `ports` with their settings, and the switches they need."""
    lines = ["[daemon]", f"workers = {workers}"]
    for switch in sorted({name.partition(":")[0] for name in ports}):
        lines += [f"[switch.{switch}]", f"ageing = {ageing}"]
    for name, settings in ports.items():
        lines.append(f'[port."{name}"]')
        # Numbers, texts and lists of texts are written alike in JSON and TOML.
        lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"
