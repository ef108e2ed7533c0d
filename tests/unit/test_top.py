# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass top` reads real counters: of data planes, stopped daemons, ones that come and go."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from rich.console import Console

from ringpass.dataplane import DataPlane, FrontEndKind, Kind, PortSpec
from ringpass.errors import ExitCode
from ringpass.observe.counters import FILE_NAME
from ringpass.observe.rates import rates
from ringpass.observe.watch import History, Watch
from ringpass.top import tables
from ringpass.top.screen import Display
from tests.support.daemon import RINGPASS
from tests.support.probe import ProbedDaemon
from tests.support.rings import RingUser
from tests.support.wait import PATIENCE_S

FRAME = bytes(60)


class Sender:
    """A data plane in this process, with a null port, `sink`, that takes what is sent."""

    def __init__(self, runtime_dir: Path) -> None:
        path = runtime_dir / FILE_NAME
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self.dataplane = DataPlane(fd)
        os.close(fd)
        self._caller = self.dataplane.caller()
        self._cleanup = contextlib.ExitStack()
        self._cleanup.enter_context(self.dataplane)
        self._cleanup.enter_context(self._caller)
        spec = PortSpec("sink", kind=Kind.NULL, front_end=FrontEndKind.RINGS)
        self._port = self.dataplane.add_port(spec)
        self._user = RingUser(self.dataplane, self._caller, self._port)

    def send(self, frames: int) -> None:
        for _ in range(frames):
            self._user.put([FRAME])
            self._user.send()

    def break_port(self) -> None:
        self._user.tx.head = self._user.tx.num_slots
        with contextlib.suppress(Exception):
            self._user.send()

    def close(self) -> None:
        self._cleanup.close()


@pytest.fixture
def sender(runtime_dir: Path) -> Iterator[Sender]:
    with contextlib.closing(Sender(runtime_dir)) as sender:
        yield sender


@pytest.fixture
def watch(runtime_dir: Path) -> Iterator[Watch]:
    with Watch(runtime_dir / FILE_NAME) as watch:
        yield watch


def text(display: Display, width: int = 110, height: int = 20) -> str:
    console = Console(width=width, height=height, no_color=True)
    with console.capture() as capture:
        console.print(display.render(width, height))
    return capture.get()


def test_looks_tell_what_was_sent_meanwhile(sender: Sender, watch: Watch) -> None:
    before = watch.look()
    sender.send(7)
    after = watch.look()
    assert after.health.state == "running"
    shown = rates(before, after)
    assert shown.pid == os.getpid()
    (port,) = shown.ports
    assert (port.port, port.tx_totals.frames, port.tx_totals.bytes) == ("sink", 7, 420)
    assert port.tx is not None
    assert shown.interval_s is not None
    assert port.tx.frames * shown.interval_s == pytest.approx(7)
    assert port.tx.drops.keys() == {"discard"}


def test_a_daemon_that_comes_anew_is_followed(runtime_dir: Path, watch: Watch) -> None:
    assert watch.look().health.state == "absent"
    for _ in range(2):
        with contextlib.closing(Sender(runtime_dir)):
            assert [ring.port for ring in watch.look().rings] == ["sink", "sink"]
    (runtime_dir / FILE_NAME).unlink()
    assert watch.look().health.state == "absent"
    assert rates(None, watch.look()).ports == []


def test_the_display_has_a_view_for_each_key(sender: Sender, watch: Watch) -> None:
    display = Display(History(), 1)
    display.history.add(watch.look())
    sender.send(3)
    display.history.add(watch.look())
    assert "ringpass ports" in text(display)
    assert "discard" in text(display)
    for key, column in (("r", "tx0"), ("d", "SINCE IT WAS MADE"), ("w", "PINNED TO")):
        assert column not in text(display)
        display.press(key)
        assert column in text(display)
    display.press("w")
    assert "ringpass ports" in text(display)


def test_a_broken_port_is_shown_with_its_reason(sender: Sender, watch: Watch) -> None:
    display = Display(History(), 1)
    display.history.add(watch.look())
    display.history.add(watch.look())
    sender.break_port()
    display.history.add(watch.look())
    assert "broken: " in text(display)
    display.press("[")
    assert "paused" in text(display)
    assert "broken: " not in text(display)
    display.press("]")
    assert "broken: " in text(display)


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("height", [1, 5, 24])
def test_it_fits_a_terminal_of_any_size(
    sender: Sender, watch: Watch, width: int, height: int
) -> None:
    sender.break_port()
    display = Display(History(), 1)
    display.history.add(watch.look())
    lines = text(display, width, height).splitlines()
    assert all(len(line) <= width for line in lines)


def test_rows_that_do_not_fit_are_counted(sender: Sender, watch: Watch) -> None:
    for number in range(30):
        sender.dataplane.add_port(PortSpec(f"port{number}", kind=Kind.NULL))
    display = Display(History(), 1)
    display.history.add(watch.look())
    shown = text(display, 100, 20).splitlines()
    assert len(shown) <= 20
    assert any(line.startswith("and 16 more") for line in shown)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"), (0.0, "0"), (0.25, "0.25"), (7.0, "7"), (999.4, "999"), (999.6, "1.00k"),
        (14_880_952.0, "14.9M"), (1.2e9, "1.20G"), (5e15, "5000T"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value: float | None, shown: str) -> None:
    assert tables.scaled(value) == shown


CONFIG = """
[switch.vale0]
[port."vale0:vm1"]
"""


@pytest.fixture
def daemon(runtime_dir: Path) -> Iterator[ProbedDaemon]:
    with ProbedDaemon(runtime_dir, CONFIG) as daemon:
        yield daemon
        if daemon.process and daemon.process.poll() is None:
            daemon.process.send_signal(signal.SIGCONT)


def test_a_daemon_that_stands_still_is_seen_all_the_same(daemon: ProbedDaemon) -> None:
    shown = daemon.ask("top", "--once", "--interval", "0.05")
    assert (shown["state"], shown["why"], shown["pid"]) == ("running", "", daemon.pid)
    assert [port["port"] for port in shown["ports"]] == ["vale0:vm1"]
    assert [worker["doing"] for worker in shown["workers"]] == ["sleeps"]
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGSTOP)
    shown = daemon.ask("top", "--once", "--interval", "0.05")
    assert shown["state"] == "stopped"
    assert f"kill -CONT {daemon.pid}" in shown["why"]
    assert [port["port"] for port in shown["ports"]] == ["vale0:vm1"]
    assert [worker["doing"] for worker in shown["workers"]] == ["stopped"]


def test_a_daemon_that_was_killed_left_its_counters(daemon: ProbedDaemon) -> None:
    daemon.kill()
    shown = daemon.ask("top", "--once", "--interval", "0.01")
    assert shown["state"] == "gone"
    assert [port["port"] for port in shown["ports"]] == ["vale0:vm1"]
    daemon.start()
    assert daemon.ask("top", "--once", "--interval", "0.01")["state"] == "running"
    daemon.stop()
    done = daemon.run("top", "--once")
    assert done.returncode == ExitCode.UNREACHABLE
    assert "no daemon runs there" in done.stderr


@pytest.mark.usefixtures("sender")
def test_without_a_terminal_there_are_lines(runtime_dir: Path) -> None:
    probe = ProbedDaemon(runtime_dir, "")
    options = ("top", "-n", "2", "--interval", "0.01")
    done = probe.run(*options)
    assert done.returncode == 0, done.stderr
    first_words = [line.split()[0] for line in done.stdout.splitlines() if line]
    assert [word for word in first_words if word in ("PORT", "sink")] == 2 * ["PORT", "sink"]
    assert len(first_words) == 6
    assert "\x1b" not in done.stdout
    lines = [json.loads(line) for line in probe.run(*options, "--json").stdout.splitlines()]
    assert [line["ports"][0]["port"] for line in lines] == ["sink", "sink"]


@pytest.fixture
def terminal(sender: Sender) -> Iterator["pexpect.spawn[str]"]:
    """Return `ringpass top`, at a terminal of its own."""
    assert sender
    sized = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    top = pexpect.spawn(
        str(RINGPASS),
        ["top", "--interval", "0.1"],
        env={**sized, "TERM": "xterm", "NO_COLOR": "1"},
        dimensions=(24, 120),
        encoding="utf-8",
        timeout=PATIENCE_S,
    )
    yield top
    top.close(force=True)


def test_a_session_at_a_terminal(
    sender: Sender, runtime_dir: Path, terminal: "pexpect.spawn[str]"
) -> None:
    top = terminal
    top.expect("ringpass ports")
    top.expect("every 0.1 s")
    sender.send(5)
    top.expect(r"discard \S+/s")
    top.expect("discard 5 before")
    top.send("r")
    top.expect("ringpass rings")
    top.send("p")
    top.expect("paused, ")
    top.send("[[[")
    top.expect("paused, ")
    top.send("p")
    top.expect("every 0.1 s")
    top.setwinsize(10, 60)
    top.expect("ringpass rings")
    sender.close()
    (runtime_dir / FILE_NAME).unlink()
    top.expect("absent")
    top.expect("no daemon runs there")
    anew = Sender(runtime_dir)
    top.expect("running")
    top.send("q")
    top.expect(pexpect.EOF)
    top.close()
    assert top.exitstatus == 0
    anew.close()


def test_ctrl_c_gives_the_terminal_back(terminal: "pexpect.spawn[str]") -> None:
    top = terminal
    top.expect("every 0.1 s")
    top.sendintr()
    top.expect(pexpect.EOF)
    assert "\x1b[?1049l" in (top.before or "")
    top.close()
    assert top.exitstatus == 130
