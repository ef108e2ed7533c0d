# SPDX-License-Identifier: BSD-2-Clause
"""The series for QEMU, held against Debian's sources: it applies, and in QEMU's own style."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass.qemu import series, source
from tests.support.cbuild import ROOT
from tests.support.qemu_newest import compiled

pytestmark = pytest.mark.slow

PATCHES = series.patches()
DEFINITION = r"(?:struct|enum) (\w+) \{"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the sources of the base version, with Debian's patches and ours."""
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as directory:
        tree = source.unpack(source.source("qemu"), Path(directory))
        # Without fuzz: that is how it treats the base version.
        assert series.apply(tree) == PATCHES
        yield tree


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name[:4])
def test_checkpatch_has_nothing_to_say(tree: Path, patch: Path) -> None:
    command = ["perl", "scripts/checkpatch.pl", "--no-tree", "--strict", "-q", str(patch)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name[:4])
def test_a_patch_says_why_and_by_whom(patch: Path) -> None:
    head = patch.read_text().partition("\n---\n")[0]
    subject, body = re.fullmatch(r".*?\nSubject: (.+?)\n\n(.+)", head, re.DOTALL).groups()  # type: ignore[union-attr]
    assert re.match(r"\[PATCH\] [\w/, -]+: \S", " ".join(subject.split()))
    assert len(body.split()) > 20
    assert body.rstrip().splitlines()[-1].startswith("Signed-off-by: ")


def test_no_patch_has_what_the_shared_headers_define() -> None:
    headers = [path.read_text() for path in (ROOT / "csrc" / "abi").glob("*.h")]
    shared = {
        name for text in headers for name in re.findall(r"^(?:struct|enum) (\w+) \{", text, re.M)
    }
    assert "rp_netdev_port" in shared
    for patch in PATCHES:
        defined = re.findall(rf"^\+\s*{DEFINITION}", patch.read_text(), re.MULTILINE)
        assert not shared.intersection(defined), patch.name


def test_the_series_applies_to_the_base_version(tree: Path) -> None:
    assert series.version(tree).startswith(f"{series.BASE}.")
    assert not [*tree.rglob("*.rej"), *tree.rglob("*.orig")]
    assert all((tree / path).exists() for path in series.new_files())


@pytest.mark.timeout(1800)
def test_the_series_compiles_in_the_newest_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Every file of C that it adds or changes; the rest of that QEMU is not built."""
    verdict = compiled()
    with capsys.disabled():
        print(f"\n{verdict}")  # noqa: T201
    assert re.match(r"QEMU \d+\.\d+\.\d+, \w+: \d+ files compiled", verdict)
