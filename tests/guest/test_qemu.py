# SPDX-License-Identifier: BSD-2-Clause
"""QEMU guests as they are by default: traffic between two, and memory that is not shared."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ringpass.image import Image
from tests.support import traffic
from tests.support.lab import Lab, Station
from tests.support.traffic_tests import TrafficTests

pytestmark = pytest.mark.guest

PORTS = {f"vale0:vm{number}": {"hold_us": 1_000_000} for number in range(1, 6)}


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    with Lab(image, PORTS) as lab:
        yield lab


@pytest.fixture
def pair(lab: Lab) -> tuple[Station, Station]:
    first, second = lab.up("qemu1", "qemu2")
    return first, second


@pytest.fixture
def neighbours(lab: Lab) -> tuple[Station, Station]:
    third, fourth = lab.up("uml3", "uml4")
    return third, fourth


class TestTraffic(TrafficTests):
    """Between two QEMU guests."""


@pytest.mark.parametrize("memory", ["none", "private"])
def test_memory_that_is_not_shared_is_named_as_the_reason(
    lab: Lab, neighbours: tuple[Station, Station], memory: str
) -> None:
    """Be there no file of it at all, or one of which QEMU changes a copy of its own."""
    station = lab.station("qemu5", start=False)
    guest = station.guest
    command = "\0".join(guest.launch.argv).replace("share=on", "share=off")
    if memory == "none":
        command = re.sub("-object\0memory-backend-memfd[^\0]+\0", "", command)
        command = command.replace(",memory-backend=ram", "")
    guest.launch = replace(guest.launch, argv=command.split("\0"))
    with traffic.Stream(*neighbours):
        guest.start()
        guest.wait_ready()
        shown = lab.daemon.run("port", "show", station.port).stdout
        assert "is not shared; start QEMU with memory-backend-memfd,share=on" in shown
        problems = lab.daemon.ask("status")["problems"]
        assert [station.port in problem for problem in problems] == [True]
        guest.kill()
        lab.daemon.wait_port(station.port, "waiting")
        assert not lab.daemon.ask("status")["problems"]
