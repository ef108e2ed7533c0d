# SPDX-License-Identifier: BSD-2-Clause
"""DPDK's virtio-user, a front end that is none of ours, driven by its testpmd."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.wait import PATIENCE_S

PROGRAM = "dpdk-testpmd"


class Testpmd:
    """A testpmd with one virtio-user port that forwards in `mode`. A context manager.

    `options` are more options of the virtio-user device, `arguments` more of testpmd itself.
    """

    __test__ = False

    def __init__(
        self,
        path: Path,
        mac: str,
        *,
        mode: str = "macswap",
        queues: int = 1,
        options: str = "",
        arguments: tuple[str, ...] = (),
    ) -> None:
        device = f"net_virtio_user0,path={path},mac={mac},queues={queues},queue_size=256"
        device += f",{options}" if options else ""
        eal = ["--no-huge", "--no-pci", "--no-shconf", "--single-file-segments", "-m", "128"]
        eal += ["-l", "0,1", f"--file-prefix=rp{os.getpid()}.{id(self)}", f"--vdev={device}"]
        # It says which of its paths it takes, and may take the widest.
        eal += ["--log-level=pmd.net.virtio.init:info", "--force-max-simd-bitwidth=512"]
        own = [f"--forward-mode={mode}", f"--rxq={queues}", f"--txq={queues}", "--nb-cores=1"]
        own += ["--total-num-mbufs=4096", "--stats-period=1", *arguments]
        self.argv = [PROGRAM, *eal, "--", *own]
        self.output = tempfile.TemporaryFile()  # noqa: SIM115  closed by __exit__
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self.argv, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        if error is not None:
            sys.stderr.write(f"{' '.join(self.argv)}\n{self.text()[-4000:]}\n")
        self.output.close()

    def wait_started(self, timeout: float = PATIENCE_S) -> None:
        """Wait until it forwards. Raises AssertionError if it ends or takes too long."""
        assert self.process is not None
        deadline = time.monotonic() + timeout
        while "Port statistics" not in self.text():
            assert self.process.poll() is None, f"testpmd ended:\n{self.text()}"
            assert time.monotonic() < deadline, f"testpmd does not start:\n{self.text()}"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def received(self) -> int:
        """Return how many frames it had received when it printed last."""
        counts = re.findall(r"RX-packets: (\d+)", self.text())
        return int(counts[-1]) if counts else 0

    def text(self) -> str:
        """Return what it printed."""
        return os.pread(self.output.fileno(), 1 << 20, 0).decode(errors="replace")
