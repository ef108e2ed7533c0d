# SPDX-License-Identifier: BSD-2-Clause
"""Recipes of guest images: TOML files that say which packages, modules and tools go in."""

import os
import tomllib
from pathlib import Path
from typing import Any, Self

import msgspec

from ringpass.errors import ConfigError, NotFound


class Kernel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kernel and the part of its modules that the image carries.

    `package` may be a metapackage, which is followed to the package it depends on. `file` and
    `modules` are patterns of a path inside the package: the kernel, and the directory named after
    its release. `load` is loaded at boot in that order, `extra` is there for modprobe; what they
    depend on comes along. `driver` says that guestdrv/linux is built for it, and comes along, too.
    """

    package: str
    file: str
    modules: str
    load: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    driver: bool = False

    def extended_by(self, other: Self) -> "Kernel":
        """Return this kernel with the modules of both; package and paths are `other`'s."""
        return msgspec.structs.replace(
            other,
            load=merged(self.load, other.load),
            extra=merged(self.extra, other.extra),
            driver=self.driver or other.driver,
        )


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an image is made of. The comments of `images/guest.toml` explain each field."""

    description: str
    extends: str = ""
    packages: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    links: dict[str, str] = {}
    kernel: dict[str, Kernel] = {}

    def extended_by(self, other: Self) -> "Recipe":
        """Return the recipe that has everything of this one and of `other`, its child."""
        kernels = dict(self.kernel)
        for flavour, kernel in other.kernel.items():
            base = kernels.get(flavour)
            kernels[flavour] = base.extended_by(kernel) if base else kernel
        return Recipe(
            description=other.description,
            packages=merged(self.packages, other.packages),
            tools=merged(self.tools, other.tools),
            drop=merged(self.drop, other.drop),
            python=merged(self.python, other.python),
            links={**self.links, **other.links},
            kernel=kernels,
        )


def merged(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Return both in order, each word once."""
    return tuple(dict.fromkeys(first + second))


def images_dir() -> Path:
    """Return the directory of recipes: `$RINGPASS_IMAGES_DIR`, the source tree's, or the installed.

    Raises NotFound if there is none.
    """
    places = [
        Path(__file__).resolve().parents[3] / "images",
        Path(__file__).resolve().parents[1] / "share/images",
    ]
    if chosen := os.environ.get("RINGPASS_IMAGES_DIR"):
        places = [Path(chosen)]
    for place in places:
        if place.is_dir():
            return place
    raise NotFound(
        "cannot find the recipes of guest images",
        f"there is no directory {' or '.join(map(str, places))}",
        "set RINGPASS_IMAGES_DIR to the images/ directory of the source tree",
    )


def load(name: str, directory: Path) -> Recipe:
    """Read `directory/name.toml` and the recipes that it extends, merged into one.

    Raises NotFound for a name that is not there, ConfigError for a file that is wrong.
    """
    return load_chain(name, directory, ())


def load_chain(name: str, directory: Path, children: tuple[str, ...]) -> Recipe:
    path = directory / f"{name}.toml"
    if name in children:
        chain = " -> ".join((*children, name))
        raise ConfigError(f"cannot read {path}", f"recipes extend each other: {chain}")
    recipe = parse(path)
    if not recipe.extends:
        return recipe
    return load_chain(recipe.extends, directory, (*children, name)).extended_by(recipe)


def parse(path: Path) -> Recipe:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text())
        return msgspec.convert(content, Recipe)
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.toml"))) or "none"
        raise NotFound(
            f"there is no image recipe {path.stem!r}",
            f"{path} does not exist",
            f"use one of: {known}",
        ) from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}", str(error), "correct the file") from None
