# SPDX-License-Identifier: BSD-2-Clause
"""Check the guest's driver: compile it with all warnings, and read it with sparse and checkpatch.

Whatever they say is an error. checkpatch.pl is taken out of Debian's package of the kernel's
sources, once. What has passed is remembered under a hash of all that was looked at.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ringpass import paths
from ringpass.errors import RingpassError
from ringpass.image import debian, driver, recipe
from ringpass.image.command import first_line
from ringpass.image.lock import locked

KERNEL_SOURCE = "linux-source-6.1"
WANTED = ("checkpatch.pl", "spelling.txt", "const_structs.checkpatch")

IGNORED = (
    "CONSTANT_COMPARISON",  # takes LINUX_VERSION_CODE for one, which it is
    "LINUX_VERSION_CODE",  # the driver is to build for kernels that differ
    "SPDX_LICENSE_TAG",  # wants // in C files; here the tree's own tests look after the tag
)


def said(*argv: str, cwd: Path | None = None) -> str:
    """Return all that a program prints, whether it fails or not; empty is what we want."""
    environment = {**os.environ, "LC_ALL": "C", **driver.QUIET}
    done = subprocess.run(
        argv,
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode and not done.stdout:
        return f"{argv[0]} left with code {done.returncode}\n"
    return done.stdout


def checkpatch(apt: debian.Apt, cache: Path) -> Path:
    """Return checkpatch.pl, from the cache or from the archive."""
    place = cache / KERNEL_SOURCE
    with locked(place.with_suffix(".lock")):
        if not (place / "checkpatch.pl").exists():
            with tempfile.TemporaryDirectory(dir=cache) as directory:
                take_out(apt, Path(directory))
                (Path(directory) / "scripts").rename(place)
    return place / "checkpatch.pl"


def take_out(apt: debian.Apt, directory: Path) -> None:
    """Leave WANTED in directory/scripts; the package itself, 140 MB, is not kept."""
    resolved = debian.resolve(apt, {KERNEL_SOURCE}, set(), set())
    deb = debian.fetch(apt, resolved.packages.values(), directory / "debs")[KERNEL_SOURCE]
    members = " ".join(f"'*/scripts/{name}'" for name in WANTED)
    words = said(
        *("bash", "-o", "pipefail", "-c"),
        f"dpkg-deb --fsys-tarfile {deb} | tar -xO --wildcards './usr/src/*.tar.xz' |"
        f" tar -xJ --strip-components=1 --wildcards {members}",
        cwd=directory,
    )
    if words:
        raise RingpassError(f"cannot take checkpatch.pl out of {deb.name}", words)


def check(source: driver.Source, build_in: Path, script: Path) -> str:
    """Return what the three say about the sources: nothing, if all is well."""
    files = [name for name in source.files if "/" not in name and name.endswith((".c", ".h"))]
    style = ("--no-tree", "--file", "--terse", "--show-types", "--quiet", "--max-line-length=100")
    words = said(
        *("perl", str(script), *style, "--ignore", ",".join(IGNORED), *files),
        cwd=source.directory,
    )
    complaints = [line for line in words.splitlines(True) if not line.startswith("total: ")]
    warnings = ("W=1", "C=2", "CF=-D__CHECK_ENDIAN__")
    words = said(
        *(*driver.MAKE, "-C", str(source.directory), f"KDIR={build_in}"),
        *(*driver.REPRODUCIBLE, *warnings),
    )
    return "".join(complaints) + words


def main() -> int:
    cache = paths.cache_dir()
    apt = debian.Apt(cache / "apt")
    package = recipe.load("guest", recipe.images_dir()).kernel["qemu"].package
    resolved = debian.resolve(apt, set(), {package}, {package})
    packages = [resolved.packages[name] for name in resolved.headers[package]]
    with tempfile.TemporaryDirectory() as directory:
        source = driver.Source.copy(Path(directory))
        tools = (first_line("sparse", "--version"), Path(__file__).read_text("utf-8"))
        key = driver.module_key((each.deb for each in packages), source.files, "\n".join(tools))
        passed = cache / "checked" / key
        if passed.exists():
            return 0
        debs = debian.fetch(apt, packages, cache / "debs")
        words = check(source, driver.headers(debs.values(), cache), checkpatch(apt, cache)).replace(
            f"{directory}/", "guestdrv/linux/"
        )
    print(words, end="")
    if words:
        return 1
    passed.parent.mkdir(exist_ok=True)
    passed.touch()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RingpassError as error:
        sys.exit(str(error))
