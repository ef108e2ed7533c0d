# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass vm xml` and `vm convert`, on a daemon of ours and libvirt's test driver."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import libvirt
import pytest
from msgspec.structs import replace

from ringpass import qemu
from ringpass.cli import main as cli
from ringpass.errors import ExitCode, RingpassError
from ringpass.libvirt import changes, devices
from ringpass.libvirt.connection import configuration
from ringpass.libvirt.convert import NewPort, Plan
from ringpass.libvirt.document import Document
from ringpass.libvirt.perform import perform
from ringpass.libvirt.ports import PortDevice, port_device
from ringpass.observe.status import PortStatus
from tests.support.daemon import Daemon
from tests.support.domains import DOMAINS

CONFIG = """
[switch.vale0]
[port."vale0:vm1"]
queues = 2
mtu = 9000
offloads = ["csum", "tso4"]
[port."vale0:out"]
mode = "client"
[port."vale0:pass"]
kind = "passthrough"
queues = 2
[port."vale0:nm"]
kind = "netmap"
"""


class Result(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d"), CONFIG) as daemon:
        yield daemon


@pytest.fixture
def run(daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `ringpass vm` for the daemon, in this process."""
    monkeypatch.setenv("RINGPASS_RUNTIME_DIR", "")

    def call(*arguments: str | Path) -> Result:
        argv = ["ringpass", "--runtime-dir", str(daemon.runtime_dir), "vm", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", argv)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Result(int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URI of a host of libvirt's test driver, with domains of ours on it.

    The driver has each connection begin with these. It leaves out arguments of QEMU.
    """
    place = tmp_path_factory.mktemp("host")
    domains = []
    for name, text in DOMAINS.items():
        document = Document(text)
        document = document.set(document.root, "type", "test")
        (place / f"{name}.xml").write_text(str(document))
        domains.append(f"<domain file='{name}.xml'/>")
    (place / "node.xml").write_text(f"<node>{''.join(domains)}</node>")
    return f"test://{place}/node.xml"


def test_the_xml_of_a_port_is_as_it_is_configured(run: Run, daemon: Daemon) -> None:
    printed = run("xml", "vale0:vm1")
    assert (printed.code, printed.err) == (0, "")
    (found,) = devices.devices(printed.out)
    card = Document(found.xml).root
    assert found.path == str(daemon.socket("vale0:vm1"))
    assert card.value("driver", "queues") == "2"
    assert card.value("mtu", "size") == "9000"
    assert card.value("driver/guest", "tso6") == "off"
    assert "mode='server'" in run("xml", "vale0:out").out


def test_the_xml_as_json_has_its_parts(run: Run, daemon: Daemon) -> None:
    answer = json.loads(run("xml", "vale0:pass", "--json").out)
    assert (answer["via"], answer["shared_memory"], answer["args"]) == ("ivshmem", False, [])
    vectors = daemon.call("port.show", name="vale0:pass")["vectors"]
    assert f"<msi vectors='{vectors}'" in answer["device"]
    assert Document(answer["xml"]).root.tag == "domain"


def test_the_patched_qemu_has_to_be_built(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RINGPASS_CACHE_DIR", str(tmp_path))
    failed = run("xml", "vale0:pass", "--via", "netdev")
    assert failed.code == ExitCode.NOT_FOUND
    assert "fix: make qemu" in failed.err


def test_the_xml_for_the_patched_qemu_has_its_arguments(
    run: Run, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "program", lambda: Path("/opt/qemu"))
    answer = json.loads(
        run("xml", "vale0:pass", "--via", "netdev", "--device", "virtio-net-pci", "--json").out
    )
    status = daemon.call("port.show", name="vale0:pass")
    assert (answer["emulator"], answer["device"]) == ("/opt/qemu", "")
    assert f"path={status['netdev_path']},queues=2" in answer["args"][-3]
    assert answer["args"][-1].startswith("virtio-net-pci,")
    assert f"mac={status['mac']}" in answer["args"][-1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["xml", "vale0:nm"], ExitCode.USAGE, "it is of kind netmap"),
        (["xml", "vale0:vm1", "--via", "ivshmem"], ExitCode.USAGE, "use --via vhost-user"),
        (["xml", "vale0:pass", "--device", "ptnet-pci"], ExitCode.USAGE, "add --via netdev"),
        (["xml", "vale0:vm1", "--device", "virtio-net-pci"], ExitCode.USAGE, "fix: leave --dev"),
        (["attach", "db1", "vale0:pass", "--device", "virtio-net-pci"], ExitCode.USAGE, "ivshmem"),
        (["convert", "db1", "--device", "virtio-net-pci"], ExitCode.USAGE, "via vhost-user"),
        (["xml", "vale0:none"], ExitCode.NOT_FOUND, "vale0:none"),
        (["xml", "vale0:vm1", "--domain", "none"], ExitCode.NOT_FOUND, "knows no domain none"),
        (["convert", "none"], ExitCode.NOT_FOUND, "knows no domain none"),
        (["convert", "web1", "--switch", "vale7"], ExitCode.USAGE, "ringpass switch add vale7"),
        (["convert", "web1", "--nic", "52:54:00:00:00:00"], ExitCode.NOT_FOUND, "(bridge)"),
        (["convert", "web1", "--port", "vale0:x"], ExitCode.USAGE, "for 2 network cards"),
        (["convert", "db1", "--port", "web1"], ExitCode.USAGE, "it has no colon"),
        (["convert", "db1", "--port", "vale0:pass"], ExitCode.USAGE, "use --via ivshmem"),
    ],
)
def test_what_cannot_be_is_said(
    run: Run, host: str, arguments: list[str], code: ExitCode, said: str
) -> None:
    if "--domain" in arguments or arguments[0] == "convert":
        arguments = [*arguments, "--connect", host]
    failed = run(*arguments)
    assert (failed.code, failed.out) == (code, "")
    assert said in failed.err
    assert len(failed.err.splitlines()) == 3


def test_a_domain_that_has_part_of_it_gets_the_rest(run: Run, host: str) -> None:
    printed = run("xml", "vale0:vm1", "--domain", "db1", "-c", host)
    assert "<name>db1</name>" in printed.out
    assert "memoryBacking" in printed.out
    assert "memoryBacking" not in run("xml", "vale0:pass", "--domain", "db1", "-c", host).out


def test_a_dry_run_prints_the_difference_and_changes_nothing(
    run: Run, host: str, daemon: Daemon
) -> None:
    before = daemon.call("port.list")
    planned = run("convert", "web1", "--dry-run", "-c", host)
    assert planned.code == 0
    assert planned.out.startswith("--- web1 (as it is)\n+++ web1 (converted)\n")
    assert "-      <source bridge='br0'/>\n" in planned.out
    assert '[port."vale0:web1.1"]\nmac = "52:54:00:6b:3c:59"\nmtu = 9000' in planned.err
    assert daemon.call("port.list") == before
    answer = json.loads(run("convert", "web1", "--dry-run", "--json", "-c", host).out)
    assert (answer["result"], answer["diff"]) == ("planned", planned.out)
    assert answer["ports"][0]["name"] == "vale0:web1"


@pytest.mark.parametrize("via", ["vhost-user", "ivshmem"])
def test_a_domain_is_converted_as_it_was_planned(
    run: Run, host: str, daemon: Daemon, via: str
) -> None:
    arguments = ("convert", "web1", "--via", via, "--json", "-c", host)
    planned = json.loads(run(*arguments, "--dry-run").out)
    done = json.loads(run(*arguments).out)
    assert done == planned | {"result": "converted"}
    ports = {port["name"]: port for port in daemon.call("port.list")}
    assert ports["vale0:web1"]["mac"] == "52:54:00:6b:3c:58"
    assert ports["vale0:web1.1"]["mtu"] == 9000
    # Ports that are there are used as they are.
    assert json.loads(run(*arguments).out) == done
    daemon.call("port.remove", name="vale0:web1")
    daemon.call("port.remove", name="vale0:web1.1")


def test_a_port_that_is_there_is_used(run: Run, host: str) -> None:
    done = run("convert", "db1", "--port", "vale0:vm1", "--dry-run", "-c", host)
    assert "vale0.vm1.sock" in done.out
    options = ("--port", "vale0:pass", "--via", "ivshmem", "--force")
    mismatch = run("convert", "db1", *options, "-c", host)
    assert mismatch.code == ExitCode.USAGE
    assert "a guest takes a passthrough port's address" in mismatch.err


def test_a_command_that_is_proposed_can_be_typed(run: Run, tmp_path: Path) -> None:
    domain = "<domain type='test'><name>dom a</name><memory>1</memory><os><type>hvm</type></os>"
    (tmp_path / "a.xml").write_text(f"{domain}</domain>")
    node = tmp_path / "node.xml"
    node.write_text("<node><domain file='a.xml'/></node>")
    failed = run("convert", "dom a", "-c", f"test://{node}")
    assert failed.err.endswith(": ringpass vm attach 'dom a' SWITCH:PORT --config\n")


@pytest.mark.parametrize("name", ["vale0:vm1", "vale0:pass"])
def test_who_else_is_to_have_a_port_is_said(
    run: Run, daemon: Daemon, tmp_path: Path, name: str
) -> None:
    bare = Document(DOMAINS["pc-bridge"])
    bare = bare.set(bare.root, "type", "test")
    device = port_device(daemon.client.ask(PortStatus, "port.show", name=name))
    texts = {"web1": str(bare)}
    for other, port in (("dom a", device), ("b", replace(device, path=f"{device.path}.old"))):
        text = str(bare).replace("<name>web1<", f"<name>{other}<")
        text = re.sub("<uuid>.*</uuid>", "", text)
        texts[other] = changes.add_port(text, port).xml
    for number, text in enumerate(texts.values()):
        (tmp_path / f"{number}.xml").write_text(text)
    node = tmp_path / "node.xml"
    files = "".join(f"<domain file='{number}.xml'/>" for number in range(len(texts)))
    node.write_text(f"<node>{files}</node>")
    done = run("attach", "web1", name, "--config", "-c", f"test://{node}")
    assert done.code == 0
    assert [line for line in done.err.splitlines() if line.startswith("note:")] == [
        f"note: dom a has {name} as well, and a port has one guest at a time"
    ]


# What is undone


@pytest.fixture
def connection(host: str) -> Iterator[libvirt.virConnect]:
    libvirt.registerErrorHandler(lambda *_: None, None)
    opened = libvirt.open(host)
    yield opened
    opened.close()


class Ports:
    """The daemon, as a conversion sees it."""

    def __init__(self) -> None:
        self.names = {"vale0:there"}

    def add(self, port: NewPort) -> bool:
        if port.name == "vale0:refused":
            raise RingpassError("cannot add it", "no room")
        new = port.name not in self.names
        self.names.add(port.name)
        return new


def new_port(name: str) -> NewPort:
    return NewPort(name=name, settings={}, mac="", was="")


@pytest.mark.parametrize(
    ("names", "xml", "said"),
    [
        (["vale0:new", "vale0:refused"], "", "no room"),
        (["vale0:there", "vale0:new"], "<domain type='test'><name>web1</name>", "cannot convert"),
        (["vale0:new"], "left out", "without the device of vale0:new"),
    ],
)
def test_a_failure_leaves_all_as_it_was(
    connection: libvirt.virConnect, names: list[str], xml: str, said: str
) -> None:
    domain = connection.lookupByName("web1")
    before = configuration(domain)
    ports = Ports()
    # libvirt takes this one, which has no device for the port.
    wanted = before.replace("br0", "br9") if xml == "left out" else xml or before
    plan = Plan(xml=wanted, ports=[new_port(name) for name in names], notes=[])
    device = PortDevice(name="vale0:new", via="vhost-user", path="/run/x.sock")
    with pytest.raises(RingpassError, match=said):
        perform(domain, before, plan, [device], ports.add, ports.names.remove)
    assert ports.names == {"vale0:there"}
    assert configuration(domain) == before


def test_a_domain_that_was_changed_meanwhile_is_left_alone(
    connection: libvirt.virConnect,
) -> None:
    domain = connection.lookupByName("web1")
    old = configuration(domain)
    connection.defineXML(old.replace("br0", "br7"))
    ports = Ports()
    wanted = old.replace("br0", "br8")
    plan = Plan(xml=wanted, ports=[new_port("vale0:new")], notes=[])
    with pytest.raises(RingpassError, match="has changed meanwhile"):
        perform(domain, old, plan, [], ports.add, ports.names.remove)
    assert ports.names == {"vale0:there"}
    assert "br7" in configuration(domain)


@pytest.mark.parametrize("taken", [False, True])
def test_what_somebody_else_made_of_it_meanwhile_is_not_undone(
    connection: libvirt.virConnect, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    domain = connection.lookupByName("web1")
    old = configuration(domain)
    theirs, define = old.replace("br0", "br7"), connection.defineXML

    def refuse_while_somebody_defines(xml: str) -> NoReturn:
        define(theirs)
        define(xml)
        raise AssertionError("it was taken")

    def find_while_somebody_defines(*_: str) -> list[devices.Found]:
        define(theirs)
        return []

    if taken:
        monkeypatch.setattr(devices, "find_devices", find_while_somebody_defines)
    else:
        monkeypatch.setattr(connection, "defineXML", refuse_while_somebody_defines)
    ports = Ports()
    wanted = old.replace("br0", "br8") if taken else "<domain/>"
    plan = Plan(xml=wanted, ports=[new_port("vale0:new")], notes=[])
    device = PortDevice(name="vale0:new", via="vhost-user", path="/run/x.sock")
    with pytest.raises(RingpassError, match="; the domain stays as somebody else has changed it"):
        perform(domain, old, plan, [device], ports.add, ports.names.remove)
    assert ports.names == {"vale0:there"}
    assert configuration(domain) == theirs


def test_a_domain_that_is_undefined_meanwhile_does_not_come_back(
    connection: libvirt.virConnect,
) -> None:
    domain = connection.lookupByName("web1")
    old = configuration(domain)
    domain.destroy()
    domain.undefine()
    ports = Ports()
    wanted = old.replace("br0", "br8")
    plan = Plan(xml=wanted, ports=[new_port("vale0:new")], notes=[])
    with pytest.raises(RingpassError):
        perform(domain, old, plan, [], ports.add, ports.names.remove)
    assert ports.names == {"vale0:there"}
    assert "web1" not in [found.name() for found in connection.listAllDomains()]


def test_what_cannot_be_undone_is_said(connection: libvirt.virConnect) -> None:
    domain = connection.lookupByName("web1")
    old = configuration(domain)
    plan = Plan(xml="<domain/>", ports=[new_port("vale0:new")], notes=[])

    def remove(name: str) -> None:
        raise RingpassError(f"cannot remove {name}", "the daemon is gone")

    with pytest.raises(RingpassError, match="; port vale0:new stays"):
        perform(domain, old, plan, [], Ports().add, remove)
    assert configuration(domain) == old
