# SPDX-License-Identifier: BSD-2-Clause
"""Is there a KVM that runs guests? Found out by booting one: that /dev/kvm opens says little."""

import os
import time
from pathlib import Path

from ringpass.doctor.finding import Finding
from ringpass.doctor.probe import Outcome, probe
from ringpass.image import Image
from ringpass.vm import qemu

CHECK = "kvm"

DEVICE = Path("/dev/kvm")

DEADLINE = 10.0
"""Seconds for a guest kernel to come to its end. With a KVM that works it needs one."""

CPUS = ("host", "qemu64")
"""Our command lines use the first; the second tells a KVM that is picky from one that is broken."""

WITHOUT_ROOT = "VFS: Unable to mount root fs"
"""What a kernel that was given no file system says when it has done all that it could."""

USE_TCG = (
    "use TCG, which is the default: ringpass vm run --accel tcg, QEMU's -accel tcg, libvirt's "
    "<domain type='qemu'>. Its guests are 10 to 30 times slower than the machine"
)


def check_kvm(image: Image | None) -> Finding:
    """Boot the kernel of `image` under KVM and say what became of it."""
    if not DEVICE.exists():
        return Finding(
            CHECK,
            "warn",
            "there is no KVM",
            f"{DEVICE} does not exist",
            f"enable virtualisation in the firmware and load kvm_intel or kvm_amd; else {USE_TCG}",
        )
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return Finding(
            CHECK,
            "warn",
            "KVM is there, but not for you",
            f"you may not read and write {DEVICE}",
            f"join its group: usermod -aG kvm $USER, then log in again; else {USE_TCG}",
        )
    if image is None:
        return Finding(
            CHECK,
            "warn",
            "KVM opens; whether it runs guests is not known",
            "there is no guest kernel to try it with",
            "run `ringpass image build`, then `ringpass doctor` again",
        )
    return judged(attempts(image))


def attempts(image: Image) -> dict[str, Outcome]:
    """Boot with each CPU model until one works, all within the deadline; return what came of it."""
    end = time.monotonic() + DEADLINE
    outcomes: dict[str, Outcome] = {}
    for cpu in CPUS:
        left = end - time.monotonic()
        if left > 0:
            outcomes[cpu] = probe(boot_command(image, cpu), WITHOUT_ROOT, left)
            if outcomes[cpu].seen:
                break
    return outcomes


def boot_command(image: Image, cpu: str) -> list[str]:
    return [
        *(qemu.PROGRAM, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"),
        *("-accel", "kvm", "-cpu", cpu, "-m", "128M", "-serial", "stdio"),
        *("-kernel", str(image.kernel), "-append", "console=ttyS0 panic=-1"),
    ]


def judged(outcomes: dict[str, Outcome]) -> Finding:
    """Return what the outcomes, by CPU model, mean."""
    host = outcomes[CPUS[0]]
    if host.seen:
        return Finding(CHECK, "ok", f"KVM runs guests: a kernel booted in {host.seconds:.1f} s")
    return Finding(
        CHECK,
        "warn",
        f"{DEVICE} opens, but does not run a stock guest",
        "; ".join(f"-cpu {cpu}: {explained(outcome)}" for cpu, outcome in outcomes.items()),
        USE_TCG,
    )


def explained(outcome: Outcome) -> str:
    if outcome.seen:
        return "works"
    if outcome.ended:
        return f"QEMU gave up: {outcome.last_line or 'it said nothing'}"
    said = f"got to: {outcome.last_line}" if outcome.last_line else "said nothing"
    return f"a Debian kernel did not boot in {outcome.seconds:.0f} s, and {said}"
