# SPDX-License-Identifier: BSD-2-Clause
"""QEMU with the patches of `qemu-patches/`: our netdev and the ptnet device."""

from ringpass.qemu.build import ensure, program, prune

__all__ = ["ensure", "program", "prune"]
