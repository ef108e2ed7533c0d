# SPDX-License-Identifier: BSD-2-Clause
"""The documents name things that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md"]


def c_text() -> str:
    return "\n".join(path.read_text() for path in ROOT.glob("csrc/**/*.[ch]"))


def test_every_function_that_the_data_path_page_names_is_in_the_data_plane() -> None:
    text = (ROOT / "docs/datapath.md").read_text()
    names = {name for name in re.findall(r"`(\w+)`", text) if "_" in name}
    source = c_text()
    assert len(names) > 20
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", source)] == []


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_files_that_pages_name_exist(page: Path) -> None:
    paths = re.findall(r"`((?:csrc|backend|tests|images|docs|scripts)/[\w./-]+)`", page.read_text())
    # A part in capitals stands for any name.
    assert [path for path in paths if not list(ROOT.glob(re.sub(r"\b[A-Z]+\b", "*", path)))] == []
