# SPDX-License-Identifier: BSD-2-Clause
"""Debian's source packages, without a change to the machine.

apt gets a configuration of its own: the machine's archives, but for source packages, and package
lists below a temporary directory. What was fetched stays in the cache.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ringpass import paths
from ringpass.errors import RingpassError
from ringpass.image.lock import locked

APT_TIMEOUT = 600.0
"""Seconds that apt may take for the package lists or for one source package."""


class NotInTheArchive(RingpassError):
    """The archive does not have a source package, or lists it and does not serve its files."""


def source(package: str, suite: str = "", *, cache: Path | None = None) -> Path:
    """Return the .dsc of a source package, with all its files beside it; fetch them if need be.

    `suite` is one of the archive's, such as "sid"; by default, those that this machine uses. Raises
    NotInTheArchive.
    """
    place = (cache or paths.cache_dir()) / "sources" / suite
    with locked(place / f"{package}.lock"):
        return cached(package, suite, cache=cache) or fetch(package, suite, place)


def cached(package: str, suite: str = "", *, cache: Path | None = None) -> Path | None:
    """Return the .dsc that `source` would, if nothing needs to be fetched for it."""
    place = (cache or paths.cache_dir()) / "sources" / suite
    found = sorted(place.glob(f"{package}_*.dsc"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def unpack(description: Path, into: Path) -> Path:
    """Unpack a source package with Debian's patches into a new directory of `into`; return it."""
    # apt has checked the files against the signed list of packages.
    run("dpkg-source", "--no-check", "-x", str(description), cwd=into)
    return next(path for path in into.iterdir() if path.is_dir())


def fetch(package: str, suite: str, place: Path) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as directory:
        work = Path(directory)
        apt = apt_get(work, suite)
        run(*apt, "update", cwd=work)
        run(*apt, "source", "--download-only", package, cwd=work)
        files = [path for path in work.iterdir() if path.name.startswith(f"{package}_")]
        # The description comes last: where it is, all files are.
        moved = [
            path.rename(place / path.name)
            for path in sorted(files, key=lambda path: path.suffix == ".dsc")
        ]
        return moved[-1]


def apt_get(work: Path, suite: str) -> list[str]:
    """Return apt-get with lists and sources of its own: those of the machine, for source code."""
    for name in ("lists/partial", "cache/archives/partial", "parts"):
        (work / name).mkdir(parents=True)
    for number, (suffix, text) in enumerate(archives(suite)):
        (work / "parts" / f"{number}{suffix}").write_text(text)
    options = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": work / "parts",
        "Dir::State::Lists": work / "lists",
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "",
    }
    return ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items())]


def archives(suite: str, etc: Path = Path("/etc/apt")) -> Iterator[tuple[str, str]]:
    """Yield a file's suffix and text for each of the machine's files of Debian's own archives."""
    if suite:
        # The main archive is at the same place for all suites, that of security fixes is not.
        yield ".list", f"deb-src {main_archive(etc)} {suite} main\n"
        return
    for path in debian_lists(etc):
        text = path.read_text()
        if path.suffix == ".sources":
            yield ".sources", re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.MULTILINE)
        else:
            yield ".list", re.sub(r"^deb\s", "deb-src ", text, flags=re.MULTILINE)


def main_archive(etc: Path) -> str:
    """Return the address of the archive that this machine has Debian from."""
    for path in debian_lists(etc):
        for address in re.findall(r"https?://\S+/debian\b/?(?=\s)", path.read_text() + "\n"):
            return str(address)
    raise NotInTheArchive(
        "cannot find Debian's archive",
        f"no file of {etc} names it",
        f"add a mirror of Debian to {etc}/sources.list; sources.list(5) has examples",
    )


def debian_lists(etc: Path) -> list[Path]:
    return [
        path
        for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
        if path.is_file()
        and path.suffix in (".list", ".sources")
        and ("debian" in path.name or "debian" in path.read_text())
    ]


def run(*argv: str, cwd: Path) -> None:
    """Run one of Debian's tools. Raises NotInTheArchive with what it said last if it fails."""
    if shutil.which(argv[0]) is None:
        raise NotInTheArchive(
            "cannot fetch Debian's source packages",
            f"{argv[0]} is not installed",
            "use Debian, and install dpkg-dev",
        )
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=APT_TIMEOUT,
            check=False,
        )
        said, failed = done.stderr.strip() or done.stdout.strip(), done.returncode != 0
    except subprocess.TimeoutExpired:
        said, failed = f"no end after {APT_TIMEOUT:.0f} s", True
    if failed:
        raise NotInTheArchive(
            f"{argv[0]} {argv[-2]} {argv[-1]} failed",
            "; ".join(said.splitlines()[-3:]),
            "check the network and the apt sources of this machine (apt-get update)",
        )
