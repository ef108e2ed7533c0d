# SPDX-License-Identifier: BSD-2-Clause
"""A suite that the archive does not serve is asked for again; what has compiled is remembered."""

from pathlib import Path

import pytest

from ringpass.qemu import source
from ringpass.qemu.source import NotInTheArchive
from tests.support import qemu_newest


def test_a_suite_that_was_missed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, done = ["stable"], []

    def fetch(_package: str, suite: str) -> Path:
        if suite not in served:
            raise NotInTheArchive("cannot fetch it", f"no {suite}", "")
        return Path(suite)

    def compile_(_description: Path, suite: str) -> str:
        done.append(suite)
        return suite

    monkeypatch.setenv("RINGPASS_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(source, "source", fetch)
    monkeypatch.setattr(qemu_newest, "_compile", compile_)
    missed = "stable; not sid's: no sid; not testing's: no testing"
    assert [qemu_newest.compiled(), qemu_newest.compiled()] == [missed, missed]
    served.append("sid")
    assert [qemu_newest.compiled(), qemu_newest.compiled()] == ["sid", "sid"]
    assert done == ["stable", "sid"]
