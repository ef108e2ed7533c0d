# SPDX-License-Identifier: BSD-2-Clause
"""What apt said, remembered for as long as what it reads is the same: it takes seconds to ask."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec


class Answers(msgspec.Struct):
    """Answers by question, of a time when what they depend on had the fingerprint `of`."""

    of: str
    answers: dict[str, str] = {}


def answer(file: Path, of: str, question: Iterable[str], ask: Callable[[], str]) -> str:
    """Return what `ask` returns, or what it did when it was last asked this about the same `of`.

    What it returns is remembered in `file`, unless that is nothing. Processes that write at the
    same time may forget each other's answers.
    """
    words = "\0".join(question)
    known = _read(file)
    if known.of != of:
        known = Answers(of)
    if words not in known.answers:
        known.answers[words] = ask()
        if known.answers[words]:
            _write(file, known)
    return known.answers[words]


def fingerprint(directories: Iterable[Path]) -> str:
    """Return what changes with every file in `directories`, and below them, that is replaced."""
    found = []
    for path in (path for directory in directories for path in directory.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # apt is at work: it is not the same anyway
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode):
                found.append((str(path), status.st_size, status.st_mtime_ns, status.st_ino))
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()


def _read(file: Path) -> Answers:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Answers)
    except (OSError, msgspec.DecodeError):
        return Answers("")


def _write(file: Path, answers: Answers) -> None:
    own = file.with_suffix(f".{os.getpid()}")
    own.write_bytes(msgspec.json.encode(answers))
    own.replace(file)
