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

LICENCE = re.compile(r"(/\* |// |# )SPDX-License-Identifier: (.+?)( \*/)?$")


def licence(source: Path) -> str | None:
    """Return the licence that the first line of `source` names (the second, behind a #! line)."""
    lines = [line for line in source.read_text("utf-8").splitlines()[:2] if line[:2] != "#!"]
    named = LICENCE.match(lines[0]) if lines else None
    return named and named[2]


def test_there_are_sources_to_look_at() -> None:
    assert {path.suffix for path in SOURCES} >= {".py", ".h", ".build", ".sh"}


def wanted(source: Path) -> set[str]:
    """Return the licences that users of `source` may choose from."""
    for_the_kernel = (ROOT / "csrc/abi", ROOT / "guestdrv/linux")
    dual = any(source.is_relative_to(folder) for folder in for_the_kernel)
    return {"BSD-2-Clause", "GPL-2.0"} if dual else {"BSD-2-Clause"}


def test_every_source_names_its_licence() -> None:
    wrong = [
        str(source.relative_to(ROOT))
        for source in SOURCES
        if set((licence(source) or "").split(" OR ")) != wanted(source)
    ]
    assert wrong == []


def test_a_missing_licence_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / "some.py"
    source.write_text('"""Text."""\n# SPDX-License-Identifier: BSD-2-Clause\n', "utf-8")
    assert licence(source) is None
