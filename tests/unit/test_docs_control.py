# SPDX-License-Identifier: BSD-2-Clause
"""The pages on configuration and control tell what the code does."""

import re
import tomllib
from pathlib import Path

import pytest
from msgspec import Struct

from ringpass import apply, config
from ringpass.config import Daemon, Libvirt, Port, Region, Switch, Worker
from ringpass.daemon.methods import TABLE
from ringpass.errors import ExitCode

DOCS = Path(__file__).parents[2] / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text()
CONTROL = (DOCS / "control.md").read_text()


def rows(page: str, section: str) -> dict[str, list[str]]:
    """Return the table of a section, by the text in its first column."""
    text = page.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {cell[0].strip().strip("`"): [c.strip() for c in cell[1:]] for cell in cells[1:]}


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("[daemon]", Daemon),
        ("Workers", Worker),
        ("[libvirt]", Libvirt),
        ("[switch.NAME]", Switch),
        ("[region.NAME]", Region),
        ('[port."SWITCH:PORT"]', Port),
    ],
)
def test_every_key_is_described_with_its_default(section: str, kind: type[Struct]) -> None:
    table = rows(CONFIGURATION, section)
    assert list(table) == list(kind.__struct_fields__)
    for field, row in table.items():
        if row[0].startswith("`"):
            assert row[0].strip('`"') == str(getattr(kind(), field)).replace("False", "false")


def test_what_changes_in_place_is_what_the_plan_changes_in_place() -> None:
    table = rows(CONFIGURATION, '[port."SWITCH:PORT"]')
    said = {key for key, row in table.items() if row[-1] == "yes"}
    assert said == set(apply.LIVE)


def test_the_example_is_a_configuration() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", CONFIGURATION, re.DOTALL)
    parsed = config.parse(tomllib.loads(example), Path("/run/ringpass"), "the page")
    assert len(parsed.ports) == 4


def test_every_method_is_described_with_its_parameters() -> None:
    text = CONTROL.split("\n## ", 1)[0]
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    said = {cell[0].strip(" `"): re.findall(r"`(\w+)`", cell[1]) for cell in cells}
    assert said == {name: list(entry.params.__struct_fields__) for name, entry in TABLE.items()}


def test_every_exit_code_is_described() -> None:
    assert [int(code) for code in rows(CONTROL, "Errors")] == [int(code) for code in ExitCode]


def test_every_state_is_described() -> None:
    source = (DOCS.parent / "backend/ringpass/observe/status.py").read_text()
    (states,) = re.findall(r"PortState = Literal\[(.*)\]", source)
    assert list(rows(CONTROL, "States of a port")) == re.findall(r'"(\w+)"', states)
