# SPDX-License-Identifier: BSD-2-Clause
"""The switches: those of the configuration, and those that ports made on demand."""

import errno
from collections.abc import Iterator
from typing import NamedTuple

from ringpass import names
from ringpass.config import Switch
from ringpass.dataplane import DataPlane, SwitchId
from ringpass.errors import RingpassError


class LiveSwitch(NamedTuple):
    """A switch that runs."""

    name: str
    id: SwitchId
    config: Switch
    configured: bool
    """Whether it stays without ports."""
    ephemeral_ports: int


class Switches:
    """Names to switches. One that is not configured lasts as long as a port that joined it."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._live: dict[str, LiveSwitch] = {}

    def __iter__(self) -> Iterator[LiveSwitch]:
        return iter(list(self._live.values()))

    def get(self, name: str) -> LiveSwitch | None:
        """Return the switch `name`, if it runs."""
        return self._live.get(name)

    def configured(self) -> dict[str, Switch]:
        """Return those of the configuration."""
        return {each.name: each.config for each in self if each.configured}

    def configure(self, name: str, config: Switch) -> None:
        """Make a switch, or change it, and let it stay until `forget`."""
        live = self._live.get(name)
        if live is None:
            made = self._plane.add_switch(name, config.ageing)
            live = LiveSwitch(name, made, config, configured=True, ephemeral_ports=0)
        elif live.config.ageing != config.ageing:
            self._plane.set_switch_ageing(live.id, config.ageing)
        self._live[name] = live._replace(config=config, configured=True)

    def forget(self, name: str) -> None:
        """Remove a switch, now or when the last port that joined it leaves."""
        self._settle(self._live[name]._replace(configured=False))

    def join(self, name: str) -> SwitchId:
        """Return the switch of a port that comes, made if need be; `leave` when the port goes."""
        live = self._live.get(name)
        if live is None:
            names.check_switch(name)
            made = self._add_on_demand(name)
            live = LiveSwitch(name, made, Switch(), configured=False, ephemeral_ports=0)
        self._live[name] = live._replace(ephemeral_ports=live.ephemeral_ports + 1)
        return live.id

    def leave(self, name: str) -> None:
        """Note that a port which had joined is gone."""
        live = self._live[name]
        self._settle(live._replace(ephemeral_ports=live.ephemeral_ports - 1))

    def _add_on_demand(self, name: str) -> SwitchId:
        try:
            return self._plane.add_switch(name, Switch().ageing)
        except RingpassError as error:
            error.errno = error.errno or errno.ENXIO
            raise

    def _settle(self, live: LiveSwitch) -> None:
        if live.configured or live.ephemeral_ports:
            self._live[live.name] = live
        else:
            self._plane.remove_switch(live.id)
            del self._live[live.name]
