# SPDX-License-Identifier: BSD-2-Clause
"""Kernel modules of an image: which files they are, and what they depend on.

Debian's kernel packages carry no modules.dep (their postinst runs depmod), so it is made here,
from the `depends=` that each module states about itself.
"""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from ringpass.errors import ConfigError
from ringpass.image.recipe import Kernel
from ringpass.image.tree import Tree, matcher


def select(kernel: Kernel, package: Tree, tree: Tree) -> str:
    """Copy the modules that `kernel` names, and all they need, from its package into `tree`.

    Writes modules.dep and modules.alias for modprobe, and ringpass.load for init. Returns the
    kernel's release.
    Raises ConfigError for a module that the kernel neither has nor has built in.
    """
    source = modules_dir(kernel, package)
    release = PurePosixPath(source).name
    target = f"usr/lib/modules/{release}"
    paths = {
        module_name(path): path
        for path, _entry in package.files()
        if path.startswith(f"{source}/") and path.endswith(".ko")
    }
    builtin = builtin_modules(package, source)
    needs = closure(kernel, package, paths, builtin)

    lines = []
    for name in sorted(needs):
        place = paths[name].removeprefix(f"{source}/")
        tree.add(f"{target}/{place}", package.entries[paths[name]])
        dependencies = (paths[other].removeprefix(f"{source}/") for other in needs[name])
        lines.append(f"{place}: {' '.join(dependencies)}".rstrip())
    tree.file(f"{target}/modules.dep", text(lines))
    tree.file(f"{target}/modules.alias", text(aliases(package, paths, needs)))
    tree.file(f"{target}/ringpass.load", text(name for name in kernel.load if name in needs))
    for index in ("modules.order", "modules.builtin"):
        if (entry := package.entries.get(f"{source}/{index}")) is not None:
            tree.add(f"{target}/{index}", entry)
    return release


def add(kernel: Kernel, package: Tree, name: str, data: bytes) -> None:
    """Put a module that was built for this kernel among those of its package."""
    package.file(f"{modules_dir(kernel, package)}/updates/{name}.ko", data)


def aliases(package: Tree, paths: dict[str, str], names: Iterable[str]) -> list[str]:
    """Return the lines of modules.alias: other names by which the kernel asks for a module."""
    return [
        f"alias {alias.decode()} {name}"
        for name in sorted(names)
        for alias in re.findall(rb"\0alias=([^\0]*)(?=\0)", package.entries[paths[name]].data)
    ]


def modules_dir(kernel: Kernel, package: Tree) -> str:
    matches = matcher([kernel.modules])
    depth = kernel.modules.count("/")
    for path, _entry in package.sorted():
        if path.count("/") == depth and matches(path):
            return path
    raise ConfigError(
        f"the package {kernel.package} has no kernel modules",
        f"it has no directory {kernel.modules}",
        "correct `modules` in the recipe",
    )


def builtin_modules(package: Tree, source: str) -> set[str]:
    entry = package.entries.get(f"{source}/modules.builtin")
    return {module_name(line) for line in entry.data.decode().split()} if entry else set()


def closure(
    kernel: Kernel, package: Tree, paths: dict[str, str], builtin: set[str]
) -> dict[str, list[str]]:
    """Return, for each module wanted or needed, all that it needs, in the order of modules.dep."""
    needs: dict[str, list[str]] = {}

    def visit(name: str) -> list[str]:
        if name not in needs:
            direct = depends(package.entries[paths[name]].data)
            below = [other for module in direct for other in (module, *visit(module))]
            # Each module stands before what it needs, so of duplicates the last one counts.
            needs[name] = list(dict.fromkeys(reversed(below)))[::-1]
        return needs[name]

    for name in kernel.load + kernel.extra:
        if name in paths:
            visit(name)
        elif name not in builtin:
            raise ConfigError(
                f"the kernel of {kernel.package} has no module {name}",
                "it is neither a file of the package nor built in",
                "correct `load` or `extra` in the recipe",
            )
    return needs


def depends(module: bytes) -> list[str]:
    """Return the names of the modules that a module's `.modinfo` says it needs."""
    match = re.search(rb"\0depends=([^\0]*)\0", module)
    names = match[1].decode().split(",") if match else []
    return [name.replace("-", "_") for name in names if name]


def module_name(path: str) -> str:
    return PurePosixPath(path).stem.replace("-", "_")


def text(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
