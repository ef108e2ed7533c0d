# SPDX-License-Identifier: BSD-2-Clause
"""Who may know whom: the rules of the design, held against C includes and Python imports.

The rules are the tables at the top. A file or module that no table names fails the test: find it a
place before it grows friends.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath

import pytest

from tests.support.cbuild import INSTALLED, run

ROOT = Path(__file__).parents[2]

# The C layers, lowest first: a file may include files of its own layer and of lower ones. Patterns
# are paths below csrc/, a file is of the first layer that matches. The facade's header is the
# vocabulary of all layers (limits, configurations, reasons); what it declares is defined on top.
PARTS = """
    batch book call copy csb csum dirty endpoint err guestmem idle kring lock offload partial pipe
    pool quiet region relay sigbus state stats virtq virtq_resume virtq_used vnet zcopy
"""
C_LAYERS: Mapping[str, Sequence[str]] = {
    "abi": ["abi/*"],
    "vocabulary": ["ringpass.h"],
    "parts": [f"{name}.[ch]" for name in PARTS.split()],
    "port": ["port.[ch]"],
    "port kinds, switch": [
        *(
            "announce.[ch]",
            "caller.[ch]",
            "deliver.[ch]",
            "fdb.[ch]",
            "logic*.[ch]",
            "monitor.[ch]",
        ),
        *("port_*", "switch.[ch]"),
    ],
    "rings and queues": ["kernel_ring.[ch]", "outq.[ch]", "ring_*"],
    "front ends": ["front_*"],
    "worker": ["worker.[ch]"],
    "facade": ["dataplane.[ch]", "dp_*.c"],
    "client": ["client/*"],
    "headers for programs": ["netmap_shim/include/*"],
    "netmap shim": ["netmap_shim/*"],
    "bench": ["bench/*"],
    "tests": ["tests/*"],
}

# Equals that must not include each other.
C_STRANGERS = ("port_*", "front_*")

# What stands in one file only; tests may do as they please, and what goes to others stands alone.
C_APART = ("tests", "headers for programs")
C_ONLY_IN = {
    r"__ATOMIC_(ACQUIRE|RELEASE|ACQ_REL|SEQ_CST)|__sync_\w+|memory_order_\w+|atomic_thread_fence": (
        "abi/rp_barrier.h"
    ),
}

# The parts of the Python packages (modules and subpackages of ringpass; ringport) and what each may
# import of the others.
PYTHON_MAY_IMPORT: Mapping[str, frozenset[str]] = {
    part: frozenset(others.split())
    for part, others in {
        "ringport": "errors paths",
        "interrupt": "",
        "ports": "errors ringport",
        "pktgen": "errors interrupt ringport",
        "errors": "",
        "descriptors": "",
        "paths": "errors",
        "names": "errors",
        "portspec": "errors ringport",
        "sockets": "errors paths",
        "listener": "descriptors sockets",
        "history": "",
        "keeper": "errors sockets",
        "netlink": "errors",
        "libvirt": "errors observe",
        "rpc": "errors",
        "observe": "errors names",
        "logic": "errors",
        "config": "errors paths names logic",
        "apply": "errors names config",
        "dataplane": "errors names config",
        "embedded": "errors dataplane netmap nic ringport",
        "capture": "errors ringport",
        "vhostuser": "descriptors errors sockets listener history names config dataplane",
        "netmap": "descriptors errors sockets keeper names config dataplane",
        "nic": "errors netlink dataplane netmap",
        "passthrough": "descriptors errors sockets listener history keeper config dataplane netmap",
        "daemon": (
            "errors paths names sockets history keeper logic config apply dataplane netlink "
            "vhostuser netmap nic passthrough observe rpc libvirt"
        ),
        "client": "errors paths names config observe rpc",
        "top": "errors observe",
        "image": "errors paths",
        "vm": "errors paths names image",
        "qemu": "errors paths image",
        "doctor": "errors paths image vm client libvirt",
        "bench": (
            "errors paths names netlink config dataplane observe client image vm qemu ports "
            "ringport embedded interrupt pktgen libvirt"
        ),
        "demo": "errors paths names config observe client image vm bench",
        "cli": (
            "errors paths names portspec config apply observe client daemon image vm qemu doctor "
            "bench demo capture ringport interrupt ports pktgen top libvirt"
        ),
    }.items()
}

# Modules that only one part wraps; `None`: nobody may import them.
PYTHON_ONLY_IN: Mapping[str, str | None] = {
    "dpkt": "capture",
    "libvirt": "libvirt",
    "pcapng": "capture",
    "pyroute2": "netlink",
    "ringpass._dp": "dataplane",
    "tests": None,
}


def c_violations(sources: Mapping[str, str]) -> list[str]:
    """Return a sentence for each breach in `sources`: path below csrc/ -> text."""
    order = list(C_LAYERS)
    found = []
    for path, text in sources.items():
        layer = c_layer(path)
        if layer is None:
            found.append(f"{path} is of no layer in C_LAYERS")
            continue
        for other in c_includes(path, text, sources):
            above = c_layer(other)
            if above is not None and order.index(above) > order.index(layer):
                found.append(f"{path} ({layer}) includes {other} ({above})")
            if are_strangers(path, other):
                found.append(f"{path} includes {other}: neither may know the other")
        for pattern, home in C_ONLY_IN.items():
            if layer not in C_APART and path != home and (use := re.search(pattern, text)):
                found.append(f"{path} uses {use.group()}, whose place is {home}")
    return found


def c_layer(path: str) -> str | None:
    """Return the layer of the file at `path`, None if there is none for it."""
    for layer, patterns in C_LAYERS.items():
        if any(fnmatchcase(path, pattern) for pattern in patterns):
            return layer
    return None


def c_includes(path: str, text: str, sources: Mapping[str, str]) -> Iterator[str]:
    """Yield those files of `sources` that the file at `path` includes."""
    for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE):
        beside = PurePosixPath(path).parent / name
        for candidate in (str(beside), name, f"abi/{name}", name.removeprefix("../")):
            if candidate in sources:
                yield candidate
                break


def call_violations(listing: str) -> list[str]:
    """Return a sentence for each call upwards in `listing`: what `nm -A` says of librp.a.

    Includes do not show these, for the facade's functions are declared in everybody's vocabulary.
    """
    order = list(C_LAYERS)
    symbols = re.findall(r"^.*?(\w+\.c)\.o:\S* +([A-Za-z]) (\w+)$", listing, re.MULTILINE)
    home = {symbol: path for path, kind, symbol in symbols if kind in "TDBR"}
    found = []
    for path, kind, symbol in symbols:
        if kind == "U" and symbol in home:
            layer, above = c_layer(path), c_layer(home[symbol])
            if layer and above and order.index(above) > order.index(layer):
                found.append(f"{path} ({layer}) uses {symbol} of {home[symbol]} ({above})")
    return found


def are_strangers(path: str, other: str) -> bool:
    """Tell whether the two files are different members of one group of C_STRANGERS."""
    here, there = PurePosixPath(path).stem, PurePosixPath(other).stem
    return here != there and any(
        fnmatchcase(here, group) and fnmatchcase(there, group) for group in C_STRANGERS
    )


def python_violations(sources: Mapping[str, str]) -> list[str]:
    """Return a sentence for each breach in `sources`: path of a package's file -> text."""
    found = []
    for path, text in sources.items():
        part = python_part(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        if part not in PYTHON_MAY_IMPORT and part:
            found.append(f"{path}: {part} is not in PYTHON_MAY_IMPORT")
            continue
        for module in python_imports(path, text):
            other = python_part(module)
            for guarded, home in PYTHON_ONLY_IN.items():
                if f"{module}.".startswith(f"{guarded}.") and part != home:
                    found.append(f"{path} imports {module}, open to {home or 'nobody'} only")
            known = part and other != part and other in PYTHON_MAY_IMPORT
            if known and other not in PYTHON_MAY_IMPORT[part]:
                found.append(f"{path}: {part} may not import {other}")
    return found


def python_part(module: str) -> str:
    """Return the part of ringpass that `module` is of: '' for ringpass itself and foreign ones.

    ringport, the package of its own that also lives where ringpass does not, is a part like others.
    """
    names = module.split(".")
    if names[0] == "ringport":
        return "ringport"
    return names[1] if names[0] == "ringpass" and len(names) > 1 else ""


def python_imports(path: str, text: str) -> Iterator[str]:
    """Yield the dotted name of all that the file at `path` imports, at any depth of its code.

    `from a import b` counts as `a.b`, for b may be a module. An import by name, as in
    `import_module("a.b")`, counts if the name is written out.
    """
    package = path.removesuffix(".py").removesuffix("/__init__").split("/")
    if not path.endswith("/__init__.py"):
        package.pop()
    for node in ast.walk(ast.parse(text, path)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = package[: len(package) - level + 1] if level else []
                prefix = [*base, *([module] if module else [])]
                yield from (".".join([*prefix, alias.name]) for alias in names)
            case ast.Call(
                func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name


def tree(root: Path, *patterns: str) -> dict[str, str]:
    """Return path below `root` -> text, of all files that match one of `patterns`."""
    paths = sorted(path for pattern in patterns for path in root.rglob(pattern))
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in paths}


def test_c_includes_point_downwards() -> None:
    sources = tree(ROOT / "csrc", "*.c", "*.h")
    assert "abi/rp_abi.h" in sources
    assert c_violations(sources) == []


def test_c_calls_point_downwards() -> None:
    archive = "csrc/librp.a"
    listing = run(["nm", "-A", INSTALLED.build(archive) / archive])
    assert call_violations(listing) == []


def test_python_imports_point_downwards() -> None:
    sources = tree(ROOT / "backend", "*.py") | tree(ROOT / "guestdrv", "*.py")
    assert {"ringpass/errors.py", "ringport/ring.py"} <= sources.keys()
    assert python_violations(sources) == []


def test_the_python_rules_have_no_circle() -> None:
    order = list(TopologicalSorter(PYTHON_MAY_IMPORT).static_order())
    assert set(order) == set(PYTHON_MAY_IMPORT)


@pytest.mark.parametrize(
    ("path", "text", "breach"),
    [
        ("abi/rp_abi.h", '#include "../ringpass.h"', "abi/rp_abi.h (abi) includes ringpass.h"),
        ("batch.h", '#include "port.h"', "batch.h (parts) includes port.h (port)"),
        ("port.c", '# include "switch.h"', "port.c (port) includes switch.h"),
        ("port_null.c", '#include "port_vale.h"', "neither may know the other"),
        ("worker.c", '#include "tests/fake_guest.h"', "worker.c (worker) includes tests/fake"),
        ("mystery.c", "", "mystery.c is of no layer"),
        ("kring.c", "atomic_load_explicit(p, memory_order_acquire);", "uses memory_order_acquire"),
    ],
)
def test_a_breach_in_c_is_found(path: str, text: str, breach: str) -> None:
    names = ("ringpass.h", "port.h", "switch.h", "port_vale.h", "tests/fake_guest.h")
    found = c_violations(dict.fromkeys(names, "") | {path: text})
    assert len(found) == 1
    assert breach in found[0]


def test_a_call_upwards_is_found() -> None:
    listing = """
        librp.a:librp.a.p/dataplane.c.o:0000000000000000 T rp_port_add
        librp.a:librp.a.p/region.c.o:0000000000000000 T rp_region_new
        librp.a:librp.a.p/region.c.o:                 U rp_port_add
        librp.a:librp.a.p/region.c.o:                 U mmap
        librp.a:librp.a.p/dataplane.c.o:                 U rp_region_new
    """
    found = call_violations(listing)
    assert found == ["region.c (parts) uses rp_port_add of dataplane.c (facade)"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("port_null.c", '#include "port_null.h"\n#include "port.h"\n#include <switch.h>'),
        ("tests/test_port.c", '#include "../dataplane.c"\n__ATOMIC_SEQ_CST'),
        ("abi/rp_barrier.h", "__atomic_thread_fence(__ATOMIC_SEQ_CST)"),
        ("kring.c", "__atomic_load_n(p, __ATOMIC_RELAXED)"),
    ],
)
def test_what_the_c_rules_allow_is_let_pass(path: str, text: str) -> None:
    names = ("dataplane.c", "port.h", "switch.h", "port_null.h")
    assert c_violations(dict.fromkeys(names, "") | {path: text}) == []


@pytest.mark.parametrize(
    ("path", "text", "breach"),
    [
        ("ringpass/errors.py", "import ringpass.paths", "errors may not import paths"),
        ("ringpass/cli/bench.py", "from ringpass import dataplane", "cli may not import dataplane"),
        ("ringpass/cli/up.py", "from ..dataplane import Dataplane", "cli may not import dataplane"),
        ("ringpass/vhostuser/__init__.py", "from .. import daemon", "vhostuser may not import"),
        ("ringpass/config.py", "def f():\n    import ringpass.daemon", "config may not import"),
        ("ringpass/config.py", "importlib.import_module('ringpass.daemon')", "config may not"),
        ("ringpass/daemon/main.py", "from ringpass._dp import lib", "open to dataplane only"),
        ("ringpass/daemon/main.py", "from ringpass import _dp", "open to dataplane only"),
        ("ringpass/doctor.py", "import libvirt", "open to libvirt only"),
        ("ringpass/daemon/links.py", "from pyroute2.netns import create", "open to netlink only"),
        ("ringpass/vm/guest.py", "from tests.guest import helpers", "open to nobody"),
        ("ringport/port.py", "import ringpass.daemon", "ringport may not import daemon"),
        ("ringpass/mystery.py", "", "mystery is not in PYTHON_MAY_IMPORT"),
    ],
)
def test_a_breach_in_python_is_found(path: str, text: str, breach: str) -> None:
    found = python_violations({path: text})
    assert len(found) == 1
    assert breach in found[0]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("ringpass/__init__.py", "import sys"),
        ("ringpass/config.py", "from ringpass import __version__, errors\nimport pyroute2ish"),
        ("ringpass/vhostuser/session.py", "from . import messages\nfrom .messages import Header"),
        ("ringpass/dataplane/__init__.py", "from ringpass._dp import ffi, lib"),
        ("ringpass/libvirt.py", "import libvirt"),
    ],
)
def test_what_the_python_rules_allow_is_let_pass(path: str, text: str) -> None:
    assert python_violations({path: text}) == []
