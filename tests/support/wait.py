# SPDX-License-Identifier: BSD-2-Clause
"""Waiting with a limit, for what nobody announces."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 60.0
"""Seconds that another process or thread has for what it does at once, usually.

Machines that build and test are slow, and shared: what takes longer than this is never done.
"""


def wait_until(condition: Callable[[], T | None], what: str, timeout: float = PATIENCE_S) -> T:
    """Return the first true value of `condition`; fail after `timeout` seconds, saying `what`."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what} (last: {value!r})")
        time.sleep(0.02)
    return value
