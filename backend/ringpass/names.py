# SPDX-License-Identifier: BSD-2-Clause
"""The names of switches, ports and pipes: `vale0`, `vale0:vm1`, `vale0:vm1{1`.

netmap's rules for VALE hold, so that a name that works here works there: both parts have 1 to 15
characters, letters, digits and `_`, in a port's also `.`; a switch's name begins with `vale`. (In
netmap `-` introduces a ring number, so it cannot be part of a name.)
"""

import re
from typing import NamedTuple

from ringpass.errors import ConfigError

MAX_PART = 15
_SWITCH_PREFIX = "vale"
_SWITCH = re.compile(r"[A-Za-z0-9_]+")
_PIPE = re.compile(r"(?P<parent>.*)(?P<end>[{}])(?P<id>.*)", re.DOTALL)
_PORT = re.compile(r"[A-Za-z0-9_.]+")


class PortName(NamedTuple):
    """The two parts of a port's name."""

    switch: str
    port: str

    def __str__(self) -> str:
        return f"{self.switch}:{self.port}"


def parse_port(text: str) -> PortName:
    """Return the parts of `SWITCH:PORT`. Raises ConfigError that says which part is wrong."""
    switch, colon, port = text.partition(":")
    if not colon:
        raise _bad("port", text, "it has no colon", "write SWITCH:PORT, such as vale0:vm1")
    check_switch(switch)
    _check_part("port", text, port, _PORT)
    return PortName(switch, port)


class PipeEnd(NamedTuple):
    """The parts of the name of a pipe's end: `PARENT{ID` or `PARENT}ID`."""

    parent: str
    master: bool
    id: str

    @property
    def other(self) -> str:
        """The name of the other end."""
        return f"{self.parent}{'}' if self.master else '{'}{self.id}"


def parse_pipe(text: str) -> PipeEnd | None:
    """Return the parts of a pipe's name, None for another name. Raises ConfigError.

    The parent may have any name that a port can have; it need not be there.
    """
    found = _PIPE.fullmatch(text)
    if found is None:
        return None
    parent, ident = found["parent"], found["id"]
    if not parent:
        why = "a pipe's name begins with the port that it belongs to"
        raise _bad("pipe", text, why, "write PORT{ID, such as vale0:a{1")
    if not _SWITCH.fullmatch(ident):
        raise _bad("pipe", text, f"{ident!r} is no identifier", "use letters, digits and _")
    if "{" in parent or "}" in parent:
        why = "a pipe has no pipes of its own"
        raise _bad("pipe", text, why, "name the port that it belongs to")
    return PipeEnd(parent, found["end"] == "{", ident)


def check_region(text: str) -> str:
    """Return `text` if it can name a region. Raises ConfigError that says why it cannot."""
    _check_part("region", text, text, _SWITCH)
    return text


def check_port(text: str) -> str:
    """Return `text` if it can name a port or a pipe's end. Raises ConfigError if it cannot."""
    if parse_pipe(text) is None:
        parse_port(text)
    return text


def switch_of(text: str) -> str:
    """Return the switch of the port `text`; a pipe has none. Raises ConfigError."""
    return parse_port(text).switch if parse_pipe(text) is None else ""


def check_switch(text: str) -> str:
    """Return `text` if it can name a switch. Raises ConfigError that says why it cannot."""
    _check_part("switch", text, text, _SWITCH)
    if not text.startswith(_SWITCH_PREFIX):
        raise _bad(
            "switch", text, f"it does not begin with {_SWITCH_PREFIX!r}", f"call it vale{text}"
        )
    return text


def _check_part(kind: str, text: str, part: str, allowed: re.Pattern[str]) -> None:
    if not part:
        raise _bad(kind, text, "a part of it is empty", "write SWITCH:PORT, such as vale0:vm1")
    if not allowed.fullmatch(part):
        strange = "".join(sorted({char for char in part if not allowed.fullmatch(char)}))
        raise _bad(kind, text, f"{part!r} contains {strange!r}, which our names cannot")
    if len(part) > MAX_PART:
        raise _bad(kind, text, f"{part!r} has {len(part)} characters; at most {MAX_PART} fit")


def _bad(kind: str, text: str, why: str, fix: str = "choose another name") -> ConfigError:
    return ConfigError(f"{text!r} cannot name a {kind}", why, fix)
