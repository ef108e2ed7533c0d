# SPDX-License-Identifier: BSD-2-Clause
"""Recipes of guest images: strict, and extending each other."""

from pathlib import Path

import pytest

from ringpass.errors import ConfigError, NotFound
from ringpass.image import recipe

BASE = """
description = "base"
packages = ["a", "b"]
tools = ["t"]
drop = ["usr/share/*"]
[links]
"usr/bin/x" = "y"
[kernel.qemu]
package = "linux"
file = "boot/*"
modules = "lib/modules/*"
load = ["virtio"]
"""

CHILD = """
description = "child"
extends = "base"
packages = ["b", "c"]
[links]
"usr/bin/z" = "y"
[kernel.qemu]
package = "linux-rt"
file = "boot/*"
modules = "lib/modules/*"
load = ["ringpass"]
extra = ["uio"]
"""


def write(directory: Path, **recipes: str) -> Path:
    for name, text in recipes.items():
        (directory / f"{name}.toml").write_text(text)
    return directory


def test_child_has_everything_of_both(tmp_path: Path) -> None:
    child = recipe.load("child", write(tmp_path, base=BASE, child=CHILD))
    assert child.description == "child"
    assert child.packages == ("a", "b", "c")
    assert child.tools == ("t",)
    assert child.links == {"usr/bin/x": "y", "usr/bin/z": "y"}
    assert child.kernel["qemu"].package == "linux-rt"
    assert child.kernel["qemu"].load == ("virtio", "ringpass")
    assert child.kernel["qemu"].extra == ("uio",)


def test_recipe_that_does_not_exist_names_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="base, child"):
        recipe.load("chidl", write(tmp_path, base=BASE, child=CHILD))


def test_recipes_may_not_extend_each_other(tmp_path: Path) -> None:
    loop = 'description = "x"\nextends = "{}"\n'
    with pytest.raises(ConfigError, match="a -> b -> a"):
        recipe.load("a", write(tmp_path, a=loop.format("b"), b=loop.format("a")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('description = "x"\npackage = ["a"]\n', "unknown field `package`"),
        ('description = "x"\npackages = "a"\n', "Expected `array`"),
        ("packages = []\n", "missing required field `description`"),
        ('description = "x\n', "Illegal character"),
    ],
)
def test_wrong_recipe_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        recipe.load("wrong", write(tmp_path, wrong=text))
    assert str(tmp_path / "wrong.toml") in str(caught.value)


def test_recipes_directory_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGPASS_IMAGES_DIR", str(tmp_path))
    assert recipe.images_dir() == tmp_path
    monkeypatch.setenv("RINGPASS_IMAGES_DIR", str(tmp_path / "absent"))
    with pytest.raises(NotFound, match="absent"):
        recipe.images_dir()


def test_recipe_of_the_tree_is_complete() -> None:
    guest = recipe.load("guest", recipe.images_dir())
    assert {"qemu", "uml"} <= guest.kernel.keys()
    assert {"rp-flood", "rp-sink"} <= set(guest.tools)
