# SPDX-License-Identifier: BSD-2-Clause
"""Everything that runs: the configuration made real in the data plane and in sockets."""

import difflib
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec

from ringpass import apply, names
from ringpass.config import Config, Daemon, Libvirt, Port, Switch, Worker
from ringpass.daemon import logic
from ringpass.daemon.libvirt import Domains
from ringpass.daemon.ports import Control, GuestControl, HostControl
from ringpass.daemon.programs import Programs
from ringpass.dataplane import (
    MAX_RING_PAIRS,
    DataPlane,
    FrontEndKind,
    Full,
    Kind,
    Policy,
    PortId,
    PortSpec,
    SwitchId,
    WorkerId,
    vhost_features,
)
from ringpass.errors import NotFound, RingpassError
from ringpass.keeper.entries import Entries
from ringpass.netlink import links
from ringpass.netmap.port import Group
from ringpass.netmap.port import Port as NetmapPort
from ringpass.netmap.rings import Geometry
from ringpass.netmap.switches import LiveSwitch, Switches
from ringpass.nic import devices
from ringpass.nic.interface import Interface
from ringpass.nic.nic import Nic
from ringpass.nic.polling import Polling
from ringpass.nic.provider import Interfaces
from ringpass.observe.counters import Counters, RingCounters
from ringpass.observe.status import (
    FdbEntry,
    FrontEndStatus,
    PortState,
    PortStatus,
    RingStatus,
    SwitchStatus,
    WorkerStatus,
    traffic,
)
from ringpass.passthrough.account import Turns
from ringpass.passthrough.peers import PeerIds
from ringpass.passthrough.seat import saved_records, warn_of_unreadable
from ringpass.sockets import Access
from ringpass.vhostuser.device import Device, offered
from ringpass.vhostuser.frontend import FrontEnd
from ringpass.vhostuser.messages import DeviceStatus, Feature, ProtocolFeature, words
from ringpass.vhostuser.port import VhostUserPort

log = logging.getLogger(__name__)

_KINDS = {"null": Kind.NULL}
_FULL = {"hold": Full.HOLD, "drop": Full.DROP}


class LivePort:
    """A port that runs."""

    def __init__(
        self,
        port: PortId,
        config: Port,
        worker: int,
        control: Control,
        host_port: PortId | None = None,
    ) -> None:
        self.id = port
        self.config = config
        self.worker = worker
        self.control = control
        self.host_port = host_port
        """The port of a NIC's host stack."""


class Backend:
    """What runs. `become` is the only way to change it. It lives in the event loop's thread."""

    def __init__(
        self,
        dataplane: DataPlane,
        counters: Counters,
        runtime_dir: Path,
        entries: Entries | None = None,
    ) -> None:
        """`entries`: what is held for the next daemon, and was by the one before."""
        self._entries = entries or Entries()
        self.runtime_dir = runtime_dir
        self._dataplane = dataplane
        self._counters = counters
        self._daemon = Daemon(workers=[])
        self._workers: list[tuple[WorkerId, Worker]] = []
        self._switches = Switches(dataplane)
        self._ports: dict[str, LivePort] = {}
        self._peer_ids = PeerIds()
        self._turns = Turns()
        self.domains = Domains()
        self._interfaces = Interfaces(dataplane, self._place)
        self.programs = Programs(
            dataplane, self._switches, runtime_dir, self._place, self._interfaces, self._entries
        )

    @property
    def config(self) -> Config:
        """The configuration that runs."""
        workers = [config for _, config in self._workers]
        return Config(
            msgspec.structs.replace(self._daemon, workers=workers),
            self._switches.configured(),
            {name: port.config for name, port in self._ports.items()} | self.programs.reserved,
            self.programs.regions.configured(),
            Libvirt(self.domains.uri),
        )

    def plan(self, wanted: Config) -> list[apply.Action]:
        """Return the actions that lead from here to `wanted`."""
        placed = {
            name: apply.Placed(port.worker, _pid(port.control))
            for name, port in self._ports.items()
        }
        placed |= {
            name: apply.Placed(config.worker or 0, None)
            for name, config in self.programs.reserved.items()
        }
        return apply.plan(self.config, wanted, placed)

    def become(self, wanted: Config) -> list[apply.Action]:
        """Do what leads from here to `wanted`; return the actions.

        Raises RingpassError at the first action that fails; those before it are done.
        """
        actions = self.plan(wanted)
        for done, action in enumerate(actions):
            try:
                self._perform(action)
            except RingpassError as error:
                if done:
                    error.why += f" ({done} of {len(actions)} actions were done before)"
                raise
            log.info("event=action did=%r", str(action))
        self._daemon = wanted.daemon
        for name, port in self._ports.items():
            port.config = wanted.ports[name]
        return actions

    def start(self, wanted: Config) -> None:
        """Become what is `wanted`, with the guests that an earlier daemon left.

        They wait until `go_on`. If that is not to come, or this raises RingpassError, `abandon`.
        """
        warn_of_unreadable(self._entries)
        self.become(wanted)

    def go_on(self) -> None:
        """Let the guests of an earlier daemon go on, and close what nobody took of what it left."""
        self._dataplane.settle()
        for port in self._ports.values():
            if isinstance(port.control, GuestControl):
                port.control.go_on()
        self._entries.drop_found()

    def abandon(self) -> None:
        """Leave guests to the next daemon as they are: what `close` does is for nobody to see."""
        self._entries.abandon()
        self._dataplane.abandon()

    def open(self) -> None:
        """Let programs come. Raises RingpassError if the socket's path cannot be had."""
        self.programs.open(self._access())

    def close(self) -> None:
        """Disconnect all front ends and remove all sockets. The data plane stays the caller's."""
        self.domains.close()
        self.programs.close()
        self._interfaces.close()
        for port in self._ports.values():
            port.control.close()

    def note_broken(self) -> None:
        """Look which ports the data plane stopped."""
        for port in self._ports.values():
            port.control.note_broken()
        self.programs.note_broken()

    def look_at_interfaces(self) -> None:
        """Follow what became of the host's interfaces that are ports, each of them."""
        for name, port in self._ports.items():
            if isinstance(port.control, HostControl):
                _try_to_look(port.control.look, name)
        _try_to_look(self._interfaces.look, "of programs")

    def repair(self, name: str) -> bool:
        """Take a port back into service; return whether it was broken."""
        opened = self.programs.find(name)
        return self._port(name).control.repair() if opened is None else self.programs.repair(opened)

    def fdb(self, name: str) -> list[FdbEntry]:
        """Return the MAC table of a switch."""
        self.switch(name)
        port_names = {port.id: port.name for port in self.programs.ports}
        port_names |= {
            port.host_port: _host_name(port_name)
            for port_name, port in self._ports.items()
            if port.host_port is not None
        }
        return [
            FdbEntry(row.mac.hex(":"), port_names.get(row.port, "?"), row.age_s)
            for row in self._dataplane.fdb(self._live_switch(name).id)
        ]

    def switch(self, name: str) -> Switch:
        """Return the configuration of one switch."""
        return self._live_switch(name).config

    def set_logic(self, name: str, config: Switch) -> str:
        """Give a switch the logic of `config`, also if the file's name and text are as they were.

        Return what there is to warn of: what the compiler said, ports that are not there.
        """
        warnings = logic.load(self._dataplane, self._live_switch(name).id, config).splitlines()
        self._switches.configure(name, config)
        there = [port.name for port in self.programs.ports]
        there += [_host_name(port) for port, at in self._ports.items() if at.host_port is not None]
        own = [port for port in there if port.startswith(f"{name}:")]
        absent = logic.absent_ports(config, own)
        return "\n".join([*warnings, *(f"there is no port {port} yet" for port in absent)])

    def switches(self) -> list[SwitchStatus]:
        """Return the switches."""
        return [
            SwitchStatus(
                switch.name,
                switch.config.ageing,
                [port.name for port in self.programs.ports if port.switch == switch.name],
                len(self._dataplane.fdb(switch.id)),
                switch.config.logic,
                not switch.configured,
            )
            for switch in self._switches
        ]

    def workers(self) -> list[WorkerStatus]:
        """Return the workers with their counters."""
        counters = {row.worker: row for row in self._counters.workers()}
        found = []
        for number, (worker, config) in enumerate(self._workers):
            row = counters.get(worker)
            found.append(
                WorkerStatus(
                    number,
                    config.policy,
                    config.cpu,
                    row.tid if row else 0,
                    self._served_by(number),
                    row.loops if row else 0,
                    row.busy if row else 0,
                    row.sleeps if row else 0,
                    row.wakes if row else 0,
                )
            )
        return found

    def ports(self) -> list[PortStatus]:
        """Return the ports."""
        found = []
        for name, port in self._ports.items():
            found.append(self._status(name))
            if port.host_port is not None:
                found.append(self._host_status(name, port.host_port, found[-1]))
        return found + self.programs.status(self._rings)

    def port(self, name: str) -> PortStatus:
        """Return one port."""
        for opened in self.programs.status(self._rings):
            if opened.name == name:
                return opened
        return self._status(name)

    def _status(self, name: str) -> PortStatus:
        live = self._port(name)
        config, control = live.config, live.control
        status = self._dataplane.port_status(live.id)
        front_end = control.front_end
        state: PortState = "waiting"
        if status.broken is not None:
            state = "broken"
        elif isinstance(control, HostControl):
            state = "up" if status.tx_live else "waiting"
        elif isinstance(control, GuestControl) and control.seat is not None:
            state = "up" if control.port.registrations else "connected"
        elif front_end is not None:
            state = "up" if status.tx_live or status.rx_live else "connected"
        found = PortStatus(
            name=name,
            kind=config.kind,
            state=state,
            reason=status.broken or "",
            mode=config.mode,
            path=str(control.path),
            worker=live.worker,
            queues=len(status.tx_records),
            mtu=config.mtu,
            mac=str(config.mac),
            front_end=_front_end(front_end),
            standby=_front_end(control.standby),
            sessions=control.history.sessions,
            refused=control.history.refused,
            violations=control.history.violations,
            delays=control.history.delays,
            delayed_s=control.history.delayed_s,
            handovers=control.history.handovers,
            pause_s=control.history.pause_s,
            last_error=control.history.last_error,
            last_error_at=control.history.last_error_at,
            tx=traffic(self._rings(status.tx_records)),
            rx=traffic(self._rings(status.rx_records)),
            interface=control.status() if isinstance(control, HostControl) else None,
            domain=self.domains.of(str(control.path)),
        )
        return control.complete(found) if isinstance(control, GuestControl) else found

    def _host_status(self, name: str, port: PortId, nic: PortStatus) -> PortStatus:
        status = self._dataplane.port_status(port)
        return msgspec.structs.replace(
            nic,
            name=_host_name(name),
            kind="host",
            state="broken" if status.broken else "up" if status.tx_live else "waiting",
            reason=status.broken or "",
            queues=1,
            tx=traffic(self._rings(status.tx_records)),
            rx=traffic(self._rings(status.rx_records)),
            interface=nic.interface and msgspec.structs.replace(nic.interface, mode="tap"),
        )

    def _perform(self, action: apply.Action) -> None:
        """Do one action. One that fails changes nothing."""
        match action:
            case apply.WorkerAdd(_, config):
                worker = self._dataplane.add_worker(*_policy(config), cpu=config.cpu)
                self._workers.append((worker, config))
            case apply.WorkerSet(number, config):
                worker, _ = self._workers[number]
                self._dataplane.set_worker(worker, *_policy(config), cpu=config.cpu)
                self._workers[number] = worker, config
            case apply.WorkerRemove(number):
                self._dataplane.remove_worker(self._workers[number][0])
                del self._workers[number]
            case apply.SocketsSet(mode, group):
                access = Access(int(mode, 8), group)
                for port in self._ports.values():
                    port.control.set_access(access)
                self.programs.set_access(access)
                self._daemon = msgspec.structs.replace(
                    self._daemon, socket_mode=mode, socket_group=group
                )
            case apply.LibvirtSet(connect):
                self.domains.follow(connect)
            case apply.SwitchAdd(name, switch_config):
                self._add_switch(name, switch_config)
            case apply.SwitchSet(name, switch_config):
                live_switch = self._live_switch(name)
                before = msgspec.structs.replace(live_switch.config, ageing=switch_config.ageing)
                if before != switch_config:
                    logic.load(self._dataplane, live_switch.id, switch_config)
                self._switches.configure(name, switch_config)
            case apply.SwitchRemove(name):
                self._switches.forget(name)
            case apply.RegionAdd(name, region_config):
                self.programs.regions.configure(name, region_config)
            case apply.RegionRemove(name):
                self.programs.regions.forget(name)
            case apply.PortAdd(name, port_config) if port_config.kind == "netmap":
                self.programs.reserve(name, port_config)
            case apply.PortSet(name, port_config) if port_config.kind == "netmap":
                self.programs.reserve(name, port_config)
            case apply.PortRemove(name) if name in self.programs.reserved:
                self.programs.unreserve(name)
            case apply.PortAdd(name, port_config):
                if port_config.kind != "passthrough":
                    self.programs.ports.make_free(name)
                self._ports[name] = self._add_port(name, port_config)
                if port_config.kind != "passthrough":
                    self._adopt(name, self._ports[name])
            case apply.PortSet(name, port_config):
                live = self._ports[name]
                full = _FULL[port_config.full]
                self._dataplane.set_port_full(live.id, full, port_config.hold_us)
                self._dataplane.set_port_mtu(live.id, port_config.mtu)
                live.control.set_mtu(port_config.mtu)
                if isinstance(live.control, HostControl):
                    live.control.set_polling(port_config.polling)
                live.config = port_config
            case apply.PortRemove(name):
                live = self._ports.pop(name)
                live.control.close()
                if isinstance(live.control, GuestControl):
                    self._remove_guest(name, live.control)
                elif names.parse_pipe(name):
                    self.programs.ports.remove_machine(name)
                else:
                    self.programs.ports.disown(name)
                    self._remove(live.id, live.host_port)

    def _add_switch(self, name: str, config: Switch) -> None:
        """Make a switch, or keep one that programs made on demand, with all that is on it."""
        self._switches.configure(name, config)
        try:
            logic.load(self._dataplane, self._live_switch(name).id, config)
        except RingpassError:
            self._switches.forget(name)
            raise

    def _adopt(self, name: str, live: LivePort) -> None:
        """Let the ports that programs name know of a port of the configuration."""
        if names.parse_pipe(name):
            return
        kind = _KINDS.get(live.config.kind, Kind.VALE)
        rings = len(self._dataplane.port_status(live.id).tx_records)
        interface = live.config.interface
        self.programs.ports.adopt(
            NetmapPort(
                name,
                live.id,
                kind,
                FrontEndKind.VHOST if interface is None else FrontEndKind.KERNEL,
                Geometry(rings, rings),
                self._workers[live.worker][0],
                Group(),
                switch=names.switch_of(name) if kind is Kind.VALE else "",
                interface=interface or "",
            )
        )

    def _add_port(self, name: str, config: Port) -> LivePort:
        worker = self._idlest_worker() if config.worker is None else config.worker
        if config.interface is not None:
            return self._add_interface(name, config, config.interface, worker)
        if config.kind == "passthrough":
            return self._add_guest(name, config, worker)
        port = self._add_plain(name, config, worker)
        assert config.mac is not None
        assert config.path is not None
        control = VhostUserPort(
            name,
            Device(
                features=offered(vhost_features(), config.queues, config.offloads, config.withhold),
                mac=bytes.fromhex(config.mac.replace(":", "")),
                mtu=config.mtu,
                pairs=config.queues,
            ),
            self._dataplane.vhost(port),
            config.mode,
            Path(config.path),
            self._access(),
        )
        try:
            control.open()
        except RingpassError:
            if names.parse_pipe(name):
                self.programs.ports.remove_machine(name)
            else:
                self._dataplane.remove_port(port)
            raise
        return LivePort(port, config, worker, control)

    def _add_guest(self, name: str, config: Port, worker: int) -> LivePort:
        """Add a port whose rings a guest maps."""
        regions, ports = self.programs.regions, self.programs.ports
        port = ports.add_guest(name, msgspec.structs.replace(config, worker=worker))
        assert port.region is not None
        with ExitStack() as undo:
            undo.callback(ports.remove_guest, name)
            saved = saved_records(self._entries, port.region)
            seat = regions.take_seat(port.region, saved.get(name), saved.values())
            undo.callback(regions.give_seat, port.region, seat)
            control = GuestControl(
                name,
                config,
                self.programs.device,
                port,
                seat,
                self._peer_ids,
                self._turns,
                self._access(),
                self._entries,
            )
            control.open()
            undo.pop_all()
        return LivePort(port.id, config, worker, control)

    def _remove_guest(self, name: str, control: GuestControl) -> None:
        assert control.port.region is not None
        self.programs.regions.give_seat(control.port.region, control.record)
        self.programs.ports.remove_guest(name)

    def _add_plain(self, name: str, config: Port, worker: int) -> PortId:
        """Make a virtual machine's port: of a switch, the end of a pipe, or one that discards."""
        if names.parse_pipe(name):
            wanted = msgspec.structs.replace(config, worker=worker)
            return self.programs.ports.add_machine(name, wanted).id
        return self._dataplane.add_port(self._spec(name, config, worker, config.queues))

    def _spec(self, name: str, config: Port, worker: int, queues: int) -> PortSpec:
        kind = _KINDS.get(config.kind, Kind.VALE)
        return PortSpec(
            name=name,
            kind=kind,
            front_end=FrontEndKind.VHOST if config.interface is None else FrontEndKind.KERNEL,
            switch=self._live_switch(names.switch_of(name)).id
            if kind is Kind.VALE
            else SwitchId(-1),
            worker=self._workers[worker][0],
            tx_rings=queues,
            rx_rings=queues,
            full=_FULL[config.full],
            hold_us=config.hold_us,
            mtu=config.mtu,
        )

    def _add_interface(self, name: str, config: Port, interface: str, worker: int) -> LivePort:
        """Add a port that has an interface of the host, and one of its host stack."""
        queues = config.queues
        if config.kind == "nic":
            links.get(interface)
            queues = devices.queue_count(interface)
            if queues > MAX_RING_PAIRS:
                raise RingpassError(
                    f"cannot open interface {interface}",
                    f"it has {queues} receive queues, and a port has at most {MAX_RING_PAIRS}",
                    f"give it fewer: ethtool -L {interface} combined {MAX_RING_PAIRS}",
                )
        port = self._dataplane.add_port(self._spec(name, config, worker, queues))
        host_port = None
        try:
            if config.host:
                spec = self._spec(name, config, worker, 1)._replace(name=_host_name(name))
                host_port = self._dataplane.add_port(spec)
            taken = (
                Nic(
                    self._dataplane,
                    interface,
                    port,
                    host_port,
                    queues=queues,
                    fallback=config.fallback,
                )
                if config.kind == "nic"
                else Interface(
                    self._dataplane,
                    interface,
                    port,
                    queues=queues,
                    mtu=config.mtu,
                    mac=str(config.mac),
                )
            )
            polling = Polling(self._dataplane, port, queues, self._workers[worker][0])
            control = HostControl(self._dataplane, port, taken, polling)
            control.open()
            try:
                control.set_polling(config.polling)
            except RingpassError:
                control.close()
                raise
        except RingpassError:
            self._remove(port, host_port)
            raise
        return LivePort(port, config, worker, control, host_port)

    def _remove(self, *ports: PortId | None) -> None:
        for port in ports:
            if port is not None:
                self._dataplane.remove_port(port)

    def _served_by(self, worker: int) -> list[str]:
        """Return the ports whose tx rings a worker serves."""
        handle = self._workers[worker][0]
        return [port.name for port in self.programs.ports if port.worker == handle]

    def _idlest_worker(self) -> int:
        load = [len(self._served_by(number)) for number in range(len(self._workers))]
        return load.index(min(load))

    def _place(self, worker: int | None = None) -> WorkerId:
        """Return a worker by its number; None: the one with the fewest ports."""
        return self._workers[self._idlest_worker() if worker is None else worker][0]

    def _access(self) -> Access:
        return Access(int(self._daemon.socket_mode, 8), self._daemon.socket_group)

    def _rings(self, records: Iterable[int]) -> Iterator[RingCounters]:
        for record in records:
            ring = self._counters.ring(record)
            if ring is not None:
                yield ring

    def _live_switch(self, name: str) -> LiveSwitch:
        found = self._switches.get(name)
        if found is None:
            raise _absent("switch", name, [switch.name for switch in self._switches])
        return found

    def _port(self, name: str) -> LivePort:
        if name not in self._ports:
            raise _absent("port", name, [port.name for port in self.programs.ports])
        return self._ports[name]


def _try_to_look(look: Callable[[], None], which: str) -> None:
    try:
        look()
    except Exception:
        log.exception("event=look-failed interfaces=%r", which)


def _host_name(nic: str) -> str:
    """Return the name of the port of a NIC's host stack."""
    return f"{nic}^"


def _absent(kind: str, name: str, known: Iterable[str]) -> NotFound:
    close = difflib.get_close_matches(name, list(known), n=1)
    fix = f"did you mean {close[0]}?" if close else f"ringpass {kind} ls"
    return NotFound(f"there is no {kind} {name}", "the daemon does not run one", fix)


def _pid(control: Control) -> int | None:
    """Return the process that has a port."""
    if isinstance(control, GuestControl):
        return None if control.seat is None else control.seat.transport.pid
    return None if control.front_end is None else control.front_end.pid


def _policy(worker: Worker) -> tuple[Policy, int]:
    """Return the policy of `worker` and how long it sleeps, in microseconds."""
    name, _, sleep_us = worker.policy.partition(":")
    return Policy[name.upper()], int(sleep_us or 0)


def _front_end(front_end: FrontEnd | None) -> FrontEndStatus | None:
    if front_end is None:
        return None
    session = front_end.session
    attachment = session.attachment
    return FrontEndStatus(
        pid=front_end.pid,
        since=front_end.since,
        driver=words(session.status, DeviceStatus),
        features=words(session.features or 0, Feature),
        protocol_features=words(session.protocol_features, ProtocolFeature),
        memory_regions=len(session.memory),
        memory_bytes=sum(slot.size for slot in session.memory),
        memory_private=front_end.memory_private,
        logging=attachment.logging,
        waits=attachment.wants_port and not attachment.holds_port,
        rings=[
            RingStatus(ring.index, ring.size, ring.enabled, ring.kicked, ring.running)
            for ring in session.rings
        ],
    )
