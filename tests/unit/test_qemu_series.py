# SPDX-License-Identifier: BSD-2-Clause
"""How the patches for QEMU are read, and adapted to a tree that has renamed what they mention."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ringpass.errors import NotFound, RingpassError
from ringpass.image.recipe import images_dir
from ringpass.qemu import program, series

PATCH = """From 0 Mon Sep 17
Subject: [PATCH] add sysemu/ and softmmu_ss

---
 hw/net/x.c | 12 ++++++++++++

--- /dev/null
+++ b/hw/net/x.c
@@ -0,0 +1,12 @@
+#include "sysemu/kvm.h"
+#include "qapi/qmp/qdict.h"
+#include "hw/pci/pci.h"
+#include "mine.h"
+static Property x_properties[] = {
+    DEFINE_PROP_END_OF_LIST(),
+static void x_class_init(ObjectClass *klass, void *data)
+                  int ufo)
+    offset = section.offset_within_region;
+    migrate_add_blocker(x->blocker, errp);
+    dc->reset = x_reset;
+# Example:
--- a/hw/net/meson.build
+++ b/hw/net/meson.build
@@ -1,1 +1,2 @@
 softmmu_ss.add(files('a.c'))
+softmmu_ss.add(files('x.c')) # targetos
"""

ADAPTED = (
    PATCH.replace('"sysemu/kvm.h"', '"system/kvm.h"')
    .replace("+static Property", "+static const Property")
    .replace("+    DEFINE_PROP_END_OF_LIST(),", "+")
    .replace("klass, void *data", "klass, const void *data")
    .replace("softmmu_ss.add", "system_ss.add")
    .replace("targetos", "host_os")
    .replace("qapi/qmp/", "qobject/")
    .replace("int ufo", "int ufo, int uso4, int uso6")
    .replace("pci/pci.h", "pci/pci_device.h")
    .replace("within_region;", "within_region + section.mr->ram_block->fd_offset;")
    .replace("# Example:", "# .. qmp-example::")
    .replace("_blocker(x", "_blocker(&x")
    .replace("dc->reset = x_reset", "device_class_set_legacy_reset(dc, x_reset)")
)

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a function that makes something like QEMU's sources, of an old or a new version."""

    def make(*, new: bool) -> Path:
        files = {
            "VERSION": "10.0.13\n" if new else "7.2.22\n",
            "qapi/net.json": "# .. qmp-example::\n" if new else "# Example:\n",
            "meson.build": f"{'host_os' if new else 'targetos'} = 'linux'\n",
            "hw/net/meson.build": f"{'system' if new else 'softmmu'}_ss.add(files('a.c'))\n",
            "include/hw/qdev-properties.h": "" if new else "#define DEFINE_PROP_END_OF_LIST()\n",
            "include/qom/object.h": (
                f"void (*class_init)(ObjectClass *klass, {'const ' if new else ''}void *data);\n"
            ),
            "include/net/net.h": (
                f"typedef void (SetOffload)(NetClientState *{', int' * (7 if new else 5)});\n"
            ),
            "include/hw/qdev-core.h": "void device_class_set_legacy_reset();\n" if new else "",
            "include/migration/blocker.h": (
                f"int migrate_add_blocker(Error *{'*' if new else ''}reason, Error **errp);\n"
            ),
            "include/exec/ramblock.h": "uint64_t fd_offset;\n" if new else "",
            f"include/hw/pci/pci{'_device' if new else ''}.h": "",
            f"include/{'qobject' if new else 'qapi/qmp'}/qdict.h": "",
            f"include/{'system' if new else 'sysemu'}/kvm.h": "",
        }
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return make


def test_the_base_version_gets_the_patches_as_they_are(tree: Tree) -> None:
    assert series.adapted(PATCH, tree(new=False)) == PATCH


def test_a_newer_version_gets_its_own_names(tree: Tree) -> None:
    assert series.adapted(PATCH, tree(new=True)) == ADAPTED


def test_the_series_has_every_patch_there_is() -> None:
    there = sorted(images_dir().parent.glob("qemu-patches/*.patch"))
    assert series.patches() == there
    newer = series.patches("10.0.13")
    assert newer == [patch for patch in there if patch in newer]


def test_a_patch_that_does_not_fit_is_named(tree: Tree) -> None:
    with pytest.raises(RingpassError, match=r"0001-\S+ does not apply to QEMU 7\.2\.22"):
        series.apply(tree(new=False))


def test_what_is_no_qemu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RingpassError, match="no source tree of QEMU"):
        series.apply(tmp_path)


def test_a_qemu_that_was_not_built_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as error:
        program(cache=tmp_path)
    assert error.value.fix == "make qemu"


def test_only_headers_that_qemu_includes_count() -> None:
    assert {path.parent.name for path in series.headers()} <= {"abi"}
