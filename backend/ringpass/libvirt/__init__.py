# SPDX-License-Identifier: BSD-2-Clause
"""Domains of libvirt: how their XML gives them ports, and who attaches and watches them."""
