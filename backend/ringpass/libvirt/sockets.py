# SPDX-License-Identifier: BSD-2-Clause
"""By which socket a device of a domain is known for a port."""

import os
from pathlib import Path


def port_key(path: str) -> str:
    """Return what is the same for all sockets of a port, by whatever way their directory is named.

    A passthrough port has two: one ends in .sock and one in .netdev.
    """
    socket = Path(path)
    name = socket.name.removesuffix(".sock").removesuffix(".netdev")
    return os.path.realpath(socket.parent) + "/" + name
