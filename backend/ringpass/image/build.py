# SPDX-License-Identifier: BSD-2-Clause
"""Builds guest images and keeps them by content.

The key of an image is a hash of everything that goes into it: the recipe, the files of `rootfs/`
and `tools/`, the shared headers, the exact packages, the compiler, and this package's own source.
An image in the cache is therefore never stale, and building one twice gives the same bytes.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from ringpass import paths
from ringpass.errors import ConfigError, RingpassError
from ringpass.image import cpio, debian, driver, modules
from ringpass.image import recipe as recipes
from ringpass.image.command import first_line, run
from ringpass.image.lock import locked
from ringpass.image.recipe import Recipe
from ringpass.image.tree import Tree, matcher, skeleton, unpack

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction of the build (0 to 1) that is behind it."""

COMPILER = "cc"
COMPILE_FLAGS = (
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-static",
    "-s",
    "-Wl,--build-id=none",
)
COMPRESSOR = ("lz4", "-l", "-9", "-c")


@dataclass(frozen=True)
class Image:
    """A guest image in the cache: a kernel for QEMU, one for User-mode Linux, one initramfs."""

    name: str
    key: str
    kernel: Path
    initrd: Path
    uml: Path
    manifest: Path


@dataclass(frozen=True)
class Inputs:
    """Everything that decides the bytes of an image."""

    name: str
    directory: Path
    recipe: Recipe
    resolved: debian.Resolved

    def description(self) -> dict[str, object]:
        """Return what the manifest records and the key is made of."""
        base = self.directory.parent
        sources = [path for tool in self.recipe.tools for path in tool_inputs(self.directory, tool)]
        rootfs = [path for path in (self.directory / "rootfs").rglob("*") if path.is_file()]
        python = [pair for name in self.recipe.python for pair in python_files(name, base)]
        with_driver = any(kernel.driver for kernel in self.recipe.kernel.values())
        return {
            "name": self.name,
            "recipe": msgspec.to_builtins(self.recipe),
            "packages": {
                package.name: {"version": package.version, "sha256": package.sha256}
                for package in self.resolved.packages.values()
            },
            "tools": hashes(list(set(sources)), base),
            "rootfs": hashes(rootfs, base),
            "python": {path: debian.sha256_of(file) for path, file in python},
            "driver": driver.source_files(self.directory) if with_driver else {},
            "builder": hashes([*Path(__file__).parent.glob("*.py")], Path(__file__).parent),
            "programs": {
                COMPILER: first_line(COMPILER, "--version"),
                COMPRESSOR[0]: first_line(COMPRESSOR[0], "--version"),
            },
        }


def ensure(
    name: str = "guest", *, progress: Progress | None = None, cache: Path | None = None
) -> Image:
    """Return the image of recipe `name`, building it first if the cache does not have it.

    `cache` is the directory for images and packages, by default `paths.cache_dir()`. Safe to call
    from several processes at once: one builds, the others wait. Raises RingpassError.
    """
    report = progress or (lambda _text, _fraction: None)
    cache = cache or paths.cache_dir()
    directory = recipes.images_dir()
    recipe = recipes.load(name, directory)
    apt = debian.Apt(cache / "apt")
    report("resolving packages", 0.0)
    inputs = resolve(apt, name, directory, recipe)
    try:
        return built(inputs, apt, cache, report)
    except debian.PackageError:
        if apt.private:
            raise
        # The archive has replaced a version that the host's package lists still name.
        apt.refresh()
        return built(resolve(apt, name, directory, recipe), apt, cache, report)


def module(
    name: str = "guest", *, progress: Progress | None = None, cache: Path | None = None
) -> Path:
    """Return ringpass.ko for the QEMU kernel of recipe `name`; build it if the cache lacks it.

    Takes seconds where an image takes ten. Raises RingpassError with the compiler's words.
    """
    report = progress or (lambda _text, _fraction: None)
    cache = cache or paths.cache_dir()
    directory = recipes.images_dir()
    package = recipes.load(name, directory).kernel["qemu"].package
    apt = debian.Apt(cache / "apt")
    report("resolving packages", 0.0)
    resolved = debian.resolve(apt, set(), {package}, {package})
    packages = [resolved.packages[header] for header in resolved.headers[package]]
    report("fetching the kernel's headers", 0.1)
    debs = debian.fetch(apt, packages, cache / "debs")
    report("compiling the guest's driver", 0.5)
    return driver.module(debs.values(), cache, directory)


def newest(name: str = "guest", *, cache: Path | None = None) -> Image | None:
    """Return the image of recipe `name` that was built last; it may be stale. None if none was."""
    found = []
    for manifest in ((cache or paths.cache_dir()) / "images").glob("*/manifest.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            if json.loads(manifest.read_text())["name"] == name:
                found.append((manifest.stat().st_mtime, manifest.parent))
    return image_at(max(found)[1], name) if found else None


def prune(*, cache: Path | None = None) -> list[Path]:
    """Remove what only older images need: all but the newest of each recipe, and what made them.

    Guests that run keep what they have, except that User-mode Linux cannot reboot without its
    initramfs. Returns what was removed.
    """
    cache = cache or paths.cache_dir()
    manifests: dict[str, list[Path]] = {}
    for manifest in (cache / "images").glob("*/manifest.json"):
        manifests.setdefault(json.loads(manifest.read_text())["name"], []).append(manifest)
    kept = {max(of_name, key=lambda path: path.stat().st_mtime) for of_name in manifests.values()}
    needed = {path.parent for path in kept}
    for manifest in kept:
        needed |= ingredients(json.loads(manifest.read_text()), cache)
    old = [path.parent for of_name in manifests.values() for path in of_name]
    for pattern in ("debs/*.deb", "headers/*/", "modules/*/"):
        old += cache.glob(pattern)
    old = [path for path in old if path not in needed]
    for path in old:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return old


def ingredients(manifest: dict[str, Any], cache: Path) -> set[Path]:
    """Return what is kept in `cache` for building the image of this manifest again."""
    debs = {
        name: f"{name}_{package['sha256'][:16]}.deb"
        for name, package in manifest["packages"].items()
    }
    headers = [deb for name, deb in debs.items() if re.match(r"linux-(headers|kbuild)-", name)]
    compiler = manifest["programs"][COMPILER]
    module = driver.module_key(headers, manifest.get("driver", {}), compiler)
    return {
        *(cache / "debs" / deb for deb in debs.values()),
        cache / "headers" / driver.headers_key(headers),
        cache / "modules" / module,
    }


def image_at(place: Path, name: str) -> Image:
    return Image(
        name=name,
        key=place.name,
        kernel=place / "kernel",
        initrd=place / "initrd",
        uml=place / "linux.uml",
        manifest=place / "manifest.json",
    )


def resolve(apt: debian.Apt, name: str, directory: Path, recipe: Recipe) -> Inputs:
    if not {"qemu", "uml"} <= recipe.kernel.keys():
        raise ConfigError(
            f"the image recipe {name!r} is not complete",
            "it needs the tables [kernel.qemu] and [kernel.uml], of its own or by `extends`",
        )
    kernels = {kernel.package for kernel in recipe.kernel.values()}
    with_driver = {kernel.package for kernel in recipe.kernel.values() if kernel.driver}
    resolved = debian.resolve(apt, set(recipe.packages), kernels, with_driver)
    return Inputs(name, directory, recipe, resolved)


def built(inputs: Inputs, apt: debian.Apt, cache: Path, report: Progress) -> Image:
    description = inputs.description()
    key = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]
    place = cache / "images" / key
    image = image_at(place, inputs.name)
    if not image.manifest.exists():
        with locked(place.with_suffix(".lock")):
            # Somebody else may have built it while we waited for the lock.
            if not image.manifest.exists():
                build(inputs, description, apt, cache, place, report)
    report("image is ready", 1.0)
    return image


def build(
    inputs: Inputs,
    description: dict[str, object],
    apt: debian.Apt,
    cache: Path,
    place: Path,
    report: Progress,
) -> None:
    """Build into a directory beside `place`, then rename: `place` is complete or absent."""
    partial = place.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)

    packages = list(inputs.resolved.packages.values())
    lacking = debian.missing(packages, cache / "debs")
    megabytes = sum(package.size for package in lacking) / 1e6
    report(f"fetching {len(lacking)} packages ({megabytes:.0f} MB)", 0.05)
    debs = debian.fetch(apt, packages, cache / "debs")
    tree = userland(inputs, debs, report)
    releases = kernels(inputs, debs, tree, partial, cache, report)
    compile_tools(inputs, tree, report)
    with tempfile.TemporaryDirectory() as staging:
        root = Path(staging)
        tree.write_to(root)
        link_busybox(root, tree)
        report("checking libraries", 0.75)
        check_libraries(root, tree)
        report("compiling Python's library", 0.8)
        compile_python(root, tree)
    report("compressing", 0.95)
    compress(tree, partial / "initrd")
    outputs = hashes([*partial.iterdir()], partial)
    manifest = {**description, "releases": releases, "outputs": outputs}
    (partial / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    partial.rename(place)


def userland(inputs: Inputs, debs: dict[str, Path], report: Progress) -> Tree:
    tree = skeleton()
    dropped = matcher(inputs.recipe.drop)
    for name in inputs.recipe.packages:
        report(f"unpacking {name}", 0.5)
        unpack(debs[name], tree, dropped)
    tree.copy_from(inputs.directory / "rootfs")
    for name in inputs.recipe.python:
        for path, file in python_files(name, inputs.directory.parent):
            tree.file(f"usr/lib/python3/dist-packages/{path}", file.read_bytes())
    for path, target in inputs.recipe.links.items():
        tree.link(path, target)
    return tree


def python_files(name: str, base: Path) -> list[tuple[str, Path]]:
    """Return path below dist-packages and file of each module, of the tree's or the installed."""
    directory = base / "guestdrv" / name
    if not directory.is_dir():
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ConfigError(
                f"the image is to have the Python package {name!r}",
                "there is none, neither beside images/ nor installed",
                "correct `python` in the recipe",
            )
        directory = Path(spec.origin).parent
    return [
        (f"{name}/{path.relative_to(directory).as_posix()}", path)
        for path in sorted(directory.rglob("*.py"))
    ]


def kernels(
    inputs: Inputs,
    debs: dict[str, Path],
    tree: Tree,
    directory: Path,
    cache: Path,
    report: Progress,
) -> dict[str, str]:
    """Write both kernels to `directory`, add their modules to `tree`, return their releases."""
    releases = {}
    for flavour, output in (("qemu", "kernel"), ("uml", "linux.uml")):
        kernel = inputs.recipe.kernel[flavour]
        package = inputs.resolved.content[kernel.package]
        report(f"unpacking {package}", 0.6)
        content = Tree()
        unpack(debs[package], content, lambda _path: False)
        matches = matcher([kernel.file])
        found = [entry for path, entry in content.files() if matches(path)]
        if len(found) != 1:
            raise ConfigError(
                f"cannot find the kernel in the package {package}",
                f"{len(found)} files match {kernel.file}",
                "correct `file` in the recipe",
            )
        (directory / output).write_bytes(found[0].data)
        (directory / output).chmod(0o755)
        if kernel.driver:
            report("compiling the guest's driver", 0.65)
            headers = [debs[name] for name in inputs.resolved.headers[kernel.package]]
            built = driver.module(headers, cache, inputs.directory)
            modules.add(kernel, content, driver.NAME, built.read_bytes())
            kernel = msgspec.structs.replace(kernel, extra=(*kernel.extra, driver.NAME))
        releases[flavour] = modules.select(kernel, content, tree)
    return releases


def compile_tools(inputs: Inputs, tree: Tree, report: Progress) -> None:
    for tool in inputs.recipe.tools:
        report(f"compiling {tool}", 0.7)
        with tempfile.TemporaryDirectory() as directory:
            output = Path(directory) / tool
            run(*compile_command(inputs.directory, tool), "-o", str(output))
            tree.file(f"usr/bin/{tool}", output.read_bytes(), 0o755)


def compile_command(images: Path, tool: str) -> list[str]:
    """Return the command for a tool: all C files of its directory and of tools/common."""
    tools = images / "tools"
    headers = (tools / "common", abi_dir(images), netmap_dir(images))
    includes = [f"-I{directory}" for directory in headers]
    sources = sorted([*(tools / tool).glob("*.c"), *(tools / "common").glob("*.c")])
    return [COMPILER, *COMPILE_FLAGS, *includes, *map(str, sources)]


def tool_inputs(images: Path, tool: str) -> list[Path]:
    """Return the files that a tool is made of, as its compiler sees them; system headers not."""
    rules = run(*compile_command(images, tool), "-MM").replace("\\\n", " ")
    words = [word for rule in rules.splitlines() for word in rule.partition(":")[2].split()]
    return [Path(word) for word in words]


def abi_dir(images: Path) -> Path:
    """Return where the headers are that host, guest and tools share: beside images/."""
    return images.parent / "csrc/abi"


def netmap_dir(images: Path) -> Path:
    """Return where netmap's headers for programs are: in the source tree, or in the package.

    They are installed once: an editable install knows a directory by one place.
    """
    beside = images.parent / "csrc/netmap_shim/include"
    return beside if beside.is_dir() else Path(str(resources.files("ringpass"))) / "include"


def link_busybox(root: Path, tree: Tree) -> None:
    """Give each applet of busybox a link, unless a package brought the real program."""
    if "usr/bin/busybox" not in tree:
        return
    for applet in run(str(root / "usr/bin/busybox"), "--list").split():
        if f"usr/bin/{applet}" not in tree and f"usr/sbin/{applet}" not in tree:
            tree.link(f"usr/bin/{applet}", "busybox")


def check_libraries(root: Path, tree: Tree) -> None:
    """Raise ConfigError if a program or library of the tree needs a library that is not there."""
    present = {Path(path).name for path, _entry in tree.sorted()}
    programs = [
        path
        for path, entry in tree.files()
        if entry.data.startswith(b"\x7fELF") and not path.startswith("usr/lib/modules/")
    ]
    output = run("readelf", "--dynamic", "--wide", *programs, cwd=root)
    missing: dict[str, str] = {}
    program = programs[0] if programs else ""
    for line in output.splitlines():
        if match := re.match(r"File: (.*)", line):
            program = match[1]
        elif (match := re.search(r"\(NEEDED\).*\[(.*)\]", line)) and match[1] not in present:
            missing[program] = match[1]
    if missing:
        listed = ", ".join(f"{path} needs {library}" for path, library in sorted(missing.items()))
        raise ConfigError(
            "the image lacks shared libraries",
            listed,
            "add the package that has the library to the recipe, or the program to `drop`",
        )


def compile_python(root: Path, tree: Tree) -> None:
    """Add a .pyc beside the modules of the image's Python, made by the image's own interpreter.

    They are trusted without looking at the source (`unchecked-hash`): no time stamp goes in, and
    an import in a guest, where every system call counts, reads one file instead of two.
    """
    libraries = sorted((root / "usr/lib").glob("python3.*"))
    for library in libraries:
        loader = root / "usr/lib64/ld-linux-x86-64.so.2"
        search = ":".join(str(root / path) for path in ("usr/lib/x86_64-linux-gnu", "usr/lib64"))
        run(
            str(loader),
            "--library-path",
            search,
            str(root / "usr/bin" / library.name),
            *("-S", "-m", "compileall", "-q", "-j", "1"),
            *("--invalidation-mode", "unchecked-hash"),
            *("-s", str(root), "-p", "/"),
            str(root / "usr/lib"),
            env={"PYTHONHOME": str(root / "usr"), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        )
    for compiled in (root / "usr/lib").rglob("*.pyc"):
        tree.file(compiled.relative_to(root).as_posix(), compiled.read_bytes())


def compress(tree: Tree, output: Path) -> None:
    with (
        output.open("wb") as file,
        subprocess.Popen(COMPRESSOR, stdin=subprocess.PIPE, stdout=file) as process,
    ):
        assert process.stdin is not None
        for chunk in cpio.archive(tree):
            process.stdin.write(chunk)
    if process.returncode != 0:
        raise RingpassError(
            "cannot compress the initramfs",
            f"{COMPRESSOR[0]} left with code {process.returncode}",
            "look at the free space of the cache directory",
        )


def hashes(files: list[Path], base: Path) -> dict[str, str]:
    """Return the SHA-256 of each file by its path below `base`, x for executable files."""
    return {
        path.relative_to(base).as_posix() + ("*" if os.access(path, os.X_OK) else ""): (
            debian.sha256_of(path)
        )
        for path in sorted(files)
    }
