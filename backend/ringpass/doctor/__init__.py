# SPDX-License-Identifier: BSD-2-Clause
"""Checks what a user needs, before it hurts."""

from collections.abc import Callable, Iterator

from ringpass import image as images
from ringpass.doctor import accelerator, guests, memory, programs, system
from ringpass.doctor.finding import Finding

__all__ = ["Finding", "examine"]


def examine(tell: Callable[[str], None]) -> Iterator[Finding]:
    """Check the machine and yield what is found, each as soon as it is known.

    `tell` is called before what takes long. Changes nothing but what it removes again.
    """
    image = images.newest()
    yield programs.check_qemu()
    tell("booting a kernel under KVM, which takes 10 s where it does not work")
    kvm = accelerator.check_kvm(image)
    yield kvm
    yield programs.check_qemu_msix(kvm.status == "ok")
    yield programs.check_libvirt()
    yield memory.check_memfd()
    yield memory.check_shm()
    yield guests.check_image(image)
    tell("starting User-mode Linux")
    yield guests.check_uml(image)
    yield system.check_runtime_dir()
    yield system.check_socket_user()
    yield system.check_cpus()
    yield system.check_limits()
