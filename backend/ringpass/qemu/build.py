# SPDX-License-Identifier: BSD-2-Clause
"""Builds QEMU with our patches, and keeps it by content.

Debian's source package, the series, the devices of a small PC: what virtual machines with our ports
need, and no more, for a build of minutes. Nothing is installed; firmware is that of Debian's own
QEMU. The key of a build is a hash of all that goes into it.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from ringpass import paths
from ringpass.errors import NotFound, RingpassError
from ringpass.image.build import netmap_dir
from ringpass.image.command import first_line
from ringpass.image.debian import sha256_of
from ringpass.image.lock import locked
from ringpass.image.recipe import images_dir
from ringpass.qemu import series, source

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction of the build (0 to 1) that is behind it."""

PROGRAM = "qemu-system-x86_64"

CONFIGURE = (
    "--target-list=x86_64-softmmu",
    "--without-default-features",
    "--without-default-devices",
    "--with-devices-x86_64=ringpass",
    "--enable-system",
    "--disable-user",
    "--enable-tcg",
    "--enable-kvm",
    "--enable-vhost-user",
    "--enable-vhost-net",
    "--enable-netmap",
    "--disable-docs",
    "--disable-tools",
    "--disable-werror",
    "--disable-debug-info",
    "-Doptimization=2",
    # Not below the prefix, /usr/local: what is there would be looked for beside the program.
    "--firmwarepath=/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu",
)

QOS_TEST = "qos-test"
"""QEMU's program of all device tests that are part of its graph: the series adds some to it."""

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
"""QEMU is configured with the system's Python and meson, whatever environment calls us."""


def program(*, cache: Path | None = None) -> Path:
    """Return the patched QEMU that belongs to this version of the patches.

    Raises NotFound if it has not been built.
    """
    cache = cache or paths.cache_dir()
    if (description := source.cached("qemu", cache=cache)) is not None:
        path = place_of(description, cache) / PROGRAM
        if path.exists():
            return path
    raise NotFound(
        "there is no QEMU with ringpass's devices",
        "it has not been built since the patches changed last, or not at all",
        "make qemu",
    )


def ensure(progress: Progress | None = None, *, cache: Path | None = None) -> Path:
    """Return the patched QEMU, built first if the cache does not have it: minutes, on two cores.

    Safe to call from several processes at once: one builds, the others wait. Raises RingpassError.
    """
    report = progress or (lambda _text, _fraction: None)
    cache = cache or paths.cache_dir()
    if source.cached("qemu", cache=cache) is None:
        report("fetching the source package", 0.01)
    description = source.source("qemu", cache=cache)
    place = place_of(description, cache)
    if not (place / PROGRAM).exists():
        with locked(cache / "qemu" / "lock"):
            # Somebody else may have built it while we waited for the lock.
            if not (place / PROGRAM).exists():
                build(description, place, report)
    return place / PROGRAM


def prune(*, cache: Path | None = None) -> list[Path]:
    """Remove builds that newer ones have replaced, and what is left of one that was broken off.

    The build for this version of the patches stays, the one that was made last, and those that run.
    Waits for a build that is under way. Returns what was removed.
    """
    cache = cache or paths.cache_dir()
    description = source.cached("qemu", cache=cache)
    with locked(cache / "qemu" / "lock"):
        programs = sorted(
            (cache / "qemu").glob(f"*/{PROGRAM}"), key=lambda path: path.stat().st_mtime
        )
        kept = {path.parent for path in programs[-1:]}
        if description is not None:
            kept.add(place_of(description, cache))
        used = running()
        kept |= {path.parent for path in programs if os.path.realpath(path) in used}
        old = [path.parent for path in programs if path.parent not in kept]
        old += (cache / "qemu").glob("partial")
        for path in old:
            shutil.rmtree(path)
    return old


def running() -> set[str]:
    """Return the paths of the programs that run; those of other users as they were called."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name = (process / "cmdline").read_bytes().partition(b"\0")[0]
            found.add(os.path.realpath(os.fsdecode(name)))
            found.add(os.path.realpath(process / "exe"))
    return found


def qtest(name: str, *, cache: Path | None = None) -> Path:
    """Return one of QEMU's own test programs, built along with `program`."""
    return program(cache=cache).parent / "qtest" / name


def qtests() -> list[str]:
    """Return the names of the test programs that are built along."""
    new = [re.fullmatch(r"tests/qtest/([\w-]+-test)\.c", path) for path in series.new_files()]
    return [QOS_TEST, *(found[1] for found in new if found)]


def place_of(description: Path, cache: Path) -> Path:
    """Return where in `cache` the build of that source package is, or will be."""
    return cache / "qemu" / key(description)


def key(description: Path) -> str:
    """Return a hash of all that decides how QEMU comes out."""
    files = [*series.patches(), *series.headers(), *netmap_headers(), devices_file()]
    inputs = {
        "source": description.name,
        "files": [(path.name, sha256_of(path)) for path in files],
        "configure": CONFIGURE,
        "compiler": first_line("cc", "--version"),
    }
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]


def devices_file() -> Path:
    """Return the list of devices that are compiled in."""
    return series.patches_dir() / "config" / "ringpass.mak"


def netmap_headers() -> list[Path]:
    return sorted(netmap_dir(images_dir()).rglob("*.h"))


def build(description: Path, place: Path, report: Progress) -> None:
    """Build in a directory beside `place`, then rename: `place` is complete or absent."""
    # Always the same directory, so that a compiler cache knows the files again.
    work = place.parent / "partial"
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True)
    report("unpacking the source package", 0.02)
    tree = source.unpack(description, work)
    report("applying the patches", 0.05)
    series.apply(tree)
    out = configure(tree, report)
    tests = [f"tests/qtest/{name}" for name in qtests()]
    compile_all(out, [PROGRAM, *tests], report)
    made = work / "made"
    (made / "qtest").mkdir(parents=True)
    shutil.copy2(out / PROGRAM, made)
    for test in tests:
        shutil.copy2(out / test, made / "qtest")
    shutil.rmtree(place, ignore_errors=True)
    made.rename(place)
    shutil.rmtree(work)


def configure(tree: Path, report: Progress, *options: str) -> Path:
    """Return a directory in which ninja builds the patched sources in `tree`."""
    report("configuring", 0.06)
    shutil.copy(devices_file(), tree / "configs/devices/x86_64-softmmu")
    csrc, netmap = images_dir().parent / "csrc", netmap_dir(images_dir())
    out = tree / "out"
    out.mkdir()
    done = subprocess.run(
        [
            "../configure",
            f"--cc={compiler()}",
            f"--extra-cflags=-I{csrc} -I{netmap}",
            *CONFIGURE,
            *options,
        ],
        cwd=out,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RingpassError(
            "cannot configure QEMU",
            "\n".join(done.stdout.strip().splitlines()[-15:]),
            "install the Debian packages of scripts/packages-qemu.txt",
        )
    return out


def compile_all(out: Path, targets: list[str], report: Progress) -> None:
    """Have ninja build `targets`. Raises RingpassError with the compiler's words."""
    said: list[str] = []
    with subprocess.Popen(
        # It ends with us, however we end: the next builder clears its directory.
        ["setpriv", "--pdeathsig", "TERM", "ninja", f"-j{os.cpu_count()}", *targets],
        cwd=out,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as ninja:
        assert ninja.stdout is not None
        for line in ninja.stdout:
            if step := re.match(r"\[(\d+)/(\d+)\]", line):
                report("compiling", 0.1 + 0.9 * int(step[1]) / int(step[2]))
            else:
                said.append(line)
    if ninja.returncode != 0:
        raise RingpassError("cannot compile QEMU", "".join(said[-40:]).strip())


def compiler() -> str:
    """Return the compiler, behind a compiler cache if this machine has one."""
    return "ccache cc" if shutil.which("ccache", path=ENVIRONMENT["PATH"]) else "cc"


def environment() -> dict[str, str]:
    return {**ENVIRONMENT, "HOME": str(Path.home())}
