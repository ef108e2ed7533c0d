# SPDX-License-Identifier: BSD-2-Clause
"""The guest's driver is built for the kernel of the image, by DKMS as well, and for newer ones."""

import subprocess
from pathlib import Path

import pytest

from ringpass import image as images
from ringpass import paths
from ringpass.errors import RingpassError
from ringpass.image import debian, driver, recipe

pytestmark = pytest.mark.slow

NEWER = "linux-image-6.12-cloud-amd64"
"""What Debian offers to those who want a newer kernel than the release's."""


def packages(apt: debian.Apt, meta: str) -> list[debian.Package]:
    resolved = debian.resolve(apt, set(), {meta}, {meta})
    return [resolved.packages[name] for name in resolved.headers[meta]]


@pytest.fixture(scope="module")
def apt() -> debian.Apt:
    return debian.Apt(paths.cache_dir() / "apt")


@pytest.fixture(scope="module")
def headers(apt: debian.Apt) -> Path:
    """Return the build directory of the image's kernel."""
    meta = recipe.load("guest", recipe.images_dir()).kernel["qemu"].package
    cache = paths.cache_dir()
    return driver.headers(debian.fetch(apt, packages(apt, meta), cache / "debs").values(), cache)


def modinfo(module: Path, field: str) -> list[str]:
    done = subprocess.run(
        ["/sbin/modinfo", "--field", field, module], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def release(module: Path) -> str:
    """Return the release of the kernel that loads this module."""
    return modinfo(module, "vermagic")[0].split()[0]


def test_module_is_for_the_kernel_of_the_image_and_for_the_card(headers: Path) -> None:
    module = images.module()
    assert release(module) == headers.name.removeprefix("linux-headers-")
    assert modinfo(module, "license") == ["Dual BSD/GPL"]
    assert any(alias.startswith("pci:v00001AF4d00001110") for alias in modinfo(module, "alias"))
    assert images.module() == module


def test_module_does_not_tell_where_it_was_built(headers: Path, tmp_path: Path) -> None:
    source = driver.Source.copy(tmp_path / "another/way")
    driver.make(source.directory, headers, *driver.REPRODUCIBLE)
    built = source.directory / "ringpass.ko"
    assert built.read_bytes() == images.module().read_bytes()


def test_source_that_does_not_compile_shows_the_compiler_s_words(
    headers: Path, tmp_path: Path
) -> None:
    source = driver.Source.copy(tmp_path / "source")
    with (source.directory / "rp_csb.c").open("a") as file:
        file.write("int broken(void) { return nosuch; }\n")
    with pytest.raises(RingpassError, match="nosuch"):
        driver.make(source.directory, headers)


def test_dkms_builds_it_from_a_copy_that_is_complete(headers: Path, tmp_path: Path) -> None:
    """With DKMS itself, in directories of our own; only `dkms install` would need root."""
    version = dkms_version()
    source = driver.Source.copy(tmp_path / f"src/ringpass-{version}")
    kernel = headers.name.removeprefix("linux-headers-")
    which = ("-m", "ringpass", "-v", version)
    trees = ("--dkmstree", str(tmp_path / "dkms"), "--sourcetree", str(source.directory.parent))
    build = ("-k", kernel, "-a", "x86_64", "--kernelsourcedir", str(headers))
    (tmp_path / "dkms").mkdir()
    for command in (("add", *which), ("build", *which, *build)):
        done = subprocess.run(
            ["/usr/sbin/dkms", *command, *trees],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
    place = tmp_path / "dkms/ringpass" / version / kernel / "x86_64"
    assert "warning" not in (place / "log/make.log").read_text().lower()
    assert release(place / "module/ringpass.ko") == kernel


def dkms_version() -> str:
    config = (recipe.images_dir().parent / "guestdrv/linux/dkms.conf").read_text()
    return config.partition("PACKAGE_VERSION=")[2].split()[0]


def test_dkms_knows_the_version_of_the_project() -> None:
    meson = (Path(__file__).parents[2] / "meson.build").read_text()
    assert f"version: '{dkms_version()}'" in meson


def test_module_compiles_for_a_newer_kernel(apt: debian.Apt, tmp_path: Path) -> None:
    if NEWER not in apt.show({NEWER}):
        pytest.skip(f"the apt sources of this machine have no {NEWER}")
    cache = paths.cache_dir()
    debs = debian.fetch(apt, packages(apt, NEWER), cache / "debs")
    build_in = driver.headers(debs.values(), cache)
    source = driver.Source.copy(tmp_path / "source")
    driver.make(source.directory, build_in, *driver.REPRODUCIBLE, "W=1", "KCFLAGS=-Werror")
    assert release(source.directory / "ringpass.ko").startswith("6.12")
