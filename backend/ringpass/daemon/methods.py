# SPDX-License-Identifier: BSD-2-Clause
"""What the control socket can be asked: one table of methods, parameters and handlers.

Everything is idempotent: what is asked for and is already so answers `unchanged` or `absent`.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

import ringpass
from ringpass import config, names, rpc
from ringpass.config import Config, Switch
from ringpass.daemon.backend import Backend
from ringpass.errors import ConfigError, RingpassError
from ringpass.observe.status import Status, problems


class Nothing(Struct, forbid_unknown_fields=True):
    """No parameters."""


class Name(Struct, forbid_unknown_fields=True):
    """The name of a switch or port."""

    name: str


class SwitchAdd(Struct, forbid_unknown_fields=True):
    """A switch to be added."""

    name: str
    ageing: int = 300


class SwitchLogic(Struct, forbid_unknown_fields=True):
    """What is to say where a switch's frames go; `logic` is as in a configuration file."""

    name: str
    logic: str
    config: str = ""


class PortAdd(Struct, forbid_unknown_fields=True):
    """A port to be added; `settings` has the keys of its table in a configuration file."""

    name: str
    settings: dict[str, Any] = {}


class Apply(Struct, forbid_unknown_fields=True):
    """A whole configuration, as the tables of its file; `source` names it in errors."""

    config: dict[str, Any]
    source: str = "the request"
    dry_run: bool = False


class Methods:
    """The operations of the control socket. Each returns what is sent as its result."""

    def __init__(self, backend: Backend, shut_down: Callable[[], None]) -> None:
        self._backend = backend
        self._shut_down = shut_down
        self._started = time.monotonic()

    def call(self, name: str, params: dict[str, Any]) -> object:
        """Do what `name` stands for. Raises CallError, or the operation's RingpassError."""
        entry = TABLE.get(name)
        if entry is None:
            raise rpc.CallError(rpc.METHOD_NOT_FOUND, f"there is no method {name!r}")
        try:
            checked = msgspec.convert(params, entry.params)
        except msgspec.ValidationError as error:
            raise rpc.CallError(rpc.INVALID_PARAMS, f"{name}: {error}") from error
        return entry.handler(self, checked)

    def ping(self, _: Nothing) -> object:
        return {"version": ringpass.__version__, "pid": os.getpid()}

    def status(self, _: Nothing) -> Status:
        ports = self._backend.ports()
        libvirt = self._backend.domains.status()
        return Status(
            version=ringpass.__version__,
            pid=os.getpid(),
            uptime_s=time.monotonic() - self._started,
            runtime_dir=str(self._backend.runtime_dir),
            problems=problems(ports, libvirt),
            workers=self._backend.workers(),
            switches=self._backend.switches(),
            ports=ports,
            regions=self._backend.programs.region_status(),
            libvirt=libvirt,
        )

    def switch_list(self, _: Nothing) -> object:
        return self._backend.switches()

    def switch_add(self, params: SwitchAdd) -> object:
        names.check_switch(params.name)
        running = self._backend.config
        present = running.switches.get(params.name)
        wanted = present or Switch(params.ageing)
        if wanted.ageing != params.ageing:
            raise ConfigError(
                f"cannot add switch {params.name}",
                f"it exists, with ageing {wanted.ageing} instead of {params.ageing}",
                "remove it first, or use ringpass apply",
            )
        switches = {**running.switches, params.name: wanted}
        return self._become(msgspec.structs.replace(running, switches=switches), "added")

    def switch_logic(self, params: SwitchLogic) -> object:
        present = self._backend.switch(params.name)
        wanted = config.parse_switch(
            params.name,
            {"ageing": present.ageing, "logic": params.logic, "config": params.config},
        )
        return {"result": "loaded", "warnings": self._backend.set_logic(params.name, wanted)}

    def switch_remove(self, params: Name) -> object:
        names.check_switch(params.name)
        running = self._backend.config
        if params.name not in running.switches:
            return {"result": "absent"}
        members = [
            name
            for name, port in running.ports.items()
            if names.switch_of(name) == params.name and port.kind != "null"
        ]
        if members:
            raise RingpassError(
                f"cannot remove switch {params.name}",
                f"it has ports: {', '.join(members)}",
                "remove them first: ringpass port rm NAME",
            )
        switches = {name: s for name, s in running.switches.items() if name != params.name}
        return self._become(msgspec.structs.replace(running, switches=switches), "removed")

    def switch_fdb(self, params: Name) -> object:
        return self._backend.fdb(params.name)

    def port_list(self, _: Nothing) -> object:
        return self._backend.ports()

    def port_show(self, params: Name) -> object:
        return self._backend.port(params.name)

    def port_add(self, params: PortAdd) -> object:
        running = self._backend.config
        runtime_dir = self._backend.runtime_dir
        wanted = config.parse_port(params.name, params.settings, running, runtime_dir)
        present = running.ports.get(params.name)
        if present is not None and present != wanted:
            raise ConfigError(
                f"cannot add port {params.name}",
                "it exists, with other settings",
                "remove it first, or use ringpass apply",
            )
        ports = {**running.ports, params.name: wanted}
        return self._become(msgspec.structs.replace(running, ports=ports), "added")

    def port_remove(self, params: Name) -> object:
        names.check_port(params.name)
        running = self._backend.config
        if params.name not in running.ports:
            return {"result": "absent"}
        ports = {name: port for name, port in running.ports.items() if name != params.name}
        return self._become(msgspec.structs.replace(running, ports=ports), "removed")

    def port_repair(self, params: Name) -> object:
        return {"result": "repaired" if self._backend.repair(params.name) else "unchanged"}

    def apply(self, params: Apply) -> object:
        runtime_dir = self._backend.runtime_dir
        wanted = config.parse(params.config, runtime_dir, params.source)
        chosen = wanted.daemon.runtime_dir
        if chosen is not None and Path(chosen).absolute() != runtime_dir:
            raise ConfigError(
                f"{params.source}: daemon.runtime_dir cannot change",
                f"the running daemon has {runtime_dir}",
                "stop the daemon and start it with the new configuration",
            )
        actions = self._backend.plan(wanted) if params.dry_run else self._backend.become(wanted)
        return {
            "dry_run": params.dry_run,
            "actions": [{**msgspec.to_builtins(a), "text": str(a)} for a in actions],
        }

    def config_show(self, _: Nothing) -> object:
        running = self._backend.config
        return {
            "daemon": running.daemon,
            "libvirt": running.libvirt,
            "switch": running.switches,
            "region": running.regions,
            "port": running.ports,
        }

    def shutdown(self, _: Nothing) -> object:
        self._shut_down()
        return {"result": "stopping"}

    def _become(self, wanted: Config, verb: str) -> object:
        return {"result": verb if self._backend.become(wanted) else "unchanged"}


class Entry(NamedTuple):
    """How one method is served."""

    params: type[Struct]
    handler: Callable[[Methods, Any], object]
    changes: bool = False
    """Whether it is worth a line in the log."""


TABLE: dict[str, Entry] = {
    "ping": Entry(Nothing, Methods.ping),
    "status": Entry(Nothing, Methods.status),
    "switch.list": Entry(Nothing, Methods.switch_list),
    "switch.add": Entry(SwitchAdd, Methods.switch_add, changes=True),
    "switch.logic": Entry(SwitchLogic, Methods.switch_logic, changes=True),
    "switch.remove": Entry(Name, Methods.switch_remove, changes=True),
    "switch.fdb": Entry(Name, Methods.switch_fdb),
    "port.list": Entry(Nothing, Methods.port_list),
    "port.show": Entry(Name, Methods.port_show),
    "port.add": Entry(PortAdd, Methods.port_add, changes=True),
    "port.remove": Entry(Name, Methods.port_remove, changes=True),
    "port.repair": Entry(Name, Methods.port_repair, changes=True),
    "apply": Entry(Apply, Methods.apply, changes=True),
    "config.show": Entry(Nothing, Methods.config_show),
    "shutdown": Entry(Nothing, Methods.shutdown, changes=True),
}
