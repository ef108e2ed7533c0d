# SPDX-License-Identifier: BSD-2-Clause
"""The reader of how-to pages does all that they say, and notices what is not so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.howto import Dialogue, File, Reader, Script, missing, steps

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.glob("howto-*.md"))

GUEST = "PS1='vm1# ' bash --norc --noprofile -i"
"""What stands for a guest here: a shell on a terminal."""


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with Reader(tmp_path, {"TERM": "dumb"}, {"/there": str(tmp_path)}) as reader:
        yield reader


def follow(reader: Reader, page: str) -> None:
    file = reader.directory / "page.md"
    file.write_text(page)
    reader.follow(file)


def block(kind: str, text: str) -> str:
    return f"```{kind}\n{text}\n```\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_block_of_a_page_is_skipped(page: Path) -> None:
    text = page.read_text()
    found = steps(text)
    assert len(found) * 2 == text.count("```")
    assert sum(isinstance(step, Script) for step in found) == text.count("\n```sh\n")


def test_steps_are_done_in_order(reader: Reader) -> None:
    page = (
        "Write `data.toml`:\n\n"
        + block("toml", "where = '/there'")
        + block("sh", "cp data.toml copy\necho more >> copy")
        + block("console", "$ cat \\\n    copy\nwhere = ...\nmore")
    )
    kinds = [type(step) for step in steps(page)]
    assert kinds == [File, Script, Dialogue]
    follow(reader, page)
    assert (reader.directory / "copy").read_text() == f"where = '{reader.directory}'\nmore\n"


def test_a_guest_is_talked_to_on_its_terminal(reader: Reader) -> None:
    page = block("console stays", f"$ {GUEST}\nvm1#") + block(
        "console", "vm1# cd /there; name=it\nvm1# echo $name is in $PWD\nit is in /there\n$ true"
    )
    follow(reader, page)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (block("sh", "true\nfalse\ntrue"), "left with 1"),
        (block("sh", "false | true"), "left with 1"),
        (block("sh", "echo $nothing"), "unbound"),
        (block("console", "$ echo one\ntwo"), "has not printed 'two'"),
        (block("console", "$ printf 'one\\ntwo\\n'\ntwo\none"), "has not printed 'one'"),
        (block("console", "$ false"), "left with 1"),
        (block("console", "printed"), "by which command"),
        (block("console stays", "$ echo gone\nvm1#"), "no 'vm1#' in"),
        (block("console stays", f"$ {GUEST}\nvm1#") + block("console", "vm1# false"), "status 1"),
        (block("toml", "x = 1"), "no file is named"),
        (block("bash", "true"), "nobody knows"),
        (block("", "true"), "nobody knows"),
    ],
)
def test_what_a_page_promises_falsely_is_noticed(reader: Reader, page: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        follow(reader, page)


def test_what_was_started_ends_with_the_reader(reader: Reader) -> None:
    with reader:
        follow(reader, block("console stays", "$ echo begun; exec sleep 1000\nbegun"))
        (terminal,) = reader.terminals
        assert terminal.process.isalive()
    assert not terminal.process.isalive()


def test_expected_lines_are_found_in_order_among_others() -> None:
    output = "NAME  STATE\nvale0:vm1  up  12\nvale0:vm2  waiting\n"
    assert missing(["vale0:vm1 ... 12", "vale0:vm2"], output) is None
    assert missing(["vale0:vm1 ... waiting"], output) == "vale0:vm1 ... waiting"
    assert missing(["vale0:vm2", "vale0:vm1"], output) == "vale0:vm1"
