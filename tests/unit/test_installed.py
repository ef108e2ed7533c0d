# SPDX-License-Identifier: BSD-2-Clause
"""The package as it is installed, away from the source tree: it finds its data files."""

import json
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.cbuild import INSTALLED, ROOT, run

pytestmark = pytest.mark.slow

BUILD = ROOT / "build" / INSTALLED.name

#: Uses every kind of data file that there is, and prints where the package is.
PROGRAM = """
import sys
from pathlib import Path

import ringpass
from ringpass import logic
from ringpass.image import build, driver, recipe
from ringpass.qemu import series

text = b'#include "rp_logic.h"\\n'
logic.compile_c(logic.Source(Path("/none/x.c"), text))
images = recipe.images_dir()
assert build.netmap_dir(images).joinpath("net/netmap.h").is_file()
assert (images / "tools/rp-sink/main.c").is_file()
recipe.load("guest", images)
assert all(file.is_file() for file in [*series.patches(), *series.headers()])
assert series.headers()
assert "csrc/pipe.c" in driver.Source.copy(Path(sys.argv[1]), images).files
print(ringpass.__file__)
"""


def test_all_that_is_installed_is_in_the_packages() -> None:
    plan = json.loads((BUILD / "meson-info/intro-install_plan.json").read_text())
    places = {
        Path(file["destination"]).parts[:2] for kind in plan.values() for file in kind.values()
    }
    assert places == {("{py_platlib}", "ringpass"), ("{py_platlib}", "ringport")}


def test_an_installed_package_finds_its_data_files(tmp_path: Path) -> None:
    run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", tmp_path])
    (package,) = tmp_path.rglob("ringpass/__init__.py")
    # Without `site` there is no editable install that would come first.
    command: list[str | Path] = [sys.executable, "-S", "-c", PROGRAM, tmp_path / "driver"]
    path = f"{package.parents[1]}:{sysconfig.get_path('platlib')}"
    assert run(command, environ={"PYTHONPATH": path}).strip() == str(package)
