# SPDX-License-Identifier: BSD-2-Clause
"""Where ringpass keeps its files: sockets and counters at run time, guest images in a cache.

Nothing here creates a file or directory: these are names only.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from ringpass.errors import ConfigError

CONTROL_SOCKET = "control.sock"

#: Bytes of the longest path that a unix socket can have.
MAX_SOCKET_PATH = 107


def runtime_dir(environ: Mapping[str, str] = os.environ, uid: int | None = None) -> Path:
    """Return the directory of the daemon's sockets and counters.

    `$RINGPASS_RUNTIME_DIR`, or `/run/ringpass` for root, or `$XDG_RUNTIME_DIR/ringpass`.
    Raises ConfigError for a user who has neither variable: a world-writable place such as /tmp
    would let others put their sockets where ours are expected.
    """
    if chosen := environ.get("RINGPASS_RUNTIME_DIR"):
        return Path(chosen).absolute()
    if (os.geteuid() if uid is None else uid) == 0:
        return Path("/run/ringpass")
    if session := environ.get("XDG_RUNTIME_DIR"):
        return Path(session).absolute() / "ringpass"
    raise ConfigError(
        "there is no directory for the daemon's sockets",
        "neither RINGPASS_RUNTIME_DIR nor XDG_RUNTIME_DIR is set, and you are not root",
        "set RINGPASS_RUNTIME_DIR to a directory that only you can write",
    )


def control_socket(directory: Path | None = None) -> Path:
    """Return the path of the daemon's control socket in `directory` (default: `runtime_dir()`)."""
    return (runtime_dir() if directory is None else directory) / CONTROL_SOCKET


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of what can be made again: guest images and downloaded packages.

    `$RINGPASS_CACHE_DIR`, or `$XDG_CACHE_HOME/ringpass`, or `~/.cache/ringpass`.
    """
    if chosen := environ.get("RINGPASS_CACHE_DIR"):
        return Path(chosen).absolute()
    if xdg := environ.get("XDG_CACHE_HOME"):
        return Path(xdg).absolute() / "ringpass"
    return Path.home() / ".cache" / "ringpass"
