# SPDX-License-Identifier: BSD-2-Clause
"""The libvirtd of the tests: a domain outlives its restart, and is nowhere else."""

from pathlib import Path

import libvirt
import pytest

from ringpass.image import Image
from tests.support.libvirtd import Libvirtd

pytestmark = pytest.mark.guest


def test_a_domain_outlives_a_restart_and_is_nowhere_else(libvirtd: Libvirtd, image: Image) -> None:
    domain = libvirtd.define(image, "plain")
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    libvirtd.restart()
    assert libvirtd.connection.lookupByName("plain").isActive()
    assert not Path("/etc/libvirt/qemu/plain.xml").exists()
    assert not Path("/run/libvirt/qemu/plain.pid").exists()
    libvirtd.clear()
    assert libvirtd.connection.listAllDomains() == []
