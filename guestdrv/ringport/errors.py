# SPDX-License-Identifier: BSD-2-Clause
"""What every failure of this package raises."""

import os


class Error(OSError):
    """An operation on a port failed.

    `errno` is netmap's, `what` the operation, `why` the cause, `fix` what to do about it (empty if
    there is nothing to say). `str()` has them in one line.
    """

    def __init__(self, code: int, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(code, why or os.strerror(code))
        self.what = what
        self.why: str = self.strerror or ""
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" + (f" ({self.fix})" if self.fix else "")


class Unreachable(Error):
    """Nobody is there to ask for the port."""
