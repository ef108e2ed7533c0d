# SPDX-License-Identifier: BSD-2-Clause
"""Frames between ports and capture files: `record` what passes a port, `replay` a file on one."""

from ringpass.capture.pcapng import Writer
from ringpass.capture.reading import Packet, read_packets
from ringpass.capture.recording import Limits, Summary, record
from ringpass.capture.replaying import Pace, Replayed, replay

__all__ = [
    "Limits",
    "Pace",
    "Packet",
    "Replayed",
    "Summary",
    "Writer",
    "read_packets",
    "record",
    "replay",
]
