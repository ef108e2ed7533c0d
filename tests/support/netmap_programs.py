# SPDX-License-Identifier: BSD-2-Clause
"""Real netmap programs, built from Debian's source packages without changing a line of them.

What is built stays in the cache, under a name that follows from all that went into it.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ringpass.image.lock import locked
from ringpass.paths import cache_dir
from ringpass.qemu.source import NotInTheArchive, source, unpack
from tests.support.cbuild import ROOT

INCLUDE = ROOT / "csrc" / "netmap_shim" / "include"


@dataclass(frozen=True)
class Recipe:
    """How a program is built: `script` runs in the unpacked sources of all `packages`.

    Of the script's variables, INCLUDE is where the netmap headers are, and JOBS how many processes
    may build. `program` is what it makes, below the directory of the packages.
    """

    packages: tuple[str, ...]
    script: str
    program: str


_LIBPCAP = """
cd libpcap-*/
# In CFLAGS, for the Makefile passes on no CPPFLAGS.
./configure --enable-netmap --disable-shared --disable-dbus --disable-rdma --disable-usb \
    --disable-bluetooth --without-libnl --without-dpdk CFLAGS="-O2 -I$INCLUDE"
grep -q '^MODULE_C_SRC.*pcap-netmap' Makefile
make -j$JOBS libpcap.a
cd ..
"""

RECIPES = {
    # It finds the libpcap beside it by itself. fcntl.h it gets by chance, with OpenSSL.
    "tcpdump": Recipe(
        ("libpcap", "tcpdump"),
        _LIBPCAP
        + """
cd tcpdump-*/
./configure --without-crypto CFLAGS="-O2 -include fcntl.h"
make -j$JOBS tcpdump
cp tcpdump ..
""",
        "tcpdump",
    ),
    "tcpreplay": Recipe(
        ("libpcap", "tcpreplay"),
        _LIBPCAP
        + """
cd tcpreplay-*/
./configure --with-netmap="$INCLUDE/.." --with-libpcap="$PWD/../$(basename ../libpcap-*)" \
    --disable-libopts-install CFLAGS="-O2 -I$INCLUDE"
grep -q 'define HAVE_NETMAP' src/config.h
make -j$JOBS
cp src/tcpreplay ..
""",
        "tcpreplay",
    ),
}


def program(name: str) -> Path:
    """Return the path of a program, built now unless the cache has it.

    Skips the running test if the archive has no sources for it; fails it with the compiler's words
    if they cannot be built.
    """
    recipe = RECIPES[name]
    place = cache_dir() / "netmap-programs" / f"{name}-{_key(recipe)}"
    path = place / recipe.program
    with locked(place.parent / "lock"):
        if not path.exists():
            try:
                _build(recipe, place)
            except NotInTheArchive as error:
                pytest.skip(f"{name} cannot be built: {error.why}")
    return path


def _key(recipe: Recipe) -> str:
    text = [*recipe.packages, recipe.script, *(p.read_text() for p in sorted(INCLUDE.rglob("*.h")))]
    return hashlib.sha256("\0".join(text).encode()).hexdigest()[:16]


def _build(recipe: Recipe, place: Path) -> None:
    descriptions = [source(package) for package in recipe.packages]
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as work:
        for description in descriptions:
            unpack(description, Path(work))
        environ = {
            "INCLUDE": str(INCLUDE),
            "JOBS": str(min(2, os.cpu_count() or 1)),
            "PATH": "/usr/bin:/bin",
            "HOME": work,
            "LC_ALL": "C",
        }
        _run(["nice", "sh", "-euc", recipe.script], Path(work), environ, timeout=1500)
        made = Path(work) / "made"
        made.mkdir()
        shutil.copy2(Path(work) / recipe.program, made)
        made.rename(place)


def _run(
    command: Sequence[str | Path],
    place: Path,
    environ: dict[str, str] | None = None,
    timeout: float = 600,
) -> None:
    """Run `command` in `place`; fail the running test with what it said if it fails."""
    done = subprocess.run(
        command,
        cwd=place,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        what = " ".join(str(word) for word in command)[:100]
        pytest.fail(f"{what} returned {done.returncode}:\n{done.stdout[-6000:]}", pytrace=False)
