# SPDX-License-Identifier: BSD-2-Clause
"""Giving a switch the logic that its configuration names."""

import logging
import os
from collections.abc import Collection
from pathlib import Path

from ringpass import logic
from ringpass.config import Switch
from ringpass.dataplane import DataPlane, Logic, SwitchId

log = logging.getLogger(__name__)

_BUILT_IN = {"bridge": Logic.BRIDGE, "static": Logic.STATIC, "hash": Logic.HASH}


def load(dataplane: DataPlane, switch: SwitchId, config: Switch) -> str:
    """Replace the logic of `switch`; return what the compiler warned of.

    Frames go on, by the old one until the new one is ready. Raises RingpassError; the old one
    stays then.
    """
    if config.logic in _BUILT_IN:
        dataplane.set_switch_logic(switch, _BUILT_IN[config.logic], config.text())
        return ""
    compiled = logic.compile_c(logic.read(Path(config.logic)))
    try:
        dataplane.set_switch_logic(switch, Logic.FILE, config.text(), compiled.fd)
    finally:
        os.close(compiled.fd)
    for line in compiled.warnings.splitlines():
        log.warning("event=logic-warning said=%r", line)
    return compiled.warnings


def absent_ports(config: Switch, there: Collection[str]) -> list[str]:
    """Return the ports that a built-in logic is told of, and that are not `there`.

    As the logics do, it takes the whole name of a port or what stands behind the colon.
    """
    if config.logic not in _BUILT_IN:
        return []
    known = {*there, *(name.partition(":")[2] for name in there)}
    words = [word.partition("=") for word in config.text().split()]
    named = dict.fromkeys(port for key, _, port in words if key != "unknown")
    return [port for port in named if port not in known]
