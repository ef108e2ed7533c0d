# SPDX-License-Identifier: BSD-2-Clause
"""The building of images, from a Debian archive of our own: small, local, and as broken as we like.

apt, dpkg-deb, the compiler and lz4 are the real ones; only what they are given is made here.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from ringpass.errors import ConfigError, RingpassError
from ringpass.image import build, debian

pytestmark = pytest.mark.usefixtures("archive", "images")

RECIPE = """
description = "tiny"
packages = ["hello"]
tools = ["answer"]
python = ["ours"]
drop = ["usr/share/*"]
[links]
"usr/bin/hi" = "hello"
[kernel.qemu]
package = "linux-image-tiny"
file = "boot/vmlinuz-*"
modules = "usr/lib/modules/*"
load = ["virtio"]
[kernel.uml]
package = "tiny-uml"
file = "usr/bin/linux.uml"
modules = "usr/lib/uml/modules/*"
load = ["virtio"]
"""

MODULE = b"\x7fELF\0depends=\0"


class Archive:
    """A Debian archive in a directory, which apt is told to use alone."""

    def __init__(self, directory: Path, state: Path) -> None:
        self.directory = directory
        self.directory.mkdir()
        self.stanzas: dict[str, str] = {}
        sources = state / "sources.list"
        sources.write_text(f"deb [trusted=yes] file:{directory} ./\n")
        (state / "lists/partial").mkdir(parents=True)
        self.config = state / "apt.conf"
        self.config.write_text(
            f'Dir::Etc::sourcelist "{sources}";\n'
            'Dir::Etc::sourceparts "/dev/null";\n'
            f'Dir::State::lists "{state}/lists/";\n'
        )

    def add(self, name: str, version: str, files: dict[str, bytes], depends: str = "") -> Path:
        """Build a package, and put it in the archive in place of an older one."""
        root = self.directory / f"build-{name}"
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
            (root / path).chmod(0o755)
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n"
            "Maintainer: nobody <nobody@example.org>\nDescription: a test\n"
        )
        if depends:
            control += f"Depends: {depends}\n"
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN/control").write_text(control)
        deb = self.directory / f"{name}_{version}_amd64.deb"
        options = ("--build", "--root-owner-group", "-Znone")
        subprocess.run(["dpkg-deb", *options, root, deb], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(root)
        for old in self.directory.glob(f"{name}_*.deb"):
            if old != deb:
                old.unlink()
        content = deb.read_bytes()
        self.stanzas[name] = control + (
            f"Filename: ./{deb.name}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
        (self.directory / "Packages").write_text("\n".join(self.stanzas.values()))
        return deb


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    state = tmp_path / "host-apt"
    state.mkdir()
    archive = Archive(tmp_path / "archive", state)
    archive.add("hello", "1.0", {"bin/hello": b"#!/bin/sh\n", "usr/share/doc/hello/x": b"doc"})
    archive.add("linux-image-tiny", "6.1-1", {}, "linux-image-6.1-tiny (= 6.1-1)")
    archive.add(
        "linux-image-6.1-tiny",
        "6.1-1",
        {"boot/vmlinuz-6.1": b"kernel", "lib/modules/6.1/kernel/virtio.ko": MODULE},
    )
    archive.add(
        "tiny-uml",
        "1",
        {"usr/bin/linux.uml": b"uml", "usr/lib/uml/modules/6.0/kernel/virtio.ko": MODULE},
    )
    monkeypatch.setenv("APT_CONFIG", str(archive.config))
    return archive


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with the recipe `tiny`, its rootfs and its tool."""
    images = tmp_path / "tree/images"
    (images / "rootfs").mkdir(parents=True)
    (images / "rootfs/init").write_text("#!/bin/sh\n")
    (images / "tools/answer").mkdir(parents=True)
    (images / "tools/answer/main.c").write_text(
        '#include "answer.h"\nint main(void)\n{\n\treturn ANSWER;\n}\n'
    )
    (tmp_path / "tree/csrc/abi").mkdir(parents=True)
    (tmp_path / "tree/csrc/abi/answer.h").write_text("#define ANSWER 42\n")
    (tmp_path / "tree/csrc/abi/other.h").write_text("#define OTHER 1\n")
    (tmp_path / "tree/guestdrv/ours").mkdir(parents=True)
    (tmp_path / "tree/guestdrv/ours/__init__.py").write_text("ANSWER = 42\n")
    (images / "tiny.toml").write_text(RECIPE)
    monkeypatch.setenv("RINGPASS_IMAGES_DIR", str(images))
    return images


def ensure(cache: Path) -> build.Image:
    return build.ensure("tiny", cache=cache)


def contents(image: build.Image) -> dict[str, bytes]:
    files = (image.kernel, image.initrd, image.uml, image.manifest)
    return {path.name: path.read_bytes() for path in files}


def unpacked(image: build.Image, directory: Path) -> Path:
    """Unpack the initramfs, all but its devices, which only root may make."""
    directory.mkdir()
    archive = subprocess.run(["lz4", "-dc", image.initrd], stdout=subprocess.PIPE, check=True)
    subprocess.run(
        ["cpio", "-id", "--quiet", "--nonmatching", "dev/*"],
        input=archive.stdout,
        cwd=directory,
        check=True,
    )
    return directory


def test_same_input_gives_same_bytes(tmp_path: Path) -> None:
    first, second = ensure(tmp_path / "cache1"), ensure(tmp_path / "cache2")
    assert first.key == second.key
    assert contents(first) == contents(second)


def test_image_holds_what_the_recipe_says(tmp_path: Path) -> None:
    image = ensure(tmp_path / "cache")
    assert image.kernel.read_bytes() == b"kernel"
    assert image.uml.read_bytes() == b"uml"
    root = unpacked(image, tmp_path / "root")
    assert (root / "usr/bin/hello").exists()
    assert (root / "usr/bin/hi").readlink() == Path("hello")
    assert not (root / "usr/share").exists()
    assert subprocess.run([root / "usr/bin/answer"], check=False).returncode == 42
    python = root / "usr/lib/python3/dist-packages"
    assert (python / "ours/__init__.py").read_text() == "ANSWER = 42\n"
    assert (root / "lib/modules/6.1/modules.dep").exists()
    assert (root / "lib/modules/6.0/ringpass.load").read_text() == "virtio\n"


def test_manifest_records_every_package_and_output(archive: Archive, tmp_path: Path) -> None:
    image = ensure(tmp_path / "cache")
    manifest = json.loads(image.manifest.read_text())
    assert manifest["packages"].keys() == {"hello", "linux-image-6.1-tiny", "tiny-uml"}
    for name, package in manifest["packages"].items():
        deb = next(archive.directory.glob(f"{name}_{package['version']}_*.deb"))
        assert package["sha256"] == debian.sha256_of(deb)
    assert manifest["releases"] == {"qemu": "6.1", "uml": "6.0"}
    assert manifest["outputs"]["initrd"] == debian.sha256_of(image.initrd)


def test_second_call_builds_nothing(tmp_path: Path) -> None:
    first = ensure(tmp_path / "cache")
    stamp = first.initrd.stat().st_mtime_ns
    steps: list[str] = []
    build.ensure("tiny", cache=tmp_path / "cache", progress=lambda text, _f: steps.append(text))
    assert first.initrd.stat().st_mtime_ns == stamp
    assert steps == ["resolving packages", "image is ready"]


@pytest.mark.parametrize(
    "change", ["recipe", "tool", "header", "rootfs", "mode", "python", "package"]
)
def test_every_input_changes_the_key(
    archive: Archive, images: Path, tmp_path: Path, change: str
) -> None:
    before = ensure(tmp_path / "cache").key
    if change == "recipe":
        (images / "tiny.toml").write_text(RECIPE.replace('"hi"', '"hey"').replace("hi", "hey"))
    elif change == "tool":
        (images / "tools/answer/main.c").write_text("int main(void)\n{\n\treturn 43;\n}\n")
    elif change == "header":
        (images / "../csrc/abi/answer.h").write_text("#define ANSWER 43\n")
    elif change == "rootfs":
        (images / "rootfs/init").write_text("#!/bin/sh\n:\n")
    elif change == "python":
        (images / "../guestdrv/ours/__init__.py").write_text("ANSWER = 43\n")
    elif change == "mode":
        (images / "rootfs/init").chmod(0o755)
    else:
        # The lists that apt has now name a version that the archive does not have any more.
        archive.add("hello", "1.1", {"bin/hello": b"#!/bin/sh\n:\n"})
        shutil.rmtree(tmp_path / "cache")
    assert ensure(tmp_path / "cache").key != before


def test_header_that_no_tool_reads_does_not_matter(images: Path, tmp_path: Path) -> None:
    before = ensure(tmp_path / "cache").key
    (images / "../csrc/abi/other.h").write_text("#define OTHER 2\n")
    assert ensure(tmp_path / "cache").key == before


def test_package_that_does_not_exist_is_named(images: Path, tmp_path: Path) -> None:
    (images / "tiny.toml").write_text(RECIPE.replace('["hello"]', '["hello", "nosuch", "nor"]'))
    with pytest.raises(debian.PackageError, match="nor, nosuch") as caught:
        ensure(tmp_path / "cache")
    assert "apt-get update" in caught.value.fix


def test_replaced_version_is_found_by_fresh_lists(archive: Archive, tmp_path: Path) -> None:
    """The host's lists are stale: they name a version that is gone from the archive."""
    subprocess.run(["apt-get", "-q", "update"], check=True, stdout=subprocess.DEVNULL)
    archive.add("hello", "2.0", {"bin/hello": b"#!/bin/sh\n: two\n"})
    image = ensure(tmp_path / "cache")
    manifest = json.loads(image.manifest.read_text())
    assert manifest["packages"]["hello"]["version"] == "2.0"


def test_tampered_package_is_refused(archive: Archive, tmp_path: Path) -> None:
    deb = next(archive.directory.glob("hello_*.deb"))
    deb.write_bytes(deb.read_bytes()[:-1] + b"!")
    with pytest.raises(debian.PackageError):
        ensure(tmp_path / "cache")
    assert not list((tmp_path / "cache/debs").glob("hello_*"))


def test_damaged_package_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    first = ensure(tmp_path / "cache")
    bytes_before = contents(first)
    shutil.rmtree(first.initrd.parent)
    deb = next((tmp_path / "cache/debs").glob("hello_*.deb"))
    deb.write_bytes(b"not a package")
    assert contents(ensure(tmp_path / "cache")) == bytes_before


def test_pruning_keeps_the_newest_image_and_its_packages(archive: Archive, tmp_path: Path) -> None:
    old = ensure(tmp_path / "cache")
    archive.add("hello", "1.1", {"bin/hello": b"#!/bin/sh\n:\n"})
    subprocess.run(["apt-get", "-q", "update"], check=True, stdout=subprocess.DEVNULL)
    new = ensure(tmp_path / "cache")
    assert new.key != old.key
    assert build.newest("tiny", cache=tmp_path / "cache") == new
    removed = build.prune(cache=tmp_path / "cache")
    assert old.initrd.parent in removed
    assert not old.initrd.exists()
    assert sorted(path.name.split("_")[0] for path in removed if path.suffix == ".deb") == ["hello"]
    assert build.prune(cache=tmp_path / "cache") == []
    assert ensure(tmp_path / "cache") == new


def test_no_image_is_newest_where_there_is_none(tmp_path: Path) -> None:
    assert build.newest("tiny", cache=tmp_path / "cache") is None
    ensure(tmp_path / "cache")
    assert build.newest("other", cache=tmp_path / "cache") is None


def test_missing_library_is_an_error_with_its_name(archive: Archive, tmp_path: Path) -> None:
    archive.add("hello", "1.2", {"bin/hello": Path("/bin/ls").read_bytes()})
    with pytest.raises(ConfigError, match=r"usr/bin/hello needs lib\w+\.so"):
        ensure(tmp_path / "cache")


def test_python_package_that_is_nowhere_is_named(images: Path, tmp_path: Path) -> None:
    (images / "tiny.toml").write_text(RECIPE.replace('["ours"]', '["ours", "nosuch"]'))
    with pytest.raises(ConfigError, match="'nosuch'"):
        ensure(tmp_path / "cache")


def test_installed_python_package_serves_as_well(images: Path, tmp_path: Path) -> None:
    (images / "tiny.toml").write_text(RECIPE.replace('["ours"]', '["ringport"]'))
    root = unpacked(ensure(tmp_path / "cache"), tmp_path / "root")
    assert (root / "usr/lib/python3/dist-packages/ringport/examples/bridge.py").exists()


def test_tool_that_does_not_compile_shows_the_compiler_s_words(
    images: Path, tmp_path: Path
) -> None:
    (images / "tools/answer/main.c").write_text("int main(void) { return nosuch; }\n")
    with pytest.raises(RingpassError, match="nosuch"):
        ensure(tmp_path / "cache")
    assert not list((tmp_path / "cache/images").glob("*/manifest.json"))


def test_recipe_without_both_kernels_is_refused(images: Path, tmp_path: Path) -> None:
    (images / "tiny.toml").write_text(RECIPE.partition("[kernel.uml]")[0])
    with pytest.raises(ConfigError, match=r"\[kernel.uml\]"):
        ensure(tmp_path / "cache")


def test_concurrent_builds_make_one_image(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    # Unlike multiprocessing's Pool, it raises if a process of it dies, and does not wait for ever.
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        made = list(pool.map(ensure, [tmp_path / "cache"] * 3))
    assert len({image.key for image in made}) == 1
    assert len(list((tmp_path / "cache/images").glob("*/manifest.json"))) == 1


def test_build_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    # The compiler is where the child kills its parent, in the middle of a build.
    compiler = tmp_path / "bin/cc"
    compiler.parent.mkdir()
    real = shutil.which("cc")
    compiler.write_text(
        f'#!/bin/sh\ncase "$*" in *" -o "*) kill -9 $PPID;; esac\nexec {real} "$@"\n'
    )
    compiler.chmod(0o755)
    context = multiprocessing.get_context("spawn")
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{compiler.parent}:{path}"
    try:
        child = context.Process(target=ensure, args=(tmp_path / "cache",))
        child.start()
        child.join(60)
    finally:
        os.environ["PATH"] = path
    assert child.exitcode == -signal.SIGKILL
    assert list((tmp_path / "cache/images").glob("*.partial"))
    image = ensure(tmp_path / "cache")
    assert image.initrd.exists()
    assert not list((tmp_path / "cache/images").glob("*.partial"))
