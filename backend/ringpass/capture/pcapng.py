# SPDX-License-Identifier: BSD-2-Clause
"""A pcapng file as it is written: one interface, frames with direction, drop counts.

The blocks are those of python-pcapng, but for the packets: it takes 27 us to write one, which is
an order of magnitude more than all else that is done for a frame, so these are packed here.
"""

import struct
from typing import BinaryIO

from pcapng import FileWriter
from pcapng.blocks import InterfaceDescription, InterfaceStatistics, SectionHeader

import ringpass

ETHERNET = 1
NANOSECONDS = b"\x09"
#: pcapng's direction, the lowest bits of epb_flags.
INBOUND, OUTBOUND = 1, 2

_PACKET = 6
_EPB_FLAGS = 2
_HEAD = struct.Struct("<IIIIIII")  # type, length, interface, time (high, low), captured, length
_TAIL = struct.Struct("<HHIHHI")  # epb_flags: code, bytes, value; end of options; length
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class Writer:
    """Writes one section with one interface to a binary stream, which stays the caller's.

    `snaplen` is the most bytes that are kept of a frame. What is written is complete after every
    call: a reader at the other end of a pipe never waits for the rest of a block once `flush`ed.
    """

    def __init__(self, stream: BinaryIO, interface: str, snaplen: int) -> None:
        self._stream = stream
        self._snaplen = snaplen
        self._section = SectionHeader(
            endianness="<", options={"shb_userappl": f"ringpass {ringpass.__version__}"}
        )
        self._section.new_member(
            InterfaceDescription,
            link_type=ETHERNET,
            snaplen=snaplen,
            options={"if_name": interface, "if_tsresol": NANOSECONDS},
        )
        self._blocks = FileWriter(stream, self._section)

    def packet(
        self, time_ns: int, frame: "bytes | memoryview", direction: int, length: int | None = None
    ) -> None:
        """Write a frame that passed at `time_ns` (since 1970); `length`: it was longer than this.

        `direction` is INBOUND, OUTBOUND or 0, unknown.
        """
        captured = min(len(frame), self._snaplen)
        padding = _PADDING[captured % 4]
        total = _HEAD.size + captured + len(padding) + _TAIL.size
        self._stream.write(
            b"".join(
                (
                    _HEAD.pack(
                        *(_PACKET, total, 0, time_ns >> 32, time_ns & 0xFFFFFFFF, captured),
                        len(frame) if length is None else length,
                    ),
                    frame[:captured],
                    padding,
                    _TAIL.pack(_EPB_FLAGS, 4, direction, 0, 0, total),
                )
            )
        )

    def statistics(self, time_ns: int, received: int, dropped: int) -> None:
        """Write how many frames passed until `time_ns`, and how many of them are not here."""
        self._blocks.write_block(
            self._section.new_member(
                InterfaceStatistics,
                interface_id=0,
                timestamp_high=time_ns >> 32,
                timestamp_low=time_ns & 0xFFFFFFFF,
                options={"isb_ifrecv": received, "isb_ifdrop": dropped},
            )
        )

    def flush(self) -> None:
        """Let the reader have all that was written."""
        self._stream.flush()
