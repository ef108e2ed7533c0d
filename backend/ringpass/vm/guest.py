# SPDX-License-Identifier: BSD-2-Clause
"""A running guest that is driven through its console."""

import base64
import itertools
import shlex
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import pexpect

from ringpass.errors import RingpassError
from ringpass.image import Image
from ringpass.vm import registry, standstill, terminal
from ringpass.vm.launch import Launch, qemu_guest, uml_guest
from ringpass.vm.nic import Nic
from ringpass.vm.qmp import Qmp

READY = "ringpass-guest-ready"
"""What the image's init prints when the network is configured, before its shell."""

CONSOLE_TAIL = 100
"""Lines of the console that a failure message carries."""

BOOT_S = 240.0
"""Seconds that a guest has to boot. It needs 5 s of CPU under TCG, and may have to share a core."""

COMMAND_S = 60.0
"""Seconds that a command in a guest has, unless its caller knows better."""

MAX_LINE = 4000
"""Bytes of a line that a terminal in canonical mode takes; the kernel drops what is beyond 4095."""


@dataclass(frozen=True)
class Result:
    """The end of a command in a guest: its exit status, its output (with standard error)."""

    status: int
    output: str


class GuestError(RingpassError):
    """A guest did not do what it should. The message ends with the last lines of its console."""

    def __init__(self, what: str, why: str, fix: str = "", *, console: str = "") -> None:
        super().__init__(what, why, fix)
        self.console = console

    def __str__(self) -> str:
        return f"{super().__str__()}\nconsole:\n{self.console}"


class Transcript:
    """All that a console has printed. pexpect writes here; `str()` has it with plain newlines."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def write(self, text: str) -> None:
        self.pieces.append(text)

    def flush(self) -> None:
        """pexpect calls it after each write; there is nothing to do."""

    def __str__(self) -> str:
        return "".join(self.pieces).replace("\r", "")

    def tail(self, lines: int) -> str:
        return "\n".join(str(self).splitlines()[-lines:])


class Pending:
    """A command that runs in a guest. `wait` returns its result."""

    def __init__(self, guest: "Guest", command: str, serial: int) -> None:
        self.guest = guest
        self.command = command
        self.serial = serial

    def wait(self, timeout: float = COMMAND_S) -> Result:
        """Return the result. Raises GuestError after `timeout` seconds, or if the guest ends."""
        what = f"running {self.command!r}"
        self.guest.expect(f"@@{self.serial}<\n", what, timeout)
        output = self.guest.expect(f"@@{self.serial}>", what, timeout)
        status = self.guest.expect("@@\n", what, timeout)
        return Result(int(status), output)


class Guest:
    """A guest of QEMU or User-mode Linux, in a directory of its own below the runtime directory.

    A context manager: entering starts it and waits for its shell, leaving kills it. It also ends
    when this process does. Every wait has a limit in seconds.
    """

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.name = launch.name
        self.directory = launch.directory
        self.log = Transcript()
        self.console: pexpect.spawn[str] | None = None
        self.serial = itertools.count(1)

    @classmethod
    def qemu(cls, image: Image, nics: Iterable[Nic] = (), **options: Any) -> Self:
        """Return a guest of QEMU, not started. `options` are those of `qemu_guest`."""
        return cls(qemu_guest(image, nics, **options))

    @classmethod
    def uml(cls, image: Image, nics: Iterable[Nic] = (), **options: Any) -> Self:
        """Return a guest of User-mode Linux, not started. `options` are those of `uml_guest`."""
        return cls(uml_guest(image, nics, **options))

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start the guest and return at once."""
        self.launch.prepare()
        program, *arguments = self.launch.command()
        self.console = pexpect.spawn(
            program,
            arguments,
            env=self.launch.environment,
            encoding="utf-8",
            codec_errors="replace",
            echo=False,
            dimensions=(24, 200),
            preexec_fn=terminal.pass_newlines,
            timeout=30,
        )
        self.console.logfile_read = self.log
        self.console.delaybeforesend = None

    def wait_ready(self, timeout: float = BOOT_S) -> None:
        """Wait until init has configured the guest, and take its shell."""
        self.expect(READY, "booting", timeout)
        # Quiet: what comes back from here on is output of commands and nothing else. The quotes
        # make the answer differ from an echo of the question.
        self.send("stty -echo -onlcr; PS1= PS2=; echo @@'ready'@@")
        self.expect("@@ready@@\n", "taking the shell", timeout)

    @property
    def transcript(self) -> str:
        """All that the console has printed so far."""
        return str(self.log)

    @property
    def pid(self) -> int:
        """The process of QEMU or User-mode Linux. Raises GuestError if it does not run."""
        pid = registry.process(self.directory)
        if pid is None:
            raise self.failure("looking for its process", "the guest is not running")
        return pid

    @property
    def running(self) -> bool:
        return self.console is not None and self.console.isalive()

    def begin(self, command: str) -> Pending:
        """Start a shell command and return without waiting; one at a time."""
        serial = next(self.serial)
        quoted = shlex.quote(command)
        # `command` keeps a syntax error in the line from ending the line, so the status follows.
        run = f"command eval {quoted} </dev/null 2>&1"
        line = f"echo '@@{serial}<'; {run}; echo '@@{serial}>'$?@@"
        longest = max(len(part.encode()) for part in line.split("\n"))
        if longest > MAX_LINE:
            raise GuestError(
                f"cannot run a command in guest {self.name}",
                f"it has a line of {longest} bytes; the console takes {MAX_LINE}",
                "write it to a file with write_file and run that",
            )
        self.send(line)
        return Pending(self, command, serial)

    def run(self, command: str, timeout: float = COMMAND_S) -> Result:
        """Run a shell command in the guest's one shell, so `cd` and variables last."""
        return self.begin(command).wait(timeout)

    def check(self, command: str, timeout: float = COMMAND_S) -> str:
        """Run a command and return its output. Raises GuestError unless its status is 0."""
        result = self.run(command, timeout)
        if result.status != 0:
            raise GuestError(
                f"in guest {self.name}: {command}",
                f"it left with status {result.status}: {result.output.strip()}",
                console=self.log.tail(CONSOLE_TAIL),
            )
        return result.output

    def write_file(self, path: str, content: bytes) -> None:
        """Write a small file in the guest, through its console."""
        text = base64.b64encode(content).decode()
        self.check(f": >{shlex.quote(path)}.b64")
        for start in range(0, len(text), 3000):
            self.check(f"echo {text[start : start + 3000]} >>{shlex.quote(path)}.b64")
        self.check(
            f"base64 -d {shlex.quote(path)}.b64 >{shlex.quote(path)} && rm {shlex.quote(path)}.b64"
        )

    def reboot(self, timeout: float = BOOT_S) -> None:
        """Reboot at once, as if by the reset button, and wait for the shell."""
        self.send("reboot -f")
        self.wait_ready(timeout)

    def qmp(self) -> Qmp:
        """Connect to QEMU's machine protocol. Raises QmpError for a guest of another kind."""
        return Qmp(self.directory / registry.QMP)

    def stop(self, timeout: float = 10.0) -> None:
        """Power off from inside; kill what is left after `timeout`. Stopping twice is harmless."""
        if self.running:
            self.send("poweroff -f")
            self.wait_end(timeout)
        self.kill()

    def kill(self) -> None:
        """End the guest and every process it has started, and remove its directory."""
        if self.console is not None:
            if self.console.isalive():
                self.console.kill(signal.SIGTERM)
                self.wait_end(5.0)
            self.console.close(force=True)
            registry.release(self.directory)

    def wait_end(self, timeout: float) -> None:
        """Wait until the guest has ended or `timeout` seconds have passed, reading its console."""
        assert self.console is not None
        self.console.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=timeout)

    def send(self, line: str) -> None:
        if not self.running:
            raise self.failure("sending a command", "the guest is not running")
        assert self.console is not None
        self.console.sendline(line)

    def expect(self, text: str, what: str, timeout: float) -> str:
        """Read the console up to and including `text`; return what came before it."""
        assert self.console is not None
        found = self.console.expect_exact(
            [text, pexpect.EOF, pexpect.TIMEOUT, READY], timeout=timeout
        )
        if found == 1:
            raise self.failure(what, f"the guest ended ({self.ending()})")
        if found == 2:
            raise self.failure(what, f"no end after {timeout:.0f} s. {self.standstill()}")
        if found == 3:
            raise self.failure(what, "the guest rebooted")
        before = self.console.before
        assert isinstance(before, str)
        return before

    def standstill(self) -> str:
        """Say what the guest does instead of answering."""
        pid = registry.process(self.directory)
        if pid is None:
            return "its process has ended"
        monitor = self.directory / registry.QMP if self.launch.record.kind == "qemu" else None
        return standstill.describe(pid, monitor)

    def ending(self) -> str:
        """Say how the process ended, in the words of a shell."""
        assert self.console is not None
        self.console.wait()
        if self.console.signalstatus is not None:
            return f"by signal {self.console.signalstatus}"
        return f"exit code {self.console.exitstatus}"

    def failure(self, what: str, why: str) -> GuestError:
        return GuestError(f"guest {self.name}: {what}", why, console=self.log.tail(CONSOLE_TAIL))
