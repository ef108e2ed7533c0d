# SPDX-License-Identifier: BSD-2-Clause
"""Habits that every source file keeps, whatever its language."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LANGUAGES = ("*.py", "*.pyi", "*.c", "*.h", "*.sh", "meson.build")
FOLDERS = ("backend", "csrc", "guestdrv", "images", "scripts", "tests")
SOURCES = sorted(
    path
    for folder in FOLDERS
    for language in LANGUAGES
    for path in (ROOT / folder).rglob(language)
    if path.stat().st_size
)

LICENCE = re.compile(r"(/\* |# )SPDX-License-Identifier: (.+?)( \*/)?$")


def licence(source: Path) -> str | None:
    """Return the licence that the first line of `source` names (the second, behind a #! line)."""
    lines = [line for line in source.read_text("utf-8").splitlines()[:2] if line[:2] != "#!"]
    named = LICENCE.match(lines[0]) if lines else None
    return named and named[2]


def test_there_are_sources_to_look_at() -> None:
    assert {path.suffix for path in SOURCES} >= {".py", ".h", ".build", ".sh"}


def test_every_source_names_its_licence() -> None:
    wrong = []
    for source in SOURCES:
        shared_with_the_kernel = source.parent == ROOT / "csrc" / "abi"
        wanted = "BSD-2-Clause OR GPL-2.0" if shared_with_the_kernel else "BSD-2-Clause"
        if licence(source) != wanted:
            wrong.append(str(source.relative_to(ROOT)))
    assert wrong == []


def test_a_missing_licence_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / "some.py"
    source.write_text('"""Text."""\n# SPDX-License-Identifier: BSD-2-Clause\n', "utf-8")
    assert licence(source) is None
