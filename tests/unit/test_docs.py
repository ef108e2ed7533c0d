# SPDX-License-Identifier: BSD-2-Clause
"""The documents name things that exist."""

import re
from pathlib import Path

import pytest

from ringpass._dp import ffi, lib
from ringpass.observe.counters import RingCounters

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
    folders = "csrc|backend|guestdrv|tests|images|docs|scripts"
    paths = re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text())
    # A part in capitals stands for any name.
    assert [path for path in paths if not list(ROOT.glob(re.sub(r"\b[A-Z]+\b", "*", path)))] == []


def test_the_counters_page_has_every_counter_and_every_reason() -> None:
    counters, _, reasons = (ROOT / "docs/counters.md").read_text().partition("| reason | why |")
    assert set(RingCounters.__slots__) - {"port", "tx", "ring", "broken"} <= words(counters)
    names = {ffi.string(lib.rp_drop_name(i)).decode() for i in range(lib.RP_DROP_REASONS)}  # type: ignore[union-attr]
    assert names <= words(reasons)


def words(text: str) -> set[str]:
    """Return what stands in backquotes at the beginning of the rows of tables."""
    firsts = re.findall(r"^\|([^|]*)\|", text, re.MULTILINE)
    return {word for first in firsts for word in re.findall(r"`(\w+)`", first)}


def test_the_programs_on_the_page_of_ringport_run() -> None:
    page = (ROOT / "docs/ringport.md").read_text()
    programs = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(programs) == 3
    for program in programs:
        exec(compile(program, "docs/ringport.md", "exec"), {"__name__": "__main__"})
