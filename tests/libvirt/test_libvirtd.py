# SPDX-License-Identifier: BSD-2-Clause
"""The libvirtd of the tests: a domain outlives its restart; a call ends if it stands still."""

from pathlib import Path

import libvirt
import pytest

from ringpass.errors import RingpassError
from ringpass.image import Image
from ringpass.libvirt import connection
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


def test_a_call_ends_if_libvirtd_stands_still(
    libvirtd: Libvirtd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "COMMAND_KEEPALIVE_S", 1)
    monkeypatch.setattr(connection, "COMMAND_KEEPALIVE_COUNT", 1)
    opened = connection.connect(libvirtd.uri)
    with libvirtd.frozen(), pytest.raises(RingpassError, match="libvirtd does not answer") as told:
        connection.lookup(opened, "plain")
    assert "systemctl restart libvirtd" in told.value.fix
    assert not connection.is_alive(opened)
