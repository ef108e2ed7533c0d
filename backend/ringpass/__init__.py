# SPDX-License-Identifier: BSD-2-Clause
"""Fast network ports for virtual machines: netmap-style rings over vhost-user and passthrough."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringpass.embedded import Backend as Backend

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import what needs the data plane only when it is asked for."""
    if name == "Backend":
        from ringpass.embedded import Backend

        return Backend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
