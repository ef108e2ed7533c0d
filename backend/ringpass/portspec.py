# SPDX-License-Identifier: BSD-2-Clause
"""netmap's names of ports, as `ringport.portspec` reads them, with the errors of ringpass."""

from ringpass.errors import ConfigError
from ringport import portspec
from ringport.portspec import ExternalMemory, Flag, Mode, Offset, Pipe, PortSpec

__all__ = [
    "BadPortSpec",
    "ExternalMemory",
    "Flag",
    "Mode",
    "Offset",
    "Pipe",
    "PortSpec",
    "parse",
]


class BadPortSpec(ConfigError):
    """A name that is none. `part` is the piece of it that is wrong, `reason` what is wrong."""

    def __init__(self, error: portspec.BadPortSpec) -> None:
        super().__init__(error.what, error.why, error.fix)
        self.part = error.part
        self.reason = error.reason


def parse(text: str) -> PortSpec:
    """Return what the name `text` asks for. Raises BadPortSpec."""
    try:
        return portspec.parse(text)
    except portspec.BadPortSpec as error:
        raise BadPortSpec(error) from None
