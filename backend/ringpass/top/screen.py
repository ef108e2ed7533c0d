# SPDX-License-Identifier: BSD-2-Clause
"""The full-screen display: drawn anew with each look, each key and each change of size."""

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ringpass.observe.rates import Rates
from ringpass.observe.watch import History, Watch
from ringpass.top import tables
from ringpass.top.tables import View

_VIEW_KEYS: dict[str, View] = {"r": "rings", "d": "drops", "w": "workers"}
_HELP = "r rings  d drops  w workers  p pause  [ ] back, forth  q quit"
_STYLES = {"running": "green", "stopped": "bold red", "silent": "bold red", "gone": "bold red"}


class Display:
    """What is on the screen: a view of one moment of a history."""

    def __init__(self, history: History, interval: float, view: View = "ports") -> None:
        self.history = history
        self.interval = interval
        self.view = view
        self.over = False

    def press(self, key: str) -> None:
        """Do what a key asks for. A view's key, pressed again, goes back to the ports."""
        if key in _VIEW_KEYS:
            view = _VIEW_KEYS[key]
            self.view = "ports" if self.view == view else view
        elif key == "p":
            self.history.hold()
        elif key in "[]":
            self.history.move(-1 if key == "[" else 1)
        elif key in "q\x04":
            self.over = True

    def render(self, width: int, height: int) -> RenderableType:
        """Return what fills a screen of this size."""
        shown = self.history.shown()
        head = [self._title(shown)]
        if shown.why:
            head.append(Text(f"! {shown.why}", style="bold red"))
        lines = sum(len(line) // max(width, 1) + 1 for line in head) + 2
        content = tables.rows(shown, self.view)
        table = tables.draw(content, width, max(height - lines, 2))
        return Group(*head, Text(), table, Text(_HELP, style="dim", no_wrap=True))

    def _title(self, shown: Rates) -> Text:
        clock = time.strftime("%H:%M:%S", time.localtime(shown.at))
        title = Text(f"ringpass {self.view}  ")
        title.append(f"process {shown.pid} " if shown.pid else "")
        title.append(shown.state, style=_STYLES.get(shown.state, "yellow"))
        title.append(f"  {clock}  ")
        if self.history.held:
            title.append(f"paused, {self.history.age():.0f} s ago", style="bold yellow")
        else:
            title.append(f"every {self.interval:g} s")
        return title


def run(watch: Watch, console: Console, interval: float, count: int | None, view: View) -> None:
    """Show what `watch` sees, every `interval` seconds and `count` times or until `q`.

    Standard input and the console are a terminal. Raises RingpassError if the counters of a daemon
    cannot be read.
    """
    display = Display(History(), interval, view)
    display.history.add(watch.look())
    with _keys() as wait, Live(console=console, screen=True, auto_refresh=False) as live:
        due = time.monotonic() + interval
        while not display.over and count != 0:
            live.update(display.render(*console.size), refresh=True)
            for key in wait(due - time.monotonic()):
                display.press(key)
            if time.monotonic() >= due:
                display.history.add(watch.look())
                due = max(due + interval, time.monotonic())
                count = None if count is None else count - 1


@contextlib.contextmanager
def _keys() -> Iterator["_Wait"]:
    """Take keys one by one, as they are pressed; and wake up when its size changes."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    handler = signal.signal(signal.SIGWINCH, lambda *_: None)
    wakeup = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        tty.setcbreak(fd)
        yield _Wait(fd, woken)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGWINCH, handler)
        os.close(woken)
        os.close(wake)


class _Wait:
    """Waits for keys, for a signal, or for some seconds; returns the keys."""

    def __init__(self, keyboard: int, woken: int) -> None:
        self._keyboard = keyboard
        self._woken = woken

    def __call__(self, seconds: float) -> str:
        ready, _, _ = select.select([self._keyboard, self._woken], [], [], max(seconds, 0))
        if self._woken in ready:
            os.read(self._woken, 4096)
        if self._keyboard not in ready:
            return ""
        # The terminal's end is what ^D asks for.
        return os.read(self._keyboard, 64).decode(errors="replace") or "q"
