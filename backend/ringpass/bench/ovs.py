# SPDX-License-Identifier: BSD-2-Clause
"""Open vSwitch with DPDK: a learning switch between vhost-user ports, started in a private place.

Its database, its sockets and its network namespace are its own, so that it touches none that the
machine may have. Its one polling thread never sleeps: outside `awake` the whole process is stopped.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from ringpass.bench.machine import prefer
from ringpass.bench.testpmd import EAL
from ringpass.bench.workplace import PATIENCE_S, NotInstalled, Workplace
from ringpass.errors import RingpassError

PACKAGE = "openvswitch-switch-dpdk"
#: Debian's, whatever `ovs-vswitchd` means here.
VSWITCHD = Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
MEMORY_MB = 512


class Ovs:
    """A bridge with the ports `ports`, whose thread polls on the CPU `cpu`. A context manager.

    `other_cpu` is for all else that it does, which is little.
    """

    def __init__(self, place: Workplace, ports: Sequence[str], *, cpu: int, other_cpu: int) -> None:
        self._place = place
        self._ports = ports
        self._directory = place.directory / "ovs"
        extra = [*EAL, "--single-file-segments", "-m", str(MEMORY_MB), "--file-prefix=ovs"]
        self._config = {
            "dpdk-init": "true",
            "dpdk-extra": " ".join(extra),
            "dpdk-lcore-mask": f"{1 << other_cpu:#x}",
            "pmd-cpu-mask": f"{1 << cpu:#x}",
            "per-port-memory": "true",  # else 800 MB
            "vhost-sock-dir": ".",
        }
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if not VSWITCHD.exists() or not SCHEMA.exists():
            raise NotInstalled("Open vSwitch with DPDK", PACKAGE)
        self._directory.mkdir()
        with ExitStack() as stack:
            stack.enter_context(self._running_database())
            stack.enter_context(self._running_switch())
            self._stack = stack.pop_all()
        self._send(signal.SIGSTOP)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def socket(self, port: str) -> Path:
        """Return the vhost-user socket of a port."""
        return self._directory / port

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run for a while."""
        self._send(signal.SIGCONT)
        try:
            yield
        finally:
            self._send(signal.SIGSTOP)

    def _send(self, number: signal.Signals) -> None:
        os.kill(self._place.pid("ovs-vswitchd"), number)

    @contextmanager
    def _running_database(self) -> Iterator[None]:
        database = str(self._directory / "conf.db")
        self._tool("ovsdb-tool", "create", database, str(SCHEMA))
        with self._running("ovsdb-server", ["ovsdb-server", database, f"--remote=p{self._remote}"]):
            settings = [f"other_config:{key}={value}" for key, value in self._config.items()]
            self._tell("--no-wait", "--retry", "init")
            self._tell("--no-wait", "set", "Open_vSwitch", ".", *settings)
            yield

    @contextmanager
    def _running_switch(self) -> Iterator[None]:
        # A bridge has a network interface of its own name: in a namespace nobody sees it.
        argv = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net", "--"]
        argv += [str(VSWITCHD), self._remote, f"--log-file={self._directory / 'vswitchd.log'}"]
        with self._running("ovs-vswitchd", argv):
            prefer(self._place.pid("ovs-vswitchd"))
            self._tell("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
            for port in self._ports:
                kind = ["set", "Interface", port, "type=dpdkvhostuser"]
                self._tell("add-port", "br0", port, "--", *kind)
                if not self.socket(port).exists():
                    raise RingpassError(
                        f"Open vSwitch does not make the port {port}",
                        (self._directory / "vswitchd.log").read_text(errors="replace")[-2000:],
                    )
            yield

    @contextmanager
    def _running(self, name: str, argv: Sequence[str]) -> Iterator[None]:
        argv = [*argv, f"--unixctl={self._directory / name}.ctl", "--no-chdir"]
        with self._place.running(
            name, [*argv, f"--pidfile={self._directory / name}.pid"], self._env
        ):
            yield

    def _tell(self, *arguments: str) -> None:
        self._tool("ovs-vsctl", f"--db={self._remote}", f"--timeout={PATIENCE_S:.0f}", *arguments)

    def _tool(self, program: str, *arguments: str) -> None:
        path = shutil.which(program)
        if path is None:
            raise NotInstalled(program, PACKAGE)
        done = subprocess.run(
            [path, *arguments],
            env={**os.environ, **self._env},
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
            check=False,
        )
        if done.returncode != 0:
            log = self._directory / "vswitchd.log"
            raise RingpassError(
                f"cannot set Open vSwitch up: {program} {' '.join(arguments)}",
                f"{done.stderr.strip()}\n{log.read_text()[-2000:] if log.exists() else ''}",
            )

    @property
    def _remote(self) -> str:
        return f"unix:{self._directory / 'db.sock'}"

    @property
    def _env(self) -> dict[str, str]:
        names = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR", "RUNTIME_DIRECTORY")
        return dict.fromkeys(names, str(self._directory))
