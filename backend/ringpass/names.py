# SPDX-License-Identifier: BSD-2-Clause
"""The names of switches and ports: `vale0`, `vale0:vm1`.

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
        raise _bad(kind, text, f"{part!r} contains {strange!r}, which netmap's names cannot")
    if len(part) > MAX_PART:
        raise _bad(kind, text, f"{part!r} has {len(part)} characters; at most {MAX_PART} fit")


def _bad(kind: str, text: str, why: str, fix: str = "choose another name") -> ConfigError:
    return ConfigError(f"{text!r} cannot name a {kind}", why, fix)
