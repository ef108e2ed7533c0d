# SPDX-License-Identifier: BSD-2-Clause
"""The libvirtd of the tests: a domain boots in it, outlives its restart, and is nowhere else."""

from pathlib import Path

import pytest

from ringpass.image import Image
from tests.support.libvirtd import Libvirtd

pytestmark = pytest.mark.guest


def test_a_domain_boots_and_outlives_a_restart(libvirtd: Libvirtd, image: Image) -> None:
    libvirtd.define(image, "plain")
    guest = libvirtd.guest("plain")
    with guest:
        libvirtd.restart()
        assert guest.domain.isActive()
        assert guest.check("hostname") == "plain\n"
        assert not Path("/etc/libvirt/qemu/plain.xml").exists()
    libvirtd.clear()
    assert libvirtd.connection.listAllDomains() == []
