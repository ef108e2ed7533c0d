# SPDX-License-Identifier: BSD-2-Clause
"""Which archives Debian's source packages come from."""

from pathlib import Path

import pytest

from ringpass.errors import RingpassError
from ringpass.qemu.source import archives

SOURCES = """Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """Return an apt configuration with Debian's archive and one of somebody else."""
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(SOURCES)
    (tmp_path / "sources.list.d" / "other.list").write_text("deb https://example.org/apt any\n")
    return tmp_path


def test_the_machines_archives_are_asked_for_sources(etc: Path) -> None:
    assert list(archives("", etc)) == [(".sources", SOURCES.replace("deb\n", "deb-src\n", 1))]


def test_the_old_format_is_understood(etc: Path) -> None:
    (etc / "sources.list.d" / "debian.sources").unlink()
    (etc / "sources.list").write_text("deb http://mirror.example/debian bookworm main\n")
    wanted = "deb-src http://mirror.example/debian bookworm main\n"
    assert list(archives("", etc)) == [(".list", wanted)]


def test_a_suite_is_looked_for_where_debian_is(etc: Path) -> None:
    wanted = "deb-src http://mirror.example/debian sid main\n"
    assert list(archives("sid", etc)) == [(".list", wanted)]


def test_a_machine_without_debians_archive_is_told(tmp_path: Path) -> None:
    with pytest.raises(RingpassError, match=r"no file of .* names it"):
        list(archives("sid", tmp_path))
