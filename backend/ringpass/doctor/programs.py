# SPDX-License-Identifier: BSD-2-Clause
"""Which programs are installed, and what is known of their versions."""

import re
import shutil
import subprocess

from ringpass.doctor.finding import Finding
from ringpass.vm import qemu

TESTED = (7, 2)
"""The QEMU that every release of ringpass is tested with: that of Debian 12."""

TIMEOUT = 10.0


def check_qemu() -> Finding:
    version = version_of(qemu.PROGRAM)
    if version is None:
        return Finding(
            "qemu",
            "fail",
            "QEMU is not installed",
            f"there is no program {qemu.PROGRAM}",
            "apt-get install qemu-system-x86",
        )
    words = dotted(version)
    if version < TESTED:
        return Finding(
            "qemu",
            "warn",
            f"QEMU {words} is older than what is tested",
            f"ringpass is tested with QEMU {dotted(TESTED)}",
            "use the QEMU of Debian 12 or a later one",
        )
    return Finding("qemu", "ok", f"QEMU {words}")


def check_qemu_msix(kvm_works: bool) -> Finding:
    """Tell of the crash that our TCG command lines guard against, to those who write their own."""
    crash = (
        "QEMU (7.2 and others) dereferences NULL when a guest's driver unmasks the MSI-X vectors "
        "of a vhost-user network card and there is no KVM"
    )
    if kvm_works or version_of(qemu.PROGRAM) is None:
        return Finding(
            "qemu-msix", "ok", "guests under KVM are safe with MSI-X, and need it", crash
        )
    return Finding(
        "qemu-msix",
        "warn",
        "QEMU under TCG crashes with vhost-user and MSI-X, unless told to do without",
        crash,
        "`ringpass vm` and `vm qemu-args` give QEMU -global virtio-net-pci.vectors=0 under TCG; "
        "do so in your own command lines and libvirt domains, and never under KVM",
    )


def check_libvirt() -> Finding:
    version = version_of("libvirtd")
    if version is None:
        return Finding("libvirt", "ok", "libvirt is not installed; only its domains need it")
    if version < (6, 9):
        return Finding(
            "libvirt",
            "warn",
            f"libvirt {dotted(version)} is old",
            "before 6.9 it cannot make its guests' memory a memfd without hugepages and NUMA cells",
            "use the libvirt of Debian 12 or a later one",
        )
    return Finding("libvirt", "ok", f"libvirt {dotted(version)}")


def version_of(program: str) -> tuple[int, ...] | None:
    """Return the version that a program prints, or None if it is not there or does not run."""
    if shutil.which(program) is None:
        return None
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", done.stdout)
    return tuple(int(part) for part in match.groups() if part) if match else None


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
