# SPDX-License-Identifier: BSD-2-Clause
"""Whoever does what the how-to pages say gets what they promise."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import RINGPASS
from tests.support.howto import Reader
from tests.support.libvirtd import Libvirtd

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = [
    pytest.mark.guest,
    pytest.mark.usefixtures("image", "patched_qemu"),
]


def environment(runtime_dir: Path) -> dict[str, str]:
    """Return what differs from the environment of a user who is root."""
    path = f"{RINGPASS.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "RINGPASS_RUNTIME_DIR": str(runtime_dir), "TERM": "dumb"}


@pytest.fixture
def libvirtd() -> Iterator[Libvirtd]:
    with Libvirtd() as libvirtd:
        yield libvirtd


def test_ports_on_a_qemu_command_line(runtime_dir: Path, tmp_path: Path) -> None:
    instead = {"/run/ringpass": str(runtime_dir)}
    with Reader(tmp_path, environment(runtime_dir), instead) as reader:
        reader.follow(DOCS / "howto-qemu.md")


def test_ports_in_libvirt_domains(runtime_dir: Path, tmp_path: Path, libvirtd: Libvirtd) -> None:
    images = libvirtd.place / "images"
    images.mkdir()
    runtime_dir.chmod(0o755)  # as the daemon makes it
    instead = {
        "/run/ringpass": str(runtime_dir),
        "/var/lib/libvirt/images": str(images),
        "qemu:///system": libvirtd.uri,
    }
    its = {**environment(runtime_dir), "LIBVIRT_DEFAULT_URI": libvirtd.uri}
    with Reader(tmp_path, its, instead) as reader:
        reader.follow(DOCS / "howto-libvirt.md")
