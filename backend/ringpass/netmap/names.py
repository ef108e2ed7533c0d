# SPDX-License-Identifier: BSD-2-Clause
"""What the kernel's side reads in `nr_name`, after a library has taken a name apart.

    vale0:vm1     a port of a switch
    X{id  X}id    the ends of a pipe of X
    eth0          an interface of the host

netmap takes every name that begins with `val` for a switch's; here `vale` and a colon make one.
"""

import errno
import re
from dataclasses import dataclass
from typing import Literal

from ringpass import names
from ringpass.errors import ConfigError, RingpassError

MAX_INTERFACE = 15
_VALE = re.compile(r"vale[A-Za-z0-9_]*:")


@dataclass(frozen=True)
class PortName:
    """A name with its parts."""

    text: str
    kind: Literal["vale", "pipe", "interface"]
    switch: str = ""
    """Of a VALE port."""
    parent: str = ""
    """Of a pipe: whose region it is in."""
    peer: str = ""
    """Of a pipe: the name of its other end."""
    master: bool = True
    """Of a pipe: whether it is the end that `{` names."""


def parse(text: str) -> PortName:
    """Return the parts of the name `text`. Raises RingpassError with netmap's errno."""
    try:
        if pipe := names.parse_pipe(text):
            parse(pipe.parent)
            return PortName(text, "pipe", "", pipe.parent, pipe.other, pipe.master)
        if _VALE.match(text):
            return PortName(text, "vale", switch=names.parse_port(text).switch)
    except ConfigError as error:
        error.errno = errno.EINVAL
        raise
    _check_interface(text)
    return PortName(text, "interface")


def _check_interface(text: str) -> None:
    if not text:
        raise _bad(text, "it is empty", "write vale0:x, or the name of an interface")
    if len(text.encode(errors="surrogateescape")) > MAX_INTERFACE:
        why = f"an interface's name has at most {MAX_INTERFACE} bytes"
        raise RingpassError(_what(text), why, "ip link shows the names", errno=errno.ENXIO)
    if not text.isprintable() or re.search(r"[/\s:]", text):
        raise _bad(text, "no interface can have such a name", "write vale0:x, or such as eth0")


def _bad(text: str, why: str, fix: str) -> RingpassError:
    return RingpassError(_what(text), why, fix, errno=errno.EINVAL)


def _what(text: str) -> str:
    return f"{text!r} names no port"
