# SPDX-License-Identifier: BSD-2-Clause
"""Builds the guest's driver, ringpass.ko, for exactly the kernel of an image.

The kernel's headers come from Debian packages, which are unpacked in the cache, not installed. They
and the module are kept under a hash of what they were made of.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ringpass.image import debian, recipe
from ringpass.image.command import first_line, run
from ringpass.image.lock import locked

NAME = "ringpass"

REPRODUCIBLE = ("KCFLAGS=-g0", "BTF=CONFIG_DEBUG_INFO_BTF_MODULES=")
"""What `make` is told so that a module's bytes do not tell where it was built, or with which tools.

Debugging information would name directories; type information for BPF needs a tool.
"""

MAKE = ("make", "--silent", "--no-print-directory")
QUIET = {"MAKEFLAGS": ""}
"""Whoever called us may have been called by `make`, whose flags are not for this one."""


@dataclass(frozen=True)
class Source:
    """A copy of the driver's sources that is complete in itself, and a hash of each file."""

    directory: Path
    files: Mapping[str, str]

    @classmethod
    def copy(cls, directory: Path, images: Path | None = None) -> "Source":
        """Copy what belongs to the driver into `directory`, from beside the directory `images`."""
        tree = (images or recipe.images_dir()).parent / "guestdrv/linux"
        run(*MAKE, "-C", str(tree), "source", f"TO={directory}", env=QUIET)
        paths = sorted(path for path in directory.rglob("*") if path.is_file())
        return cls(
            directory,
            {path.relative_to(directory).as_posix(): debian.sha256_of(path) for path in paths},
        )


def source_files(images: Path) -> dict[str, str]:
    """Return the hash of each file that the driver is made of."""
    with tempfile.TemporaryDirectory() as directory:
        return dict(Source.copy(Path(directory), images).files)


def headers(debs: Iterable[Path], cache: Path) -> Path:
    """Return the directory that kernel modules are built in, for `make -C`.

    `debs` are the packages of a kernel's headers, as `debian.Resolved.headers` names them, fetched;
    they are unpacked below `cache`, once.
    """
    debs = sorted(debs)
    place = cache / "headers" / headers_key(deb.name for deb in debs)
    if not place.exists():
        with locked(place.with_suffix(".lock")):
            if not place.exists():
                unpack(debs, place)
    return build_directory(place)


def unpack(debs: Iterable[Path], place: Path) -> None:
    partial = place.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for deb in debs:
        run("dpkg-deb", "--extract", str(deb), str(partial))
    # It is one line, which includes the Makefile of all flavours, from where it would be installed.
    makefile = build_directory(partial) / "Makefile"
    makefile.write_text(makefile.read_text().replace(" /usr/", f" {place}/usr/"))
    partial.rename(place)


def build_directory(place: Path) -> Path:
    """Return which of the unpacked directories is the flavour's: the one with its configuration."""
    return next(path.parent for path in (place / "usr/src").glob("*/.config"))


def module(debs: Iterable[Path], cache: Path, images: Path | None = None) -> Path:
    """Return ringpass.ko for the kernel of these headers, built first if the cache lacks it.

    Raises RingpassError with the compiler's words.
    """
    debs = sorted(debs)
    build_in = headers(debs, cache)
    with tempfile.TemporaryDirectory() as directory:
        source = Source.copy(Path(directory), images)
        compiler = first_line("cc", "--version")
        key = module_key((deb.name for deb in debs), source.files, compiler)
        place = cache / "modules" / key
        if not (place / f"{NAME}.ko").exists():
            with locked(place.with_suffix(".lock")):
                make(source.directory, build_in, *REPRODUCIBLE)
                place.mkdir(exist_ok=True)
                partial = place / f"{NAME}.partial"
                shutil.copyfile(source.directory / f"{NAME}.ko", partial)
                partial.rename(place / f"{NAME}.ko")
    return place / f"{NAME}.ko"


def make(directory: Path, build_in: Path, *variables: str) -> str:
    """Build the sources in `directory`; return what the compiler, sparse and modpost said."""
    words = run(*MAKE, "-C", str(directory), f"KDIR={build_in}", *variables, env=QUIET)
    return re.sub(r"^Skipping BTF .*\n", "", words, flags=re.MULTILINE)


def headers_key(debs: Iterable[str]) -> str:
    """Return the name below headers/ of what these packages hold."""
    return digest(sorted(debs))


def module_key(debs: Iterable[str], files: Mapping[str, str], compiler: str) -> str:
    """Return the name below modules/ of the module that is made of these."""
    sources = [f"{path} {value}" for path, value in sorted(files.items())]
    return digest([*sorted(debs), *sources, compiler])


def digest(words: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
