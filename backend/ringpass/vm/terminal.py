# SPDX-License-Identifier: BSD-2-Clause
"""Settings of the terminals that guests print on. Imports nothing but the standard library."""

import contextlib
import sys
import termios
from collections.abc import Iterator


def pass_newlines() -> None:
    """Keep this process's terminal from adding carriage returns to what a guest prints."""
    attributes = termios.tcgetattr(1)
    attributes[1] &= ~termios.ONLCR
    termios.tcsetattr(1, termios.TCSANOW, attributes)


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Give the user's terminal back as it was: a guest that is killed does not."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
