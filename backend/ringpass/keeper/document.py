# SPDX-License-Identifier: BSD-2-Clause
"""A few kilobytes in a memfd that are whole whenever their writer is killed.

There are two places for them. A new text goes where the older one is; the checksum before it makes
it valid, and its number makes it the newer one.

    | number, length, checksum | text ... | number, length, checksum | text ... |
"""

import os
import struct
import zlib

#: What a text may have at most.
MAX_BYTES = 1 << 20
_HEAD = struct.Struct("<QII")
_PLACE = _HEAD.size + MAX_BYTES


class Document:
    """A document in the memfd `fd`, which it owns; None: a new one. `close` it."""

    def __init__(self, fd: int | None = None) -> None:
        self.fd = os.memfd_create("ringpass-document", os.MFD_CLOEXEC) if fd is None else fd
        self.text = b""
        """What was written last."""
        self._number = 0
        for place in (0, 1):
            number, text = self._read(place)
            if number > self._number:
                self._number, self.text = number, text

    def write(self, text: bytes) -> None:
        """Replace the text. Raises OSError if there is no memory for it."""
        if len(text) > MAX_BYTES:
            raise OSError(f"{len(text)} bytes; a document has at most {MAX_BYTES}")
        number = self._number + 1
        checksum = zlib.crc32(_HEAD.pack(number, len(text), 0) + text)
        os.pwrite(self.fd, _HEAD.pack(number, len(text), checksum) + text, number % 2 * _PLACE)
        self._number, self.text = number, text

    def close(self) -> None:
        """Close the memfd; others may have it."""
        os.close(self.fd)

    def _read(self, place: int) -> tuple[int, bytes]:
        """Return the number and the text of a place, 0 if there is no valid one."""
        head = os.pread(self.fd, _HEAD.size, place * _PLACE)
        if len(head) < _HEAD.size:
            return 0, b""
        number, length, checksum = _HEAD.unpack(head)
        text = os.pread(self.fd, min(length, MAX_BYTES), place * _PLACE + _HEAD.size)
        whole = zlib.crc32(_HEAD.pack(number, length, 0) + text) == checksum
        return (number, text) if whole else (0, b"")
