# SPDX-License-Identifier: BSD-2-Clause
"""A switch's own logic, a C file: who may load it, and how it becomes a shared object.

What is compiled runs inside the backend, so a file is taken only if nobody but the backend's user
and root can have written it. It is read once: what was checked is what is compiled. The headers
that it includes are not looked at.
"""

import hashlib
import os
import shlex
import shutil
import signal
import stat
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ringpass.errors import ConfigError, Denied, NotFound, RingpassError

#: Longer files, and compilers that take longer, are mistakes. Frames pass while one compiles, but
#: nobody connects and no command is answered.
MAX_BYTES = 1 << 20
PATIENCE_S = 5
#: Bytes of memory that a compiler may take: an include of /dev/zero takes all that there is.
MAX_MEMORY = 1 << 30

FLAGS = (
    *("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Wno-unused-parameter"),
    *("-fPIC", "-shared", "-fvisibility=hidden", "-Wl,--no-undefined"),
    *("-fdiagnostics-color=never", "-fno-diagnostics-show-caret"),
)


class Source(NamedTuple):
    """A C file as it was read."""

    path: Path
    text: bytes

    def digest(self) -> str:
        """Return what tells this text from all others."""
        return hashlib.blake2s(self.text, digest_size=8).hexdigest()


class Compiled(NamedTuple):
    """A shared object in memory; `fd` is the receiver's, to close."""

    fd: int
    warnings: str
    """What the compiler said nevertheless."""


def read(path: Path) -> Source:
    """Return the C file at `path`, of a trusted owner.

    Raises ConfigError if it cannot be read or is no file, Denied if others could have written it.
    """
    what = f"cannot use the logic {path}"
    try:
        # Without O_NONBLOCK a fifo would hold us up.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(what, why, "name a C file that the backend's user may read") from error
    try:
        _check(what, path, os.fstat(fd))
        with os.fdopen(fd, "rb", closefd=False) as file:
            text = file.read(MAX_BYTES + 1)
    finally:
        os.close(fd)
    if len(text) > MAX_BYTES:
        raise ConfigError(what, f"it has more than {MAX_BYTES} bytes", "name a C file")
    return Source(path, text)


def _check(what: str, path: Path, found: os.stat_result) -> None:
    """Refuse what is no file, and what others could have written."""
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(what, "it is not a regular file", "name a C file")
    if found.st_uid not in (0, os.geteuid()):
        raise Denied(
            what,
            f"it belongs to user {found.st_uid}, and would run as user {os.geteuid()}",
            f"let the backend's user own it: chown {os.geteuid()} {shlex.quote(str(path))}",
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        why = "others than its owner may write it, and it would run inside the backend"
        raise Denied(what, why, f"chmod go-w {shlex.quote(str(path))}")


def compile_c(source: Source) -> Compiled:
    """Compile `source` with the fixed FLAGS.

    Raises RingpassError with the compiler's own words, NotFound if there is no compiler.
    """
    what = f"cannot compile the logic {source.path}"
    with TemporaryDirectory(prefix="ringpass-logic-") as directory:
        output = Path(directory, "logic.so")
        # Files that it includes are looked for where it is, as if it had been read from there.
        argv = ["cc", *FLAGS, "-iquote", str(source.path.parent), "-I", str(include_dir())]
        argv += ["-o", str(output), "-x", "c", "-"]
        line = f'#line 1 "{_c_text(str(source.path))}"\n'.encode()
        status, said = _run(what, argv, line + source.text, directory)
        if status != 0:
            why = said or f"cc ended with {status}"
            raise RingpassError(what, why, "correct the file; docs/switch-logic.md has an example")
        return Compiled(_in_memory(source.path.name, output.read_bytes()), said)


def _run(what: str, argv: list[str], text: bytes, directory: str) -> tuple[int, str]:
    """Run a compiler in `directory` on `text`; return its exit status and what it said.

    It has processes of its own: all of them end when it takes too long.
    """
    try:
        compiler = subprocess.Popen(
            ["prlimit", f"--as={MAX_MEMORY}", *argv] if shutil.which(argv[0]) else argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=directory,
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=True,
        )
    except FileNotFoundError as error:
        fix = "apt install gcc libc6-dev"
        raise NotFound(what, "there is no C compiler, cc", fix) from error
    with compiler:
        try:
            _, said = compiler.communicate(text, PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            os.killpg(compiler.pid, signal.SIGKILL)
            why = f"cc took more than {PATIENCE_S} s"
            raise RingpassError(what, why, "look at what it includes") from error
    return compiler.returncode, said.decode(errors="replace").strip()


def include_dir() -> Path:
    """Return where rp_logic.h is: in the source tree, or installed. Raises NotFound."""
    places = [
        Path(__file__).resolve().parents[2] / "csrc/abi",
        Path(__file__).resolve().parent / "share/csrc/abi",
    ]
    for place in places:
        if (place / "rp_logic.h").is_file():
            return place
    raise NotFound(
        "cannot compile a switch's logic",
        f"there is no rp_logic.h in {' or '.join(map(str, places))}",
        "install ringpass again",
    )


def _in_memory(name: str, content: bytes) -> int:
    """Return a file in memory: directories for temporary files may not allow to run what is in."""
    fd = os.memfd_create(name[:200], os.MFD_CLOEXEC)
    with os.fdopen(fd, "wb", closefd=False) as file:
        file.write(content)
    return fd


def _c_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
