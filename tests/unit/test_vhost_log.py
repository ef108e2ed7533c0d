# SPDX-License-Identifier: BSD-2-Clause
"""What a session makes of a front end that migrates its guest: the dirty log, and announcements."""

import os
from collections.abc import Iterator

import pytest

from ringpass.dataplane import MemorySlot
from ringpass.vhostuser import messages as m
from ringpass.vhostuser.messages import Feature, ProtocolError, ProtocolFeature, Request
from tests.support.vhost import CheckedPlane, memfd, open_fds
from tests.unit.test_vhost_session import ALL, SLOT, Driver

QUIET = ALL & ~Feature.LOG_ALL
LOG = m.LogArea(4096, 0)


@pytest.fixture
def driver() -> Iterator[Driver]:
    """Return a front end that took LOG_SHMFD, its rings running."""
    before = open_fds()
    driver = Driver()
    taken = ProtocolFeature.REPLY_ACK | ProtocolFeature.LOG_SHMFD | ProtocolFeature.RARP
    driver.send(Request.SET_PROTOCOL_FEATURES, m.Number(taken))
    driver.start(QUIET)
    yield driver
    driver.session.close()
    assert log(driver) is None
    assert open_fds() <= before


def share_log(driver: Driver, area: m.LogArea = LOG) -> None:
    answer = driver.send(Request.SET_LOG_BASE, area, [memfd(area.offset + area.size)])
    assert answer is not None
    assert m.Header.unpack(answer[:12]) == m.Header(Request.SET_LOG_BASE, 0x5, 8)


def log(driver: Driver) -> tuple[int, int] | None:
    """Return offset and size of the log that the data plane has."""
    return driver.plane.log


def take(driver: Driver, features: Feature) -> None:
    assert driver.ask(Request.SET_FEATURES, m.Number(features)) == 0


def test_qemu_turns_logging_on_and_off_and_the_rings_go_on(driver: Driver) -> None:
    starts = driver.plane.starts
    for _ in range(2):
        share_log(driver, m.LogArea(4096, 8192))
        assert log(driver) is None
        take(driver, ALL)
        assert log(driver) == (8192, 4096)
        assert not driver.plane.everything
        for ring in (0, 1):
            address = m.VringAddress(ring, 1, 0x10, 0x20, 0x30, 0xABC)
            assert driver.ask(Request.SET_VRING_ADDR, address) == 0
        take(driver, QUIET)
        assert log(driver) is None
        for ring in (0, 1):
            driver.send(Request.SET_VRING_ADDR, m.VringAddress(ring, 0, 0x10, 0x20, 0x30, 0))
    assert driver.plane.starts == starts
    assert driver.plane.features == QUIET, "the data plane has a call of its own for the log"


def test_a_longer_log_takes_the_place_of_the_first(driver: Driver) -> None:
    """QEMU brings it before it plugs memory that the first one would not cover."""
    share_log(driver)
    take(driver, ALL)
    share_log(driver, m.LogArea(8192, 0))
    assert log(driver) == (0, 8192)
    assert not driver.plane.everything
    assert driver.plane.logs == 2


def test_a_device_that_starts_before_its_log_has_everything_marked(driver: Driver) -> None:
    """A guest that reboots while it migrates: QEMU brings the log after the rings."""
    share_log(driver)
    take(driver, ALL)
    driver.send(Request.SET_STATUS, m.Number(0))
    assert log(driver) is None, "the log of a device that stopped is not looked at any more"
    take(driver, ALL)
    for ring in (0, 1):
        driver.describe(ring)
        driver.kick(ring)
    assert driver.running == [0, 1]
    assert log(driver) is None
    share_log(driver)
    assert log(driver) == (0, 4096)
    assert driver.plane.everything
    # Once is enough.
    share_log(driver)
    assert not driver.plane.everything


def test_a_repaired_port_has_its_log_again(driver: Driver) -> None:
    share_log(driver)
    take(driver, ALL)
    driver.plane.reason = "the front end truncated its dirty log"
    driver.session.attachment.repair()
    assert log(driver) == (0, 4096)
    assert driver.running == [0, 1]


def test_the_file_that_tells_of_pages_is_closed_unused(driver: Driver) -> None:
    before = open_fds()
    assert driver.ask(Request.SET_LOG_FD, b"", [os.eventfd(0)]) == 0
    assert open_fds() <= before
    with pytest.raises(ProtocolError, match="missing"):
        driver.send(Request.SET_LOG_FD)


def test_a_log_without_its_file_or_without_being_agreed_on_is_refused(driver: Driver) -> None:
    with pytest.raises(ProtocolError, match="missing"):
        driver.send(Request.SET_LOG_BASE, LOG)
    driver.send(Request.SET_PROTOCOL_FEATURES, m.Number(ProtocolFeature.REPLY_ACK))
    assert driver.ask(Request.SET_LOG_BASE, LOG, [memfd()]) == 1
    assert log(driver) is None


def test_a_guest_that_arrived_is_announced(driver: Driver) -> None:
    mac = bytes.fromhex("525400abcdef")
    driver.send(Request.SEND_RARP, m.Number(int.from_bytes(mac, "little")))
    assert driver.plane.announced == [mac]


def test_a_standby_remembers_and_touches_nothing() -> None:
    driver = Driver(standby=True)
    taken = ProtocolFeature.REPLY_ACK | ProtocolFeature.LOG_SHMFD | ProtocolFeature.RARP
    driver.send(Request.SET_PROTOCOL_FEATURES, m.Number(taken))
    driver.start(QUIET)
    driver.plane.reason = "what the other front end did"
    assert driver.ask(Request.GET_STATUS) == 0
    driver.plane.reason = None
    share_log(driver)
    driver.send(Request.SEND_RARP, m.Number(1))
    more = MemorySlot(SLOT.size, SLOT.size, SLOT.user_addr + SLOT.size, 0)
    driver.send(Request.ADD_MEM_REG, m.MemoryRow(more), [memfd()])
    driver.send(Request.SET_VRING_CALL, m.VringFile(0), [os.eventfd(0)])
    driver.session.attachment.repair()
    attachment = driver.session.attachment
    untouched = CheckedPlane()
    assert vars(driver.plane) == vars(untouched)
    attachment.take_port()
    assert driver.plane.features == QUIET
    assert driver.plane.memory == [SLOT, more]
    assert driver.running == [0, 1]
    driver.plane.progress = {0: 3, 1: 4}
    attachment.leave_port()
    assert driver.running == []
    assert not driver.plane.memory
    assert attachment.wants_port, "it would go on if it got the port back"
    attachment.take_port()
    assert [driver.base(0), driver.base(1)] == [6, 8]
    driver.session.close()
