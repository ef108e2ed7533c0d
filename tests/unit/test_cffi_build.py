# SPDX-License-Identifier: BSD-2-Clause
"""The marked regions of headers, which cffi reads, are taken exactly or refused with the place."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "csrc" / "cffi_build.py"


def load_script() -> ModuleType:
    """Import csrc/cffi_build.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("cffi_build", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


cffi_build = load_script()


def header(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "some.h"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_regions_are_joined_and_all_else_is_left_out(tmp_path: Path) -> None:
    path = header(
        tmp_path,
        "#include <stdint.h>",
        "/* cffi:begin */",
        "int first(void);",
        "\t/* cffi:end */",
        "static inline int hidden(void) { return 1; }",
        "/* cffi:begin */",
        "int second(void);",
        "/* cffi:end */",
    )
    assert cffi_build.cffi_regions(path) == "int first(void);\nint second(void);\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["int f(void);"], "some.h: no cffi region"),
        (["/* cffi:begin */", "int f(void);"], "some.h:1: /* cffi:begin */ without"),
        (["", "/* cffi:end */"], "some.h:2: /* cffi:end */ without"),
        (["/* cffi:begin */", "/* cffi:begin */"], "some.h:2: /* cffi:begin */ inside"),
        (["/* cffi:begin */", "#define A 1"], "some.h:2: preprocessor line"),
    ],
)
def test_wrong_markers_are_refused_with_the_place(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(cffi_build.RegionError) as caught:
        cffi_build.cffi_regions(header(tmp_path, *lines))
    assert message in str(caught.value)


def test_the_emitted_source_includes_the_header_itself(tmp_path: Path) -> None:
    path = header(tmp_path, "/* cffi:begin */", "int answer(int x);", "/* cffi:end */")
    output = tmp_path / "_dp.c"
    assert cffi_build.main(["a.b", str(output), str(path)]) == 0
    text = output.read_text(encoding="utf-8")
    assert '#include "some.h"' in text
    assert "answer" in text


def test_a_bad_header_fails_the_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "_dp.c"
    assert cffi_build.main(["a.b", str(output), str(header(tmp_path, "int f(void);"))]) == 1
    assert "no cffi region" in capsys.readouterr().err
    assert not output.exists()


def test_usage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cffi_build.main(["a.b", "only-output.c"]) == 2
    assert "usage" in capsys.readouterr().err
