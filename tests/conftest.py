# SPDX-License-Identifier: BSD-2-Clause
"""What tests of every kind share: a runtime directory of their own, never the machine's."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def runtime_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty directory that ringpass, in this process or a child, uses for its sockets.

    Not tmp_path: its long names do not leave room for a socket's name in the 108 bytes of sun_path.
    """
    with TemporaryDirectory(prefix="rp-") as name:
        monkeypatch.setenv("RINGPASS_RUNTIME_DIR", name)
        yield Path(name)
