# SPDX-License-Identifier: BSD-2-Clause
"""Which kernel modules go into an image, and what modprobe is told about them."""

import pytest

from ringpass.errors import ConfigError
from ringpass.image import modules
from ringpass.image.recipe import Kernel
from ringpass.image.tree import Tree

SOURCE = "usr/lib/modules/6.1.0"


def package(**depends: str) -> Tree:
    """Return a kernel package with these modules, each with the names it says it needs."""
    tree = Tree()
    for name, needs in depends.items():
        info = f"\0license=GPL\0alias=net-{name}\0alias=alt-{name}\0depends={needs}\0"
        tree.file(
            f"{SOURCE}/kernel/drivers/{name.replace('_', '-')}.ko", b"\x7fELF" + info.encode()
        )
    tree.file(f"{SOURCE}/modules.builtin", b"kernel/net/af_packet.ko\n")
    return tree


def kernel(*load: str, extra: tuple[str, ...] = ()) -> Kernel:
    return Kernel(
        package="linux", file="boot/*", modules="usr/lib/modules/*", load=load, extra=extra
    )


def dependencies(tree: Tree) -> dict[str, list[str]]:
    """Read modules.dep: the names that each module needs, in order."""
    text = tree.entries[f"{SOURCE}/modules.dep"].data.decode()
    lines = (line.partition(":") for line in text.splitlines())
    return {
        modules.module_name(path): [modules.module_name(other) for other in others.split()]
        for path, _colon, others in lines
    }


def test_what_a_module_needs_comes_along_in_order() -> None:
    source = package(
        virtio_net="virtio,virtio_ring,net_failover",
        virtio="virtio_ring",
        virtio_ring="",
        net_failover="failover",
        failover="",
        unused="",
    )
    tree = Tree()
    assert modules.select(kernel("virtio_net"), source, tree) == "6.1.0"
    found = dependencies(tree)
    assert found.keys() == {"virtio_net", "virtio", "virtio_ring", "net_failover", "failover"}
    # modprobe loads from the right: nothing may stand to the right of what it needs.
    order = found["virtio_net"]
    assert order.index("virtio") < order.index("virtio_ring")
    assert order.index("net_failover") < order.index("failover")


def test_shared_needs_stand_behind_everything_that_needs_them() -> None:
    source = package(top="left,right", left="low", right="left", low="")
    tree = Tree()
    modules.select(kernel("top"), source, tree)
    assert dependencies(tree)["top"] == ["right", "left", "low"]


def test_only_wanted_modules_are_loaded_at_boot() -> None:
    tree = Tree()
    modules.select(kernel("b", "a", "af_packet", extra=("c",)), package(a="", b="", c="a"), tree)
    assert tree.entries[f"{SOURCE}/ringpass.load"].data == b"b\na\n"
    assert f"{SOURCE}/kernel/drivers/c.ko" in tree


def test_aliases_let_the_kernel_ask_by_another_name() -> None:
    tree = Tree()
    modules.select(kernel("a"), package(a=""), tree)
    assert tree.entries[f"{SOURCE}/modules.alias"].data == b"alias net-a a\nalias alt-a a\n"


def test_module_that_the_kernel_does_not_have_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no module nosuch"):
        modules.select(kernel("nosuch"), package(a=""), Tree())


def test_package_without_modules_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"usr/lib/modules/\*"):
        modules.select(kernel("a"), Tree(), Tree())
