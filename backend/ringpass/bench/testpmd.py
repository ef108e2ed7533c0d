# SPDX-License-Identifier: BSD-2-Clause
"""DPDK's testpmd, in which frames go in circles.

Its ports forward in pairs, what one receives the other sends, without looking at it. Each port
begins with some bursts; from then on the same frames go round and round through whatever connects
the ports, and none is made or dropped. All of its threads share one core.
"""

import re
import shutil
import time
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Self

import pexpect

from ringpass.bench.machine import prefer
from ringpass.bench.workplace import PATIENCE_S, NotInstalled, Workplace
from ringpass.errors import RingpassError

PROGRAM, PACKAGE = "dpdk-testpmd", "dpdk-dev"
PROMPT = "testpmd> "
#: Frames that testpmd moves at a time.
BURST = 32
#: Bursts that each port begins with: half of a virtqueue.
BURSTS = 4
#: Until frames go round as they will for good: before that, switches learn and flows are made.
WARM_UP_S = 0.1
#: Without huge pages, PCI devices and files in other places than ours.
EAL = ("--no-huge", "--legacy-mem", "--no-pci", "--no-shconf", "--no-telemetry")


class Testpmd:
    """A testpmd on the CPU `cpu`. Use it as a context manager.

    `devices` are there from the beginning, `later` are attached to a testpmd that runs: they find
    what the first ones offer. Ports are numbered in this order, and forward in pairs.
    """

    __test__ = False  # for pytest: this is no test

    def __init__(
        self,
        place: Workplace,
        name: str,
        *,
        cpu: int,
        devices: Sequence[str],
        later: Sequence[str] = (),
        arguments: Sequence[str] = (),
    ) -> None:
        self._place = place
        self._name = name
        self._later = later
        self._count = len(devices) + len(later)
        eal = [*EAL, "--single-file-segments", "-m", "256", f"--lcores=0@{cpu},1@{cpu}"]
        eal += [f"--file-prefix={name}", "--log-level=lib.vhost.config:error"]
        own = ["-i", "--forward-mode=io", "--port-topology=paired", "--nb-cores=1"]
        own += [f"--burst={BURST}", "--total-num-mbufs=8192", *arguments]
        self._argv = [PROGRAM, *eal, *(f"--vdev={device}" for device in devices), "--", *own]

    def __enter__(self) -> Self:
        if shutil.which(PROGRAM) is None:
            raise NotInstalled(PROGRAM, PACKAGE)
        command, *arguments = self._place.reaped(self._name, self._argv)
        self._process: pexpect.spawn[str] = pexpect.spawn(
            command,
            arguments,
            env={"RUNTIME_DIRECTORY": str(self._place.directory)},
            encoding="utf-8",
            codec_errors="replace",
            timeout=PATIENCE_S,
            echo=False,
        )
        try:
            self._expect(PROMPT)
            prefer(self._place.pid(self._name))
            for number, device in enumerate(self._later):
                total = self._count - len(self._later) + number + 1
                self._ask(f"port attach {device}", f"total ports is {total}")
            if self._later:
                self._ask("port start all", "Checking link statuses")
                self._ask(f"set portlist {','.join(map(str, range(self._count)))}", PROMPT)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it. A second close does nothing."""
        self._process.close(force=True)

    def forward(self, size: int, seconds: float, ports: Collection[int]) -> float:
        """Let frames of `size` bytes go round; return how many `ports` received in a second.

        Raises RingpassError if they received none.
        """
        self._ask(f"set txpkts {size}", PROMPT)
        self._ask(f"start tx_first {BURSTS}", "packet forwarding packets/burst")
        time.sleep(WARM_UP_S)
        self._rates()
        time.sleep(seconds)
        rates = self._rates()
        self._ask("stop", r"Done\.")
        received = sum(rates[port] for port in ports)
        if not received:
            raise RingpassError(
                f"no frames of {size} bytes go round in {self._name}", f"rates of ports: {rates}"
            )
        return received

    def _rates(self) -> list[int]:
        """Return the frames a second that each port received since it was asked last."""
        said = self._ask("show port stats all", rf"for port {self._count - 1} .*?Tx-pps: +\d+")
        return [int(rate) for rate in re.findall(r"Rx-pps: +(\d+)", said)]

    def _ask(self, command: str, answer: str) -> str:
        """Give a command; return what is said until `answer`, a pattern, has come."""
        self._process.sendline(command)
        return self._expect(answer)

    def _expect(self, answer: str) -> str:
        found = self._process.expect([answer, pexpect.EOF, pexpect.TIMEOUT])
        before = self._process.before if isinstance(self._process.before, str) else ""
        if found:
            raise RingpassError(
                f"{PROGRAM} does not say {answer!r}",
                f"it {'has ended' if found == 1 else 'waits'}; its last words:\n{before[-2000:]}",
                f"the command was: {' '.join(self._argv)}",
            )
        after = self._process.after
        return before + (after if isinstance(after, str) else "")


def virtio_user(number: int, path: object, *, packed: bool, in_order: bool, mac: str = "") -> str:
    """Return the virtio-user device that connects to the socket `path`."""
    options = f"queues=1,queue_size=256,packed_vq={packed:d},in_order={in_order:d}"
    return f"net_virtio_user{number},path={path},{options}" + (f",mac={mac}" if mac else "")
