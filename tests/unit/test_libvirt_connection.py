# SPDX-License-Identifier: BSD-2-Clause
"""A libvirtd that takes connections and does not answer holds up no command."""

import gc
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass.cli import main as cli
from ringpass.errors import RingpassError
from ringpass.libvirt import connection
from ringpass.vm import reaper, registry
from tests.support.wait import PATIENCE_S


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URI of a libvirtd that stands still, for commands of little patience."""
    monkeypatch.setattr(connection, "OPEN_S", 0.1)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "sock"))
        listening.listen()
        yield f"qemu:///system?socket={tmp_path}/sock"
    for thread in threading.enumerate():
        if thread.name == "libvirt-open":
            thread.join(PATIENCE_S)  # its descriptor is not to go while another test counts
    gc.collect()


def test_a_libvirtd_that_does_not_answer_is_told(silent: str) -> None:
    with pytest.raises(RingpassError, match="does not answer") as failed:
        connection.connect(silent)
    assert "systemctl restart libvirtd" in failed.value.fix


def test_guests_of_ours_are_shown_without_libvirt(
    silent: str,
    runtime_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = registry.directory("vm1")
    registry.claim(place)
    registry.write_record(place, registry.Record("vm1", "qemu", (), 256, "key", detached=True))
    reaper.write_pid(place / registry.PID, os.getpid())
    argv = ["ringpass", "--runtime-dir", str(runtime_dir), "vm", "ls", "-c", silent]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown, said = capsys.readouterr()
    assert not ended.value.code
    assert "vm1" in shown
    what, why, fix = said.splitlines()
    assert what == f"no domains of libvirt are shown: cannot connect to libvirt at {silent}"
    assert why.startswith("why: libvirtd does not answer")
    assert fix.startswith("fix: ")
