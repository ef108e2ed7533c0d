# SPDX-License-Identifier: BSD-2-Clause
"""Threads that poll: what is left of a start that failed."""

import os
from typing import cast

import pytest

from ringpass.dataplane import DataPlane, PortId, WorkerId
from ringpass.errors import RingpassError
from ringpass.nic.polling import Polling


class FullPlane:
    """A data plane that has no threads to give."""

    asked = 0

    def add_worker(self, *_: object, **__: object) -> WorkerId:
        self.asked += 1
        raise RingpassError("cannot add a worker", "there are no threads")


def test_a_start_that_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    plane = FullPlane()
    threads = Polling(cast("DataPlane", plane), PortId(0), 1, WorkerId(0))
    for tries in (1, 2):
        with pytest.raises(RingpassError, match="no threads"):
            threads.set([1])
        assert (threads.cpus, threads.on, plane.asked) == ([], False, tries)
