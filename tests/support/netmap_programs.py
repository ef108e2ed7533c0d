# SPDX-License-Identifier: BSD-2-Clause
"""Real netmap programs, built from Debian's source packages without changing a line of them.

Sources come through apt with a configuration of its own, so the machine's stays as it is. What is
built stays in the cache, under a name that follows from all that went into it.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ringpass.image.lock import locked
from ringpass.paths import cache_dir
from tests.support.cbuild import ROOT

INCLUDE = ROOT / "csrc" / "netmap_shim" / "include"


class NotInTheArchive(Exception):
    """The archive that this machine uses lists a source package and does not have its files."""


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
    "qemu": Recipe(
        ("qemu",),
        """
cd qemu-*/
# A PC with the network card that the test has, and nothing else.
for device in I440FX VIRTIO_PCI VIRTIO_NET; do
    echo "CONFIG_$device=y"
done > configs/devices/x86_64-softmmu/netmap.mak
mkdir out
cd out
../configure --target-list=x86_64-softmmu --without-default-features --without-default-devices \
    --with-devices-x86_64=netmap --enable-system --disable-user --enable-tcg --enable-netmap \
    --disable-docs --disable-werror --disable-debug-info -Doptimization=1 \
    --extra-cflags="-I$INCLUDE"
ninja -j$JOBS qemu-system-x86_64
cp qemu-system-x86_64 ../..
""",
        "qemu-system-x86_64",
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
                pytest.skip(f"{name} cannot be built: {error}")
    return path


def _key(recipe: Recipe) -> str:
    text = [*recipe.packages, recipe.script, *(p.read_text() for p in sorted(INCLUDE.rglob("*.h")))]
    return hashlib.sha256("\0".join(text).encode()).hexdigest()[:16]


def _build(recipe: Recipe, place: Path) -> None:
    sources = [_source(package) for package in recipe.packages]
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as work:
        for description in sources:
            _run(["dpkg-source", "--no-check", "-x", description], Path(work))
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


def _source(package: str) -> Path:
    """Return the .dsc of a source package whose files lie beside it, fetched now if need be."""
    place = cache_dir() / "netmap-programs" / "sources"
    if found := sorted(place.glob(f"{package}_*.dsc")):
        return found[-1]
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as work:
        apt = _apt(Path(work))
        _run([*apt, "update"], Path(work))
        done = subprocess.run(
            [*apt, "source", "--download-only", package],
            cwd=work,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode:
            raise NotInTheArchive(f"apt-get source {package}: {done.stderr.strip()[-300:]}")
        files = [path for path in Path(work).iterdir() if path.name.startswith(f"{package}_")]
        # The description comes last: where it is, all files are.
        for path in sorted(files, key=lambda path: path.suffix == ".dsc"):
            path.rename(place / path.name)
    return sorted(place.glob(f"{package}_*.dsc"))[-1]


def _apt(work: Path) -> list[str]:
    """Return apt-get with lists and sources of its own: those of the machine, for source code."""
    for name in ("lists/partial", "cache/archives/partial", "parts"):
        (work / name).mkdir(parents=True)
    for number, (suffix, text) in enumerate(_source_entries()):
        (work / "parts" / f"{number}{suffix}").write_text(text)
    options = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": work / "parts",
        "Dir::State::Lists": work / "lists",
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "",
    }
    return ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items())]


def _source_entries() -> Iterator[tuple[str, str]]:
    """Yield a file's suffix and text for each of the machine's files of Debian's own archives."""
    etc = Path("/etc/apt")
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if not path.is_file() or path.suffix not in (".list", ".sources"):
            continue
        text = path.read_text()
        if "debian" not in path.name and "debian" not in text:
            continue
        if path.suffix == ".sources":
            yield ".sources", re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.MULTILINE)
        else:
            yield ".list", re.sub(r"^deb\s", "deb-src ", text, flags=re.MULTILINE)


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
