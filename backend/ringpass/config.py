# SPDX-License-Identifier: BSD-2-Clause
"""The configuration: a TOML file in, checked and complete values out.

    [daemon]              workers, who may open the sockets
    [libvirt]             whose domains the daemon follows
    [switch.vale0]        a switch, and what says where its frames go
    [region.video]        memory for ports with netmap's rings
    [port."vale0:vm1"]    a port of it

What is wrong is reported as `ConfigError` with the path of the key, as it stands in the file, and
what to do. Derived values (MAC address, socket path) are filled in, so that two configurations
that mean the same are equal.
"""

import difflib
import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import msgspec
from msgspec import Meta, Struct

from ringpass import logic, names
from ringpass.errors import ConfigError
from ringpass.paths import MAX_SOCKET_PATH

MAX_WORKERS = 64
MAX_QUEUES = 8
#: The name of the region that says what private ones are like.
PRIVATE = "private"
#: Of a region: bytes of a buffer, buffers, rings, opens of its ports; slots of a ring.
MAX_BUF_SIZE = 65472
MAX_BUFFERS = 1_000_000
MAX_RINGS = 4096
MAX_INTERFACES = 4096
MAX_SLOTS = 4096
MAX_EXTRA_RINGS = 64

Offload = Literal["csum", "tso4", "tso6", "ecn"]
ALL_OFFLOADS: tuple[Offload, ...] = ("csum", "tso4", "tso6", "ecn")
#: An offload is of use only with one of these.
_OFFLOAD_NEEDS: Mapping[Offload, tuple[Offload, ...]] = {
    "tso4": ("csum",),
    "tso6": ("csum",),
    "ecn": ("tso4", "tso6"),
}

#: Features that shape virtqueues and their buffers, as QEMU's device options name them.
RingFeature = Literal["mrg_rxbuf", "indirect_desc", "event_idx", "packed", "in_order"]
RING_FEATURES: tuple[RingFeature, ...] = (
    "mrg_rxbuf",
    "indirect_desc",
    "event_idx",
    "packed",
    "in_order",
)

#: What a switch can do without a C file: learn, keep to a table, or spread flows over ports.
BUILT_IN_LOGICS = ("bridge", "static", "hash")

Microseconds = Annotated[int, Meta(ge=0, le=1_000_000)]


class Worker(Struct, frozen=True, forbid_unknown_fields=True):
    """A thread that moves frames."""

    cpu: Annotated[int, Meta(ge=0, le=4095)] | None = None
    """The CPU that it is bound to, or any."""
    policy: Annotated[str, Meta(pattern=r"^(adaptive|busy|notify|sleep:[1-9][0-9]{0,5})$")] = (
        "adaptive"
    )
    """What it does without work: `adaptive`, `busy`, `notify` or `sleep:MICROSECONDS`."""


class Daemon(Struct, frozen=True, forbid_unknown_fields=True):
    """What concerns the whole daemon."""

    runtime_dir: str | None = None
    """Where its sockets and counters are; `RINGPASS_RUNTIME_DIR` wins over it."""
    workers: Annotated[int, Meta(ge=1, le=MAX_WORKERS)] | list[Worker] = 1
    """How many workers, or a table for each."""
    socket_mode: Annotated[str, Meta(pattern=r"^0?[0-7]{3}$")] = "0660"
    """Permissions of the ports' sockets, in octal."""
    socket_group: str | None = None
    """The group of the ports' sockets; None: the daemon's own."""

    def worker_list(self) -> list[Worker]:
        """Return a value for each worker."""
        return [Worker()] * self.workers if isinstance(self.workers, int) else self.workers


class Libvirt(Struct, frozen=True, forbid_unknown_fields=True):
    """The libvirt whose domains have ports."""

    connect: Annotated[str, Meta(min_length=1)] | None = None
    """Its URI; None: the daemon does not follow what becomes of domains."""


class Switch(Struct, frozen=True, forbid_unknown_fields=True):
    """A switch."""

    ageing: Annotated[int, Meta(ge=0, le=1_000_000)] = 300
    """Seconds after which a MAC address that was not heard is forgotten; 0: never."""
    logic: str = "bridge"
    """What says where frames go: one of BUILT_IN_LOGICS, or the whole path of a C file."""
    config: str = ""
    """The text for the logic."""
    table: dict[str, str] = {}
    """static: MAC address -> port."""
    digest: str = ""
    """Of the C file. Whatever a file says here, it is filled in."""

    def text(self) -> str:
        """Return all that the logic is told."""
        lines = [self.config] if self.config else []
        return "\n".join([*lines, *(f"{mac}={port}" for mac, port in self.table.items())])


class Region(Struct, frozen=True, forbid_unknown_fields=True):
    """Memory for ports with netmap rings. Only what is used of it takes memory."""

    buf_size: Annotated[int, Meta(ge=64, le=MAX_BUF_SIZE, multiple_of=64)] = 2048
    """Bytes of each buffer."""
    buffers: Annotated[int, Meta(ge=4, le=MAX_BUFFERS)] = 65536
    rings: Annotated[int, Meta(ge=2, le=MAX_RINGS)] = 256
    """Of all ports together."""
    slots: Annotated[int, Meta(ge=2, le=MAX_SLOTS)] = MAX_SLOTS
    """Of the longest ring."""
    interfaces: Annotated[int, Meta(ge=1, le=MAX_INTERFACES)] = 128
    """How often ports may be open at the same time: each open has a netmap_if of its own."""


class Port(Struct, frozen=True, forbid_unknown_fields=True):
    """A port of a switch: virtual machines connect to it, or an interface of the host is there."""

    kind: Literal["vhost-user", "null", "nic", "interface", "netmap", "passthrough"] = "vhost-user"
    """`null` throws the guest's frames away instead of switching them; `nic` takes a network
    interface of the host away from its stack; `interface` makes a new one, for the stack; `netmap`
    is for programs, and there while one has it open; the rings of `passthrough` are mapped by a
    guest."""
    mode: Literal["server", "client"] = "server"
    """`server`: we listen on the socket; `client`: we connect to the one of the front end."""
    path: str | None = None
    """The socket. None in a file: a name made of the port's, in the runtime directory."""
    queues: Annotated[int, Meta(ge=1, le=MAX_QUEUES)] = 1
    """Pairs of virtqueues, or of netmap's rings."""
    mtu: Annotated[int, Meta(ge=68, le=65535)] = 1500
    mac: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$")] | None = None
    """The guest's address, if its front end asks for one. None in a file: made of the name."""
    full: Literal["hold", "drop"] = "hold"
    """Whether the senders of frames for the full port wait a little, or lose them at once."""
    hold_us: Microseconds = 1000
    offloads: list[Offload] = msgspec.field(default_factory=lambda: list(ALL_OFFLOADS))
    """What a guest may leave to the receiver of its frames."""
    withhold: list[RingFeature] = []
    """What a guest is not offered, for drivers that are better off without."""
    worker: Annotated[int, Meta(ge=0, le=MAX_WORKERS - 1)] | None = None
    """The worker that serves it, from 0; None: the one with the fewest ports."""
    interface: str | None = None
    """nic, interface: its name. None in a file: the part of the port's behind the colon."""
    host: bool = False
    """nic: the host's stack stays on the interface, as a port `SWITCH:PORT^` beside this one."""
    fallback: Literal["packet", "refuse"] = "packet"
    """nic: whether packet sockets will do where the driver has no XDP."""
    polling: list[Annotated[int, Meta(ge=0, le=4095)]] = []
    """nic, interface: CPUs that do nothing but move what comes in, its queues in turn."""
    slots: Annotated[int, Meta(ge=2, le=MAX_SLOTS)] = 1024
    """netmap, passthrough: of each ring."""
    region: str | None = None
    """netmap, passthrough: the region that its rings are in; None: a private one."""
    extra_rings: Annotated[int, Meta(ge=0, le=MAX_EXTRA_RINGS)] = 8
    """passthrough: rings of pipes and monitors that the guest may have open beside its port's."""
    extra_buffers: Annotated[int, Meta(ge=0, le=MAX_BUFFERS)] = 1024
    """passthrough: extra buffers that the guest may have."""


class Config(Struct, frozen=True):
    """A whole configuration, complete and consistent."""

    daemon: Daemon
    switches: dict[str, Switch]
    ports: dict[str, Port]
    regions: dict[str, Region] = {}
    libvirt: Libvirt = Libvirt()


class File(Struct, frozen=True, forbid_unknown_fields=True):
    """The tables of a configuration file, for its JSON schema."""

    daemon: Daemon = Daemon()
    libvirt: Libvirt = Libvirt()
    switch: dict[str, Switch] = {}
    region: dict[str, Region] = {}
    port: dict[str, Port] = {}


def read(path: Path) -> dict[str, Any]:
    """Return the tables of the TOML file at `path`, unchecked. Raises ConfigError.

    The paths of switches' logics are whole: in the file they are relative to its directory.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML", str(error), "correct that line") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not valid TOML", "it is not UTF-8 text", "save it as UTF-8"
        ) from error
    except OSError as error:
        why = error.strerror or str(error)
        fix = "name a file that exists and that you may read"
        raise ConfigError(f"cannot read the configuration {path}", why, fix) from error
    switches = tables.get("switch")
    for switch in switches.values() if isinstance(switches, dict) else ():
        if isinstance(switch, dict) and isinstance(name := switch.get("logic"), str):
            switch["logic"] = whole_logic(name, path.parent)
    return tables


def whole_logic(name: str, directory: Path) -> str:
    """Return the name of a logic; a C file's from the root on, if it is relative to `directory`."""
    return str((directory / name).absolute()) if name.endswith(".c") else name


def load(path: Path, runtime_dir: Path) -> Config:
    """Return the configuration of the file at `path`. Raises ConfigError."""
    return parse(read(path), runtime_dir, source=str(path))


def parse(tables: Mapping[str, Any], runtime_dir: Path, source: str) -> Config:
    """Return the configuration that `tables` (a TOML document) describes. Raises ConfigError."""
    check = _Checker(source)
    check.keys(tables, File.__struct_fields__, "")
    daemon = check.convert(tables.get("daemon", {}), Daemon, "daemon")
    check.workers(daemon)
    libvirt = check.convert(tables.get("libvirt", {}), Libvirt, "libvirt")
    switches = {
        check.name(names.check_switch, name, "switch"): check.switch(
            name, check.convert(table, Switch, f"switch.{_key(name)}")
        )
        for name, table in check.table(tables.get("switch", {}), "switch").items()
    }
    regions = {
        check.name(names.check_region, name, "region"): check.convert(
            table, Region, f"region.{_key(name)}"
        )
        for name, table in check.table(tables.get("region", {}), "region").items()
    }
    found = Config(daemon, switches, {}, regions, libvirt)
    for name, table in check.table(tables.get("port", {}), "port").items():
        key = f"port.{_key(name)}"
        port = check.convert(table, Port, key)
        found.ports[name] = check.port(name, port, key, found, runtime_dir)
    check.distinct(found.ports)
    check.pipes(found.ports)
    return found


def parse_port(name: str, table: Mapping[str, Any], running: Config, runtime_dir: Path) -> Port:
    """Return the checked port `name`, that is to join the configuration `running`."""
    check = _Checker("the request")
    key = f"port.{_key(name)}"
    port = check.convert(table, Port, key)
    port = check.port(name, port, key, running, runtime_dir)
    check.distinct({**running.ports, name: port})
    check.pipes({**running.ports, name: port})
    return port


def parse_switch(name: str, table: Mapping[str, Any]) -> Switch:
    """Return the checked switch `name`."""
    check = _Checker("the request")
    return check.switch(name, check.convert(table, Switch, f"switch.{_key(name)}"))


def schema() -> dict[str, Any]:
    """Return the JSON schema of configuration files."""
    return msgspec.json.schema(File)


def default_mac(name: str) -> str:
    """Return the MAC address of the port `name`: locally administered, the same every time."""
    digest = hashlib.blake2s(name.encode(), digest_size=5).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest))


def netdev_path(path: Path) -> Path:
    """Return the socket for QEMU's netdev of the passthrough port whose other socket is `path`."""
    return path.with_name(path.name.removesuffix(".sock") + ".netdev")


def default_path(name: str, runtime_dir: Path) -> Path:
    """Return the socket of the port `name`."""
    return runtime_dir / f"{name.replace(':', '.')}.sock"


#: What to write, where the type alone does not tell.
_FORMS = {
    "workers": 'write a number, or a list of tables such as {cpu = 1, policy = "adaptive"}',
    "policy": "write adaptive, busy, notify or sleep:MICROSECONDS",
    "socket_mode": 'write three octal digits in quotes, such as "0660"',
    "connect": 'write the URI of a libvirt, such as "qemu:///system"',
    "ageing": "write seconds, 0 for never",
    "kind": "write vhost-user, null, nic, interface, netmap or passthrough",
    "slots": f"write 2 to {MAX_SLOTS}",
    "buf_size": f"write a multiple of 64, at most {MAX_BUF_SIZE}",
    "buffers": f"write 4 to {MAX_BUFFERS}",
    "rings": f"write 2 to {MAX_RINGS}",
    "interfaces": f"write 1 to {MAX_INTERFACES}",
    "fallback": "write packet or refuse",
    "mode": "write server (we listen on the socket) or client (we connect to it)",
    "mac": 'write six bytes, such as "52:54:00:12:34:56"',
    "extra_rings": f"write 0 to {MAX_EXTRA_RINGS}",
    "extra_buffers": f"write 0 to {MAX_BUFFERS}",
    "queues": f"write 1 to {MAX_QUEUES}",
    "mtu": "write 68 to 65535",
    "full": "write hold or drop",
    "hold_us": "write microseconds, at most 1000000",
    "offloads": f"write a list of {', '.join(ALL_OFFLOADS)}",
    "withhold": f"write a list of {', '.join(RING_FEATURES)}",
}

T = TypeVar("T")

_MSGSPEC_PATH = re.compile(r"^(?P<text>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<field>.*)`$", re.DOTALL)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_INTERFACE = re.compile(r"[^\s/:]{1,15}")
_KINDS_OF_INTERFACES = ("nic", "interface")
_KINDS_OF_PIPES = ("vhost-user", "netmap", "passthrough")
_KINDS_IN_REGIONS = ("netmap", "passthrough")


class _Checker:
    """Checks tables of one source, which its errors name."""

    def __init__(self, source: str) -> None:
        self._source = source

    def fail(self, key: str, why: str, fix: str = "") -> NoReturn:
        what = f"{self._source}: {key} is wrong" if key else f"{self._source} is wrong"
        raise ConfigError(what, why, fix)

    def table(self, value: object, key: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            self.fail(key, f"it is {_kind(value)}, not a table", f"write [{key}.NAME]")
        return value

    def keys(self, table: Mapping[str, Any], known: tuple[str, ...], key: str) -> None:
        for name in table:
            if name not in known:
                self.unknown(name, known, key)

    def unknown(self, name: str, known: tuple[str, ...], key: str) -> NoReturn:
        full = f"{key}.{_key(name)}" if key else _key(name)
        close = difflib.get_close_matches(name, known, n=1)
        fix = f"did you mean {close[0]!r}?" if close else f"use one of: {', '.join(known)}"
        self.fail(full, f"there is no key {name!r}", fix)

    def convert(self, table: object, kind: type[T], key: str) -> T:
        """Return `table` as `kind`, or fail with the path of what is wrong in it."""
        self.table(table, key)
        try:
            return msgspec.convert(table, kind)
        except msgspec.ValidationError as error:
            found = _MSGSPEC_PATH.match(str(error))
            assert found is not None
            path = f"{key}{found['path'] or ''}"
            if unknown := _UNKNOWN.match(found["text"]):
                # A list of tables is of workers, and nothing else.
                fields = Worker.__struct_fields__ if found["path"] else kind.__struct_fields__  # type: ignore[attr-defined]
                self.unknown(unknown["field"], fields, path)
            field = re.sub(r"\[[^]]*\]", "", path).rpartition(".")[2]
            self.fail(path, _plain(found["text"]), _FORMS.get(field, ""))

    def name(self, check: Any, name: str, table: str) -> str:
        try:
            check(name)
        except ConfigError as error:
            self.fail(f"{table}.{_key(name)}", error.why, error.fix)
        return name

    def switch(self, name: str, switch: Switch) -> Switch:
        """Return `switch` completed, or fail if its logic is none or contradicts the rest."""
        key = f"switch.{_key(name)}"
        digest = ""
        if switch.logic.endswith(".c"):
            path = Path(switch.logic)
            if not path.is_absolute():
                self.fail(f"{key}.logic", f"{path} is not a whole path", "begin with a slash")
            digest = logic.read(path).digest()
        elif switch.logic not in BUILT_IN_LOGICS:
            close = difflib.get_close_matches(switch.logic, BUILT_IN_LOGICS, n=1)
            hint = f"did you mean {close[0]}? Or" if close else "write"
            known = ", ".join(BUILT_IN_LOGICS)
            fix = f"{hint} {known} or the path of a C file, which ends in .c"
            self.fail(f"{key}.logic", f"there is no logic {switch.logic!r}", fix)
        if "\0" in switch.config:
            self.fail(f"{key}.config", "it has a byte that is zero", "leave it out")
        if switch.config and switch.logic == "bridge":
            self.fail(f"{key}.config", "a learning bridge takes no text", "choose a logic, too")
        if switch.table and switch.logic != "static":
            self.fail(
                f"{key}.table", f"the logic {switch.logic} has no table", 'set logic = "static"'
            )
        table = {mac.lower(): port for mac, port in switch.table.items()}
        if len(table) < len(switch.table):
            self.fail(f"{key}.table", "an address is there twice", "remove one of them")
        for mac, port in table.items():
            entry = f"{key}.table.{_key(mac)}"
            if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1 or not mac.strip("0:"):
                fix = "write six bytes, the first one even, such as 52:54:00:12:34:56"
                self.fail(entry, "it is not the address of one machine", fix)
            self.name(names.parse_port, port, entry)
            if names.parse_port(port).switch != name:
                self.fail(entry, f"{port} is not a port of {name}", f"write {name}:...")
        return msgspec.structs.replace(switch, table=table, digest=digest)

    def workers(self, daemon: Daemon) -> None:
        if not 1 <= len(daemon.worker_list()) <= MAX_WORKERS:
            self.fail("daemon.workers", f"there may be 1 to {MAX_WORKERS} workers")
        # Those that the data plane takes: the configured ones, online or not.
        last = os.sysconf("SC_NPROCESSORS_CONF") - 1
        for number, worker in enumerate(daemon.worker_list()):
            if worker.cpu is not None and worker.cpu > last:
                self.fail(
                    f"daemon.workers[{number}].cpu",
                    f"there is no processor {worker.cpu}; this machine has 0 to {last}",
                    "choose one of these, or leave cpu out",
                )

    def port(self, name: str, port: Port, key: str, others: Config, runtime_dir: Path) -> Port:
        """Return `port` completed, or fail if it contradicts itself or what it belongs to."""
        self.name(names.check_port, name, "port")
        self.place(name, port, key, others)
        workers = len(others.daemon.worker_list())
        if port.worker is not None and port.worker >= workers:
            self.fail(
                f"{key}.worker",
                f"there is no worker {port.worker}; they are numbered 0 to {workers - 1}",
                "choose another one, or set daemon.workers",
            )
        for offload in port.offloads:
            needs = _OFFLOAD_NEEDS.get(offload, ())
            if needs and not set(needs) & set(port.offloads):
                self.fail(
                    f"{key}.offloads",
                    f"{offload} does not work without {' or '.join(needs)}",
                    f"add {needs[0]}, or remove {offload}",
                )
        if port.kind == "passthrough" and port.mode != "server":
            why = "QEMU's ivshmem device connects, and cannot listen"
            self.fail(f"{key}.mode", why, "remove it")
        if port.host and port.kind != "nic":
            self.fail(f"{key}.host", f"{port.kind} ports have no host stack", "remove it")
        if port.polling and port.kind not in _KINDS_OF_INTERFACES:
            why = f"nobody polls for {port.kind} ports alone"
            self.fail(f"{key}.polling", why, "give it a worker that is busy")
        cpus = os.sysconf("SC_NPROCESSORS_ONLN")
        if len(port.polling) >= cpus or max(port.polling, default=0) >= cpus:
            self.fail(
                f"{key}.polling",
                f"this machine has the CPUs 0 to {cpus - 1}, and one is for everything else",
                "name fewer of them",
            )
        mac = (port.mac or default_mac(name)).lower()
        if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
            self.fail(
                f"{key}.mac",
                f"{mac} cannot be the address of one machine",
                "use an address whose first byte is even, such as 52:54:00:12:34:56",
            )
        path = runtime_dir / (port.path or default_path(name, runtime_dir))
        longest = netdev_path(path) if port.kind == "passthrough" else path
        if (length := len(os.fsencode(longest))) > MAX_SOCKET_PATH:
            self.fail(
                f"{key}.path",
                f"{longest} has {length} bytes; a unix socket's path has at most {MAX_SOCKET_PATH}",
                "choose a shorter one, or a shorter runtime directory",
            )
        return msgspec.structs.replace(
            port,
            mac=mac,
            path=str(path),
            interface=self.interface(name, port, key),
            offloads=sorted(set(port.offloads)),
            withhold=sorted(set(port.withhold)),
        )

    def place(self, name: str, port: Port, key: str, others: Config) -> None:
        """Fail if there is no such switch or region as `port` needs."""
        switch = names.switch_of(name)
        if not switch and port.kind not in _KINDS_OF_PIPES:
            self.fail(
                f"{key}.kind",
                f"{port.kind} ports are no ends of pipes",
                f"write {' or '.join(_KINDS_OF_PIPES)}, or call it SWITCH:PORT",
            )
        if switch and port.kind != "null" and switch not in others.switches:
            close = difflib.get_close_matches(switch, others.switches, n=1)
            hint = f"did you mean {close[0]}? Or" if close else "to make it,"
            self.fail(key, f"there is no switch {switch}", f"{hint} add [switch.{switch}]")
        if port.region is None:
            return
        if port.kind not in _KINDS_IN_REGIONS:
            why = f"the rings of {port.kind} ports are in no region"
            self.fail(f"{key}.region", why, "remove it")
        if port.region == PRIVATE or port.region not in others.regions:
            self.fail(
                f"{key}.region",
                f"there is no region {port.region!r} to share",
                f"add [region.{_key(port.region)}], or leave it out for a private one",
            )

    def interface(self, name: str, port: Port, key: str) -> str | None:
        """Return the name of the interface of `port`, None if it needs none, or fail."""
        if port.kind not in _KINDS_OF_INTERFACES:
            if port.interface is not None:
                why = f"{port.kind} ports have no interface of the host"
                self.fail(f"{key}.interface", why, "remove it, or make it a nic or an interface")
            return None
        interface = port.interface or names.parse_port(name).port
        if not _INTERFACE.fullmatch(interface):
            self.fail(
                f"{key}.interface",
                f"{interface!r} cannot name an interface",
                "write 1 to 15 characters, none of them / or : or a blank",
            )
        return interface

    def pipes(self, ports: Mapping[str, Port]) -> None:
        """Fail if a pipe has an end in memory that guests map, and one in a guest's own."""
        for name, port in ports.items():
            pipe = names.parse_pipe(name) if port.kind == "passthrough" else None
            other = ports.get(pipe.other) if pipe is not None else None
            if pipe is not None and other is not None and other.kind == "vhost-user":
                self.fail(
                    f"port.{_key(name)}.kind",
                    f"{pipe.other}, the other end of the pipe, is of kind vhost-user",
                    "let both guests have one kind, or join them by a switch",
                )

    def distinct(self, ports: Mapping[str, Port]) -> None:
        """Fail if two ports have the same socket, or the same address on one switch."""
        paths: dict[str | None, str] = {}
        macs: dict[tuple[str, str | None], str] = {}
        interfaces: dict[str, str] = {}
        for name, port in ports.items():
            for path in _sockets(port):
                other = paths.setdefault(path, name)
                if other != name:
                    self.fail(f"port.{_key(name)}.path", f"{other} has the socket {path}, too")
            if port.interface is not None:
                other = interfaces.setdefault(port.interface, name)
                if other != name:
                    why = f"{other} has the interface {port.interface}, too"
                    self.fail(f"port.{_key(name)}.interface", why, "let one port have it")
            switch = names.switch_of(name) or name
            other = macs.setdefault((switch, port.mac), name)
            if other != name:
                self.fail(
                    f"port.{_key(name)}.mac",
                    f"{other} has the address {port.mac}, too",
                    "give each port of a switch its own, or leave both out",
                )


def _sockets(port: Port) -> list[str | None]:
    """Return the sockets of a port; None: it has none."""
    if port.kind == "passthrough" and port.path is not None:
        return [port.path, str(netdev_path(Path(port.path)))]
    return [port.path]


def _key(name: str) -> str:
    """Return `name` as a part of a TOML key."""
    return name if _PLAIN_KEY.fullmatch(name) else msgspec.json.encode(name).decode()


def _plain(text: str) -> str:
    """Return a message of msgspec in words that fit a configuration file."""
    if text.startswith("Expected `str` matching regex"):
        return "the text does not have the right form"
    text = text.replace("`", "").replace("Object", "the table")
    for name, word in (("int", "a number"), ("str", "a text"), ("array", "a list")):
        text = re.sub(rf"\b{name}\b", word, text)
    return text[:1].lower() + text[1:]


def _kind(value: object) -> str:
    return {bool: "a boolean", int: "a number", str: "a text", list: "a list"}.get(
        type(value), type(value).__name__
    )
