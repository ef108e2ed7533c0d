# SPDX-License-Identifier: BSD-2-Clause
"""Whoever does what the how-to pages say gets what they promise."""

from pathlib import Path

import pytest

from ringpass.image import Image
from tests.support.daemon import RINGPASS
from tests.support.howto import Reader

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = [pytest.mark.guest, pytest.mark.timeout(420)]


def environment(runtime_dir: Path) -> dict[str, str]:
    """Return what differs from the environment of a user who is root."""
    path = f"{RINGPASS.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "RINGPASS_RUNTIME_DIR": str(runtime_dir), "TERM": "dumb"}


def test_ports_on_a_qemu_command_line(image: Image, runtime_dir: Path, tmp_path: Path) -> None:
    assert image
    instead = {"/run/ringpass": str(runtime_dir)}
    with Reader(tmp_path, environment(runtime_dir), instead) as reader:
        reader.follow(DOCS / "howto-qemu.md")
