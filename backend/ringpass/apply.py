# SPDX-License-Identifier: BSD-2-Clause
"""What leads from one configuration to another: a list of actions, as data.

`plan` only compares; the daemon does what the actions say, one by one. What did not change is in
no action. A port that cannot be changed in place is removed and added again, which disconnects its
front end; the action says so.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct, structs

from ringpass.config import Config, Port, Region, Switch, Worker


class Placed(NamedTuple):
    """What a running port has beside its configuration."""

    worker: int
    front_end: int | None
    """The process of the connected front end."""


class WorkerAdd(Struct, frozen=True, tag="worker.add"):
    worker: int
    config: Worker

    def __str__(self) -> str:
        return f"+ worker {self.worker}: {_worker(self.config)}"


class WorkerSet(Struct, frozen=True, tag="worker.set"):
    worker: int
    config: Worker

    def __str__(self) -> str:
        return f"~ worker {self.worker}: {_worker(self.config)}"


class WorkerRemove(Struct, frozen=True, tag="worker.remove"):
    worker: int

    def __str__(self) -> str:
        return f"- worker {self.worker}"


class SocketsSet(Struct, frozen=True, tag="sockets.set"):
    mode: str
    group: str | None

    def __str__(self) -> str:
        group = f", group {self.group}" if self.group else ""
        return f"~ sockets of all ports: mode {self.mode}{group}"


class LibvirtSet(Struct, frozen=True, tag="libvirt.set"):
    connect: str | None

    def __str__(self) -> str:
        return f"~ libvirt: {'not followed' if self.connect is None else self.connect}"


class SwitchAdd(Struct, frozen=True, tag="switch.add"):
    name: str
    config: Switch

    def __str__(self) -> str:
        return f"+ switch {self.name}: {_switch(self.config)}"


class SwitchSet(Struct, frozen=True, tag="switch.set"):
    name: str
    config: Switch

    def __str__(self) -> str:
        return f"~ switch {self.name}: {_switch(self.config)}"


class SwitchRemove(Struct, frozen=True, tag="switch.remove"):
    name: str

    def __str__(self) -> str:
        return f"- switch {self.name}"


class RegionAdd(Struct, frozen=True, tag="region.add"):
    name: str
    config: Region

    def __str__(self) -> str:
        region = self.config
        return f"+ region {self.name}: {region.buffers} buffers of {region.buf_size} bytes"


class RegionRemove(Struct, frozen=True, tag="region.remove"):
    name: str

    def __str__(self) -> str:
        return f"- region {self.name}"


class PortAdd(Struct, frozen=True, tag="port.add"):
    name: str
    config: Port

    def __str__(self) -> str:
        port = self.config
        if port.interface is not None:
            host = " with its host stack" if port.host else ""
            return f"+ port {self.name}: {port.kind} {port.interface}{host}"
        if port.kind == "netmap":
            where = f", region {port.region}" if port.region else ""
            return f"+ port {self.name}: netmap, queues {port.queues}, slots {port.slots}{where}"
        return f"+ port {self.name}: {port.kind}, {port.mode} of {port.path}, queues {port.queues}"


class PortSet(Struct, frozen=True, tag="port.set"):
    name: str
    config: Port

    def __str__(self) -> str:
        port = self.config
        polling = f", polling {port.polling}" if port.interface is not None else ""
        return (
            f"~ port {self.name}: full {port.full}, hold_us {port.hold_us}, mtu {port.mtu}{polling}"
        )


class PortRemove(Struct, frozen=True, tag="port.remove"):
    name: str
    why: str
    front_end: int | None

    def __str__(self) -> str:
        loss = f"; process {self.front_end} is disconnected" if self.front_end else ""
        return f"- port {self.name}: {self.why}{loss}"


Action = (
    WorkerAdd
    | WorkerSet
    | WorkerRemove
    | SocketsSet
    | LibvirtSet
    | SwitchAdd
    | SwitchSet
    | SwitchRemove
    | RegionAdd
    | RegionRemove
    | PortAdd
    | PortSet
    | PortRemove
)

#: What of a port can be changed while its front end stays connected.
LIVE = frozenset({"full", "hold_us", "mtu", "polling"})


def plan(running: Config, wanted: Config, placed: Mapping[str, Placed]) -> list[Action]:
    """Return what turns `running` into `wanted`, in an order that always works.

    `placed` has an entry for each port of `running`.
    """
    ports = _PortPlan(running, wanted, placed)
    added, changed, removed = _split(running.switches, wanted.switches)
    workers = running.daemon.worker_list()
    wanted_workers = wanted.daemon.worker_list()
    actions: list[Action] = [*ports.removed]
    actions += [SwitchRemove(name) for name in removed]
    new_regions, other_regions, old_regions = _split(running.regions, wanted.regions)
    actions += [RegionRemove(name) for name in [*old_regions, *other_regions]]
    actions += [RegionAdd(name, wanted.regions[name]) for name in [*other_regions, *new_regions]]
    for number, config in enumerate(wanted_workers):
        if number >= len(workers):
            actions.append(WorkerAdd(number, config))
        elif config != workers[number]:
            actions.append(WorkerSet(number, config))
    old, new = running.daemon, wanted.daemon
    if (old.socket_mode, old.socket_group) != (new.socket_mode, new.socket_group):
        actions.append(SocketsSet(new.socket_mode, new.socket_group))
    actions += [SwitchAdd(name, wanted.switches[name]) for name in added]
    actions += [SwitchSet(name, wanted.switches[name]) for name in changed]
    actions += ports.added
    actions += ports.changed
    for number in reversed(range(len(wanted_workers), len(workers))):
        actions.append(WorkerRemove(number))
    if running.libvirt != wanted.libvirt:
        actions.append(LibvirtSet(wanted.libvirt.connect))
    return actions


class _PortPlan:
    """The ports' part of a plan."""

    def __init__(self, running: Config, wanted: Config, placed: Mapping[str, Placed]) -> None:
        self.added: list[PortAdd] = []
        self.changed: list[PortSet] = []
        self.removed: list[PortRemove] = []
        workers = len(wanted.daemon.worker_list())
        for name, port in running.ports.items():
            new = wanted.ports.get(name)
            worker, front_end = placed[name]
            if new is None:
                self.removed.append(PortRemove(name, "not wanted any more", front_end))
                continue
            differences = _differences(port, new)
            moved = worker >= workers if new.worker is None else worker != new.worker
            if moved:
                differences["worker"] = f"worker {worker} -> {_any(new.worker)}"
            if not differences:
                continue
            if differences.keys() <= LIVE:
                self.changed.append(PortSet(name, new))
            else:
                why = "to be made again, " + ", ".join(differences.values())
                self.removed.append(PortRemove(name, why, front_end))
                self.added.append(PortAdd(name, new))
        for name, port in wanted.ports.items():
            if name not in running.ports:
                self.added.append(PortAdd(name, port))


def _differences(old: Port, new: Port) -> dict[str, str]:
    """Return what differs, in words; the worker, which may be left open, is not compared."""
    before, after = structs.asdict(old), structs.asdict(new)
    return {
        field: f"{field} {_any(before[field])} -> {_any(after[field])}"
        for field in before
        if field != "worker" and before[field] != after[field]
    }


def _split(
    old: Mapping[str, Switch | Region], new: Mapping[str, Switch | Region]
) -> tuple[list[str], list[str], list[str]]:
    """Return the names that were added, changed and removed."""
    added = [name for name in new if name not in old]
    changed = [name for name in new if name in old and new[name] != old[name]]
    removed = [name for name in old if name not in new]
    return added, changed, removed


def _any(value: object) -> str:
    return "any" if value is None else str(value)


def _switch(config: Switch) -> str:
    said = f"ageing {config.ageing} s"
    return said if config.logic == "bridge" else f"{said}, logic {config.logic}"


def _worker(config: Worker) -> str:
    return f"policy {config.policy}, cpu {_any(config.cpu)}"
