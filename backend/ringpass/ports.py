# SPDX-License-Identifier: BSD-2-Clause
"""Ports of `ringport` for commands: its errors become those of ringpass."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import ringport
from ringpass.errors import ConfigError, DaemonUnreachable, Denied, NotFound, RingpassError
from ringport.errors import Unreachable

_CLASSES: dict[int, type[RingpassError]] = {
    errno.EACCES: Denied,
    errno.EPERM: Denied,
    errno.ENOENT: NotFound,
    errno.ENXIO: NotFound,
}


@contextmanager
def opened(name: str, *, extra_bufs: int = 0) -> Iterator[ringport.Port]:
    """Open the port `name` for the block.

    What goes wrong with it there, too, is a RingpassError, as `translated` has it.
    """
    try:
        with ringport.open(name, extra_bufs=extra_bufs) as port:
            yield port
    except ringport.Error as error:
        raise translated(error) from error


def check_rings(port: ringport.Port, **needed: Sequence[ringport.Ring]) -> None:
    """Raise ConfigError if `port` has none of the rings that are `needed`, by direction."""
    for direction, rings in needed.items():
        if not rings:
            raise ConfigError(
                f"cannot use {port.name} for this",
                f"it has no {direction} rings: its name asks for others",
                "leave out what chooses rings: /R, /T or ^",
            )


def translated(error: ringport.Error) -> RingpassError:
    """Return `error` as one that the command line tells, of the class that has its exit code."""
    if isinstance(error, ringport.BadPortSpec):
        kind: type[RingpassError] = ConfigError
    elif isinstance(error, Unreachable):
        kind = DaemonUnreachable
    else:
        kind = _CLASSES.get(error.errno or 0, RingpassError)
    return kind(error.what, error.why, error.fix, errno=error.errno or 0)
