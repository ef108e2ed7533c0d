# SPDX-License-Identifier: BSD-2-Clause
"""Guests: command lines of QEMU and User-mode Linux, and running guests."""
