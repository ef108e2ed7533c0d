# SPDX-License-Identifier: BSD-2-Clause
"""Domains as users have them, and the judge of what we make of them: libvirt's own schema."""

import re
from pathlib import Path

import libvirt

GOLDEN = Path(__file__).parents[1] / "unit/golden/libvirt"

DOMAINS = {path.stem: path.read_text() for path in sorted(GOLDEN.glob("*.xml"))}
"""A few domains of each sort, in the form in which libvirt prints them."""


class Judge:
    """libvirt's test driver, which checks domains as the real one does, and forgets them."""

    def __init__(self) -> None:
        libvirt.registerErrorHandler(lambda *_: None, None)
        self._connection = libvirt.open("test:///default")

    def check(self, xml: str) -> None:
        """Raise libvirtError if `xml` is no domain by libvirt's schema and parser.

        The driver knows no other type than its own, and leaves out QEMU's arguments.
        """
        own = re.sub(r"<domain type=(['\"])\w+\1", "<domain type='test'", xml, count=1)
        domain = self._connection.defineXMLFlags(own, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        domain.undefine()
