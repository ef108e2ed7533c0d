# SPDX-License-Identifier: BSD-2-Clause
"""The errors that users see: each says what happened, why, and what to do about it.

Everything that can go wrong for a user's reason is a `RingpassError`. Its class decides the exit
code of the command line, and those codes are part of the interface: see `ExitCode`.
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process returns to the shell; scripts rely on it, so no code changes its meaning."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    DENIED = 5
    BROKEN = 6


class RingpassError(Exception):
    """An operation failed for a reason that the user can be told.

    `what` is the operation that failed, `why` the cause, `fix` what to do about it (empty when
    nothing sensible can be said). `str()` has a line for each, and no line for an empty `fix`.
    `errno` is the operating system's number for the cause, 0 if it has none: netmap programs are
    told by it.
    """

    default_exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(
        self,
        what: str,
        why: str,
        fix: str = "",
        *,
        exit_code: ExitCode | None = None,
        errno: int = 0,
    ) -> None:
        super().__init__(what, why, fix)
        self.what = what
        self.why = why
        self.fix = fix
        self.exit_code = self.default_exit_code if exit_code is None else exit_code
        self.errno = errno

    def __str__(self) -> str:
        lines = [f"error: {self.what}", f"why: {self.why}"]
        if self.fix:
            lines.append(f"fix: {self.fix}")
        return "\n".join(lines)


class ConfigError(RingpassError):
    """A configuration file or an argument is wrong; nothing was changed."""

    default_exit_code = ExitCode.USAGE


class DaemonUnreachable(RingpassError):
    """No daemon answers on the control socket."""

    default_exit_code = ExitCode.UNREACHABLE


class NotFound(RingpassError):
    """A switch, port, guest or image of this name does not exist."""

    default_exit_code = ExitCode.NOT_FOUND


class Denied(RingpassError):
    """The operating system or the daemon's policy refuses; trying again does not help."""

    default_exit_code = ExitCode.DENIED


class BrokenPort(RingpassError):
    """A port, or the peer behind it, broke the rules and was stopped; others are not affected."""

    default_exit_code = ExitCode.BROKEN
