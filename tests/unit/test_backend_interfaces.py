# SPDX-License-Identifier: BSD-2-Clause
"""What the backend does when the host's interfaces change."""

from pathlib import Path
from typing import cast

import pytest

from ringpass.config import Port
from ringpass.daemon.backend import Backend, LivePort
from ringpass.daemon.ports import HostControl
from ringpass.dataplane import DataPlane, PortId
from ringpass.nic.nic import Nic
from ringpass.nic.polling import Polling
from ringpass.nic.provider import Interfaces
from ringpass.observe.counters import Counters


def test_one_that_fails_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked = []

    def look(who: object) -> None:
        looked.append(type(who))
        raise OSError("not today")

    monkeypatch.setattr(HostControl, "look", look)
    monkeypatch.setattr(Interfaces, "look", look)
    plane = cast("DataPlane", None)
    backend = Backend(plane, cast("Counters", None), tmp_path)
    control = HostControl(plane, PortId(0), cast("Nic", None), cast("Polling", None))
    for name in ("vale0:a", "vale0:b"):
        backend._ports[name] = LivePort(PortId(0), Port(kind="nic"), 0, control)
    backend.look_at_interfaces()
    assert looked == [HostControl, HostControl, Interfaces]
    assert caplog.text.count("event=look-failed") == 3
