# SPDX-License-Identifier: BSD-2-Clause
"""What became of the front ends of a port."""

import time
from dataclasses import dataclass


@dataclass
class History:
    """What happened on a port since it was made."""

    sessions: int = 0
    """Front ends that connected, the present ones included."""
    refused: int = 0
    """Front ends that were turned away because two others were there."""
    violations: int = 0
    """Sessions that we closed because of what the front end did."""
    delays: int = 0
    """Requests of guests that had to wait, as they cost too much before,"""
    delayed_s: float = 0.0
    """and for how many seconds altogether."""
    handovers: int = 0
    """How often a standby took the port over while its holder was connected."""
    pause_s: float = 0.0
    """Seconds from the stop of the last ring to the start of the next in the last handover."""
    last_error: str = ""
    last_error_at: float = 0.0
    """Seconds since the epoch."""

    def record(self, error: str) -> None:
        """Remember `error` as the last one."""
        self.last_error, self.last_error_at = error, time.time()
