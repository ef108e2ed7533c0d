# SPDX-License-Identifier: BSD-2-Clause
"""Debian packages without root: which version, where from, fetched and verified.

The package lists of the host are used as they are; when they lack a package, or name a version
that the archive has replaced meanwhile, the lists are fetched into a private apt state below the
cache directory.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from ringpass.errors import RingpassError
from ringpass.image.lock import locked
from ringpass.image.remembered import answer, fingerprint

DOWNLOAD_TIMEOUT = 600.0
"""Seconds that apt may take for the package lists or for one package."""


class Package(msgspec.Struct, frozen=True):
    """One package, exactly: its name, version, size in bytes, and the SHA-256 of its .deb."""

    name: str
    version: str
    sha256: str
    size: int
    depends: str

    @property
    def deb(self) -> str:
        """The name of its file in our cache: by content, so that it can never be stale."""
        return f"{self.name}_{self.sha256[:16]}.deb"


class PackageError(RingpassError):
    """A package cannot be found, fetched or trusted."""


class Apt:
    """apt with the host's sources, its files below `directory`, and no belief in what is installed.

    What the host has installed must not matter: an image is made from the archive. The package
    lists are the host's until `use_private_lists` or `refresh`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.status = directory / "status"
        self.private = False

    def show(self, names: set[str]) -> dict[str, Package]:
        """Return the candidate version of each package that apt knows; others are absent."""
        if not names:
            return {}
        question = ["apt-cache", "show", "--no-all-versions", *sorted(names)]
        memory = self.directory / ("shown-private.json" if self.private else "shown.json")
        text = answer(
            memory,
            fingerprint(self.sources()),
            question,
            lambda: self.run(*question, check=False),
        )
        packages = (parse_stanza(stanza) for stanza in text.split("\n\n") if stanza.strip())
        return {package.name: package for package in packages}

    def sources(self) -> list[Path]:
        """Return the directories of apt's configuration and of the package lists that it reads."""
        names = ("Dir::Etc", "Dir::State::lists")
        said = self.run("apt-config", "shell", *(w for name in names for w in ("D", f"{name}/d")))
        return [Path(word) for word in re.findall(r"^D='(.*)'$", said, re.MULTILINE)]

    def use_private_lists(self) -> bool:
        """Use the private lists from now on, as `refresh` left them; False if it never ran."""
        self.private = (self.directory / "lists").is_dir()
        return self.private

    def refresh(self) -> None:
        """Fetch the package lists into the private state, and use them from now on."""
        (self.directory / "lists/partial").mkdir(parents=True, exist_ok=True)
        self.private = True
        with locked(self.directory / "update.lock"):  # apt would fail rather than wait
            self.run("apt-get", "update", "--quiet")

    def download(self, packages: Iterable[Package], directory: Path) -> None:
        """Fetch the packages into `directory`, all at once: apt takes a second to get going."""
        wanted = [f"{package.name}={package.version}" for package in packages]
        self.run("apt-get", "download", "--quiet", *wanted, cwd=directory)

    def run(self, program: str, *args: str, check: bool = True, cwd: Path | None = None) -> str:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.status.touch()
        options = [
            f"Dir::State::status={self.status}",
            "APT::Sandbox::User=",
            f"Dir::Cache::pkgcache={self.directory / 'pkgcache.bin'}",
        ]
        if self.private:
            (self.directory / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
            options += [
                f"Dir::State={self.directory}",
                f"Dir::State::lists={self.directory / 'lists'}/",
                f"Dir::Cache={self.directory / 'cache'}/",
            ]
        argv = [program, *(word for option in options for word in ("-o", option)), *args]
        if shutil.which(program) is None:
            raise PackageError(
                "cannot look up Debian packages",
                f"{program} is not installed",
                "build guest images on Debian 12, or copy the cache of a machine that did",
            )
        try:
            done = subprocess.run(
                argv,
                cwd=cwd,
                env={**os.environ, "LC_ALL": "C"},
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PackageError(
                f"{program} {args[0]} did not finish",
                f"no end after {DOWNLOAD_TIMEOUT:.0f} s",
                "check the network and the apt sources of this machine",
            ) from None
        if check and done.returncode != 0:
            raise PackageError(
                f"{program} {' '.join(args)} failed",
                last_lines(done.stderr) or f"exit code {done.returncode}",
                "check the network and the apt sources of this machine (apt-get update)",
            )
        return done.stdout


def parse_stanza(stanza: str) -> Package:
    """Read the fields that matter of one paragraph that `apt-cache show` prints."""
    fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, re.MULTILINE))
    return Package(
        name=fields["Package"],
        version=fields["Version"],
        sha256=fields.get("SHA256", ""),
        size=int(fields.get("Size", 0)),
        depends=fields.get("Depends", ""),
    )


class Resolved(msgspec.Struct, frozen=True):
    """The packages of an image by name.

    Of metapackages it says which package has the content, and which have a kernel's headers.
    """

    packages: dict[str, Package]
    content: dict[str, str]
    headers: dict[str, tuple[str, ...]]


def resolve(apt: Apt, names: set[str], meta: set[str], with_headers: set[str]) -> Resolved:
    """Find the version of every package of `names`, and of what the packages `meta` stand for.

    `with_headers` are those kernels of `meta` that modules are to be compiled for. Tries the lists
    at hand before fetching new ones. Raises PackageError naming every package that the archive does
    not have.
    """
    better_lists: list[Callable[[], object]] = [apt.refresh]
    if not apt.private:
        better_lists.insert(0, apt.use_private_lists)
    for get_better in better_lists:
        try:
            return resolve_once(apt, names, meta, with_headers)
        except PackageError:
            get_better()
    return resolve_once(apt, names, meta, with_headers)


def resolve_once(apt: Apt, names: set[str], meta: set[str], with_headers: set[str]) -> Resolved:
    known = apt.show(names | meta)
    require(known, names | meta)
    content = {name: followed(known[name]) for name in meta}
    known |= apt.show(set(content.values()) - known.keys())
    wanted = names | set(content.values())
    require(known, wanted)
    headers = {name: headers_of(apt, known[content[name]]) for name in sorted(with_headers)}
    packages = {name: known[name] for name in wanted}
    packages |= {package.name: package for of_one in headers.values() for package in of_one}
    return Resolved(
        dict(sorted(packages.items())),
        content,
        {name: tuple(package.name for package in of_one) for name, of_one in headers.items()},
    )


def headers_of(apt: Apt, kernel: Package) -> list[Package]:
    """Return the packages that modules for the kernel of exactly this package are built with."""
    name = kernel.name.replace("linux-image-", "linux-headers-", 1)
    found = apt.show({name})
    require(found, {name})
    if found[name].version != kernel.version:
        raise PackageError(
            f"cannot build modules for {kernel.name}",
            f"the kernel is version {kernel.version}, {name} is {found[name].version}",
            "run apt-get update",
        )
    parts = set(re.findall(r"linux-(?:headers|kbuild)-[^\s,|]+", found[name].depends))
    found |= apt.show(parts)
    require(found, {name} | parts)
    return [found[part] for part in sorted({name} | parts)]


def followed(package: Package) -> str:
    """Return the versioned package that a metapackage such as linux-image-amd64 stands for."""
    for match in re.finditer(r"(\S+) \(= [^)]*\)", package.depends):
        if re.match(r"linux-image-\d", match[1]):
            return match[1]
    return package.name


def require(known: dict[str, Package], wanted: set[str]) -> None:
    lacking = sorted(name for name in wanted if name not in known or not known[name].sha256)
    if lacking:
        raise PackageError(
            f"cannot resolve the Debian packages of the image: {', '.join(lacking)}",
            "the package lists of this machine do not have them",
            "use Debian 12 (bookworm) with its main archive in the apt sources; run apt-get update",
        )


def fetch(apt: Apt, packages: Iterable[Package], cache: Path) -> dict[str, Path]:
    """Return the verified .deb of each package, by package name; fetch those the cache lacks.

    Raises PackageError.
    """
    debs = {package.name: cache / package.deb for package in packages}
    lacking = [package for package in packages if not genuine(cache / package.deb, package)]
    if not lacking:
        return debs
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="partial-") as directory:
        apt.download(lacking, Path(directory))
        for package in lacking:
            move_genuine(package, Path(directory), cache)
    return debs


def missing(packages: Iterable[Package], cache: Path) -> list[Package]:
    """Return the packages whose .deb the cache does not have."""
    return [package for package in packages if not (cache / package.deb).exists()]


def move_genuine(package: Package, directory: Path, cache: Path) -> None:
    found = list(directory.glob(f"{package.name}_*.deb"))
    if len(found) != 1 or not genuine(found[0], package):
        raise PackageError(
            f"the Debian package {package.name} {package.version} is not what apt promised",
            f"no file with the SHA-256 {package.sha256} arrived",
            "run apt-get update; if it persists, do not trust this mirror",
        )
    found[0].replace(cache / package.deb)


def genuine(deb: Path, package: Package) -> bool:
    return deb.exists() and sha256_of(deb) == package.sha256


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def last_lines(text: str, count: int = 3) -> str:
    return "; ".join(text.strip().splitlines()[-count:])
