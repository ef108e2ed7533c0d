# SPDX-License-Identifier: BSD-2-Clause
"""What a port makes of a domain's XML, and that the rest of it stays."""

import difflib
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringpass.errors import ConfigError, RingpassError
from ringpass.libvirt import changes, commandline, devices, memory
from ringpass.libvirt.document import Document, Element
from ringpass.libvirt.markup import Comment, Tag, render
from ringpass.libvirt.ports import PortDevice, Via, port_device
from ringpass.libvirt.xml import wanted
from ringpass.observe.status import PortStatus, traffic
from tests.support.domains import DOMAINS, Judge

PATCHED = "/var/cache/ringpass/qemu/qemu-system-x86_64"
SOCKET = "/run/ringpass/vale0.vm1.sock"
VIAS: tuple[Via, ...] = ("vhost-user", "ivshmem", "netdev")


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


def port(via: Via = "vhost-user", **settings: Any) -> PortDevice:
    path = SOCKET.replace(".sock", ".netdev") if via == "netdev" else SOCKET
    given = {"name": "vale0:vm1", "mac": "02:00:00:00:00:01", "vectors": 11, **settings}
    return PortDevice(via=via, path=path, **given)


def status(**settings: Any) -> PortStatus:
    none = traffic([])
    given = {"name": "vale0:vm1", "kind": "vhost-user", "queues": 1, "mtu": 1500, **settings}
    netdev = SOCKET.replace(".sock", ".netdev")
    return PortStatus(state="waiting", path=SOCKET, netdev_path=netdev, tx=none, rx=none, **given)


def difference(old: str, new: str) -> tuple[list[str], list[str]]:
    """Return the lines that went and those that came, without their indentation."""
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0))[2:]
    went = [line[1:].strip() for line in lines if line.startswith("-")]
    return went, [line[1:].strip() for line in lines if line.startswith("+")]


# The text


def test_an_edit_leaves_every_other_byte() -> None:
    text = """<?xml version="1.0"?>
<domain  type = "kvm"><!-- <devices> --><name>a&amp;b</name>
\t<devices ><x a='>' b="/"/><y></y><![CDATA[<devices>]]>
\t</devices>
 <end/></domain>
<!-- after -->"""
    document = Document(text)
    assert str(document) == text
    assert [element.tag for element in document.root.walk()] == [
        *("domain", "name", "devices", "x", "y", "end")
    ]
    (x,) = document.root.all("devices/x")
    assert document.source(x) == """<x a='>' b="/"/>"""
    assert str(document.remove(x)) == text.replace("""<x a='>' b="/"/>""", "")
    assert str(document.set(x, "b", "'")) == text.replace('b="/"', "b='&apos;'")
    assert str(document.set(x, "c", "1")) == text.replace('b="/"', "b=\"/\" c='1'")
    assert str(document.set(document.root, "type", "qemu")) == text.replace('"kvm"', "'qemu'")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<a/>", "<a><b/></a>"),
        ("<a x='1' />", "<a x='1'><b/></a>"),
        ("<a></a>", "<a><b/></a>"),
        ("<a><c/></a>", "<a><c/><b/></a>"),
        ("<a>\n</a>", "<a>\n  <b/>\n</a>"),
        ("<a>\n    <c/>\n</a>", "<a>\n    <c/>\n    <b/>\n</a>"),
        ("<a>\n  <c/>\n  <!-- end -->\n</a>", "<a>\n  <c/>\n  <!-- end -->\n  <b/>\n</a>"),
    ],
)
def test_what_is_added_stands_as_what_is_there(before: str, after: str) -> None:
    document = Document(f"<r>{before}</r>")
    assert str(document.append(document.root.children[0], Tag("b"))) == f"<r>{after}</r>"


def test_an_empty_element_on_its_own_line_is_opened_over_lines() -> None:
    document = Document("<r>\n  <a/>\n</r>")
    added = document.append(document.root.children[0], Tag("b"))
    assert str(added) == "<r>\n  <a>\n    <b/>\n  </a>\n</r>"


def test_what_looks_like_an_attribute_is_none() -> None:
    document = Document("""<a b="c='1' d='2'"  c = '3'/>""")
    assert str(document.set(document.root, "c", "4")) == """<a b="c='1' d='2'"  c = '4'/>"""
    assert str(document.set(document.root, "d", "5")) == """<a b="c='1' d='2'"  c = '3' d='5'/>"""
    assert str(document.unset(document.root, "c")) == """<a b="c='1' d='2'"/>"""
    assert document.unset(document.root, "d") is document


@pytest.mark.parametrize("text", ["", "<a>", "<a></b>", "domain", "<a b=c/>", "<a/><b/>"])
def test_what_is_no_xml_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot read the XML"):
        Document(text)


def test_entities_cannot_be_declared() -> None:
    with pytest.raises(ConfigError, match="document type"):
        Document('<!DOCTYPE a [<!ENTITY x "xx">]><a>&x;</a>')


def test_xml_of_something_else_is_refused() -> None:
    with pytest.raises(ConfigError, match="its XML is a <network>"):
        changes.add_port("<network/>", port())


texts = st.text(st.sampled_from("a=,<>&'\"-]/é€😀 \n\t"), max_size=8)
names = st.sampled_from(["a", "b", "domain", "x-y.z"])
attributes = st.dictionaries(names, texts, max_size=2)
tags: st.SearchStrategy[Tag] = st.recursive(
    st.builds(Tag, names, attributes, st.just(()), texts.map(str.strip)),
    lambda inner: st.builds(
        Tag, names, attributes, st.lists(inner, max_size=3).map(tuple), st.just("")
    ),
    max_leaves=6,
)


def same(tag: Tag, element: Element) -> bool:
    inner = [child for child in tag.children if isinstance(child, Tag)]
    return (
        (tag.name, dict(tag.attributes), tag.text)
        == (element.tag, element.attributes, element.text)
        and len(inner) == len(element.children)
        and all(map(same, inner, element.children))
    )


@given(tags, st.sampled_from([0, 2, None]))
def test_what_is_written_is_read(tag: Tag, indent: int | None) -> None:
    assert same(tag, Document(render(tag, indent)).root)


@given(tags, tags, st.data())
def test_what_was_added_can_be_taken_out_again(tag: Tag, added: Tag, data: st.DataObject) -> None:
    document = Document(render(tag))
    places = [e for e in document.root.walk() if e.children]
    if not places:
        return
    place = data.draw(st.sampled_from(places))
    longer = document.append(place, added)
    (parent,) = (e for e in longer.root.walk() if e.start == place.start)
    assert same(added, parent.children[-1])
    assert str(longer.remove(parent.children[-1])) == str(document)


@given(texts)
def test_a_comment_is_well_formed_whatever_it_says(text: str) -> None:
    Document(render(Tag("a", {}, (Comment(text),))))


# Ports


@pytest.mark.parametrize(
    ("kind", "via", "path"),
    [
        ("vhost-user", None, SOCKET),
        ("null", None, SOCKET),
        ("passthrough", None, SOCKET),
        ("passthrough", "netdev", SOCKET.replace(".sock", ".netdev")),
    ],
)
def test_a_port_is_had_as_its_kind_suits(kind: str, via: Via | None, path: str) -> None:
    usual = {"vhost-user": "vhost-user", "null": "vhost-user", "passthrough": "ivshmem"}
    device = port_device(status(kind=kind), via)
    assert (device.via, device.path) == (via or usual[kind], path)


@pytest.mark.parametrize(
    ("kind", "via", "fix"),
    [
        ("vhost-user", "ivshmem", "--via vhost-user"),
        ("vhost-user", "netdev", "--kind passthrough"),
        ("passthrough", "vhost-user", "--via ivshmem or netdev"),
        ("nic", None, "ringpass port add"),
        ("netmap", "vhost-user", "ringpass port add"),
    ],
)
def test_a_way_that_does_not_suit_the_kind_is_refused(kind: str, via: Via, fix: str) -> None:
    with pytest.raises(ConfigError) as refused:
        port_device(status(kind=kind), via)
    assert fix in refused.value.fix


def test_a_device_is_what_the_port_is_configured_to_be() -> None:
    settings = {"offloads": ["csum", "tso4"], "withhold": ["mrg_rxbuf", "event_idx"]}
    device = port_device(
        status(queues=4, mtu=9000, mode="client", mac="02:00:00:00:00:09"), None, settings
    )
    assert devices.device_xml(device).splitlines() == [
        "<interface type='vhostuser'>",
        "  <mac address='02:00:00:00:00:09'/>",
        f"  <source type='unix' path='{SOCKET}' mode='server'/>",
        "  <model type='virtio'/>",
        "  <driver queues='4' rx_queue_size='1024' tx_queue_size='1024' event_idx='off'>",
        "    <host tso6='off' ecn='off' mrg_rxbuf='off'/>",
        "    <guest tso6='off' ecn='off'/>",
        "  </driver>",
        "  <mtu size='9000'/>",
        "</interface>",
    ]


def test_the_backend_may_be_restarted_under_a_client() -> None:
    document = Document(devices.device_xml(port()))
    assert document.root.value("source", "mode") == "client"
    assert document.root.value("source/reconnect", "enabled") == "yes"


def test_a_shmem_never_reconnects() -> None:
    text = devices.device_xml(port("ivshmem", name="vale0:vm1{7"))
    assert "reconnect" not in text
    assert Document(text).root.get("name") == "vale0.vm1-m7"
    assert "<msi vectors='11' ioeventfd='on'/>" in text


def test_a_netdev_is_no_device_of_libvirt() -> None:
    with pytest.raises(ConfigError, match="no device of libvirt's"):
        devices.device_xml(port("netdev"))


# Domains


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("name", DOMAINS)
def test_a_port_is_added_once_and_taken_out_again(name: str, via: Via, judge: Judge) -> None:
    old = DOMAINS[name]
    added = changes.add_port(old, port(via), patched=PATCHED)
    judge.check(added.xml)
    assert added.done
    again = changes.add_port(added.xml, port(via), patched=PATCHED)
    assert (again.xml, again.done, again.restart) == (added.xml, [], [])
    (found,) = devices.find_devices(added.xml, SOCKET)
    assert (found.via, found.mac) == (via, "" if via == "ivshmem" else "02:00:00:00:00:01")
    removed = changes.remove_port(added.xml, SOCKET)
    assert devices.devices(removed.xml) == []
    judge.check(removed.xml)
    # Only what the domain itself got for it is left.
    prepared, _, _ = changes.prepare(Document(old), port(via), PATCHED)
    assert removed.xml == str(prepared)
    assert changes.remove_port(removed.xml, SOCKET).done == []


@pytest.mark.parametrize("name", DOMAINS)
def test_only_new_lines_come(name: str) -> None:
    went, came = difference(DOMAINS[name], changes.add_port(DOMAINS[name], port()).xml)
    assert went == (
        []
        if "memAccess" not in DOMAINS[name]
        else ["<cell id='1' cpus='2-3' memory='2097152' unit='KiB' memAccess='private'/>"]
    )
    assert "<interface type='vhostuser'>" in came


def test_a_stock_q35_domain_with_hugepages_keeps_them() -> None:
    added = Document(changes.add_port(DOMAINS["q35-network"], port()).xml)
    assert added.root.find("memoryBacking/hugepages") is not None
    assert added.root.find("memoryBacking/source") is None
    assert memory.is_shared(added.root)


PRIVATE = [
    "",
    "<memoryBacking/>",
    "<memoryBacking><access mode='shared'/></memoryBacking>",
    "<memoryBacking><source type='memfd'/></memoryBacking>",
    "<memoryBacking><source type='memfd'/><access mode='private'/></memoryBacking>",
    "<memoryBacking><source type='anonymous'/><access mode='shared'/></memoryBacking>",
    "<memoryBacking><hugepages/></memoryBacking>",
    *(
        f"<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>{own}"
        for own in (
            "<cpu><numa><cell/><cell memAccess='private'/></numa></cpu>",
            "<devices><memory model='dimm' access='private'/></devices>",
        )
    ),
]
SHARED = [
    "<memoryBacking><hugepages/><access mode='shared'/></memoryBacking>",
    "<memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>",
    "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>",
    (
        "<memoryBacking><source type='memfd'/></memoryBacking>"
        "<cpu><numa><cell memAccess='shared'/></numa></cpu>"
    ),
    (
        "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
        "<devices><memory model='nvdimm' access='private'/></devices>"
    ),
]


@pytest.mark.parametrize("inner", PRIVATE)
def test_private_memory_becomes_shared(inner: str) -> None:
    document = Document(f"<domain><memory/>{inner}</domain>")
    assert not memory.is_shared(document.root)
    shared = memory.share(document)
    assert memory.is_shared(shared.root)
    assert "private" not in str(shared)


@pytest.mark.parametrize("inner", SHARED)
def test_shared_memory_stays_as_it_is(inner: str) -> None:
    document = Document(f"<domain><memory/>{inner}</domain>")
    assert memory.share(document) is document


def test_only_a_domain_without_kvm_is_guarded() -> None:
    guard = commandline.has
    for name, text in DOMAINS.items():
        added = changes.add_port(text, port())
        guarded = guard(Document(added.xml).root, "-global", "virtio-net-pci.vectors=0")
        assert guarded is (name == "tcg-macvtap")
    patched = DOMAINS["tcg-macvtap"].replace("/usr/bin/qemu-system-x86_64", PATCHED)
    assert "vectors=0" not in changes.add_port(patched, port(), patched=PATCHED).xml


def test_a_card_without_kvm_has_one_queue_unless_its_qemu_is_patched() -> None:
    card = port(queues=2)
    domain = "<domain type='{}'><devices><emulator>{}</emulator></devices></domain>"
    stock = changes.add_port(domain.format("qemu", "/usr/bin/qemu"), card)
    assert "queues=" not in stock.xml
    assert any("1 of its 2 queues" in word for word in stock.done)
    for kind, program in (("kvm", "/usr/bin/qemu"), ("qemu", PATCHED)):
        change = changes.add_port(domain.format(kind, program), card, patched=PATCHED)
        assert "queues='2'" in change.xml


def test_ivshmem_asks_nothing_of_a_domain() -> None:
    for text in DOMAINS.values():
        added = changes.add_port(text, port("ivshmem"))
        assert added.restart == []
        assert difference(text, added.xml)[0] == []
        assert changes.missing(text, port("ivshmem")) == []


def test_what_a_running_domain_lacks_is_said() -> None:
    assert changes.missing(DOMAINS["pc-bridge"], port()) == [
        "its memory is private, and the backend cannot map it"
    ]
    assert len(changes.missing(DOMAINS["tcg-macvtap"], port())) == 2
    ready = changes.add_port(DOMAINS["tcg-macvtap"], port()).xml
    assert changes.missing(ready, port()) == []


def test_a_port_cannot_be_there_in_two_ways() -> None:
    there = changes.add_port(DOMAINS["pc-bridge"], port("ivshmem")).xml
    with pytest.raises(RingpassError, match="the domain has it, via ivshmem"):
        changes.add_port(there, port("netdev"), patched=PATCHED)


# The patched QEMU's arguments


def args(xml: str, option: str) -> list[str]:
    found = commandline.arguments(Document(xml).root)
    return [argument.value for argument in found if argument.option == option]


def test_a_netdev_gets_a_place_that_nobody_has() -> None:
    for name, bus, slot in (
        *(("pc-bridge", "pci.0", "0x1b"), ("q35-network", "pcie.0", "0x1c")),
        ("tcg-macvtap", "pci.0", "0x1b"),
    ):
        xml = changes.add_port(DOMAINS[name], port("netdev", queues=2), patched=PATCHED).xml
        assert args(xml, "-netdev") == [
            "ringpass,id=ringpass0,path=/run/ringpass/vale0.vm1.netdev,queues=2"
        ]
        assert args(xml, "-device")[-1] == (
            "ptnet-pci,id=ringpass0-nic,netdev=ringpass0,mac=02:00:00:00:00:01,"
            f"bus={bus},addr={slot}"
        )
        assert args(xml, "-L") == ["/usr/share/qemu", "/usr/share/seabios", "/usr/lib/ipxe/qemu"]
        assert Document(xml).root.all("devices/emulator")[0].text == PATCHED
        assert xml.count("xmlns:qemu=") == 1


def test_several_netdevs_do_not_meet() -> None:
    xml = DOMAINS["q35-network"]
    ports = [msgspec.structs.replace(port("netdev"), path=f"/r/v.{n}.netdev") for n in range(3)]
    for each in ports:
        xml = changes.add_port(xml, each, patched=PATCHED).xml
    assert len(args(xml, "-L")) == 3
    assert [re.sub(".*addr=", "", value) for value in args(xml, "-device")] == [
        "0x1c",
        "0x1b",
        "0x1a",
    ]
    xml = changes.remove_port(xml, ports[1].path).xml
    assert [found.path for found in devices.devices(xml)] == [ports[0].path, ports[2].path]
    xml = changes.add_port(xml, ports[1], patched=PATCHED).xml
    assert args(xml, "-netdev")[-1].startswith("ringpass,id=ringpass1,")
    assert args(xml, "-device")[-1].endswith("addr=0x1b")


@pytest.mark.parametrize(
    ("addr", "slot"),
    [("0x1c", "0x1b"), ("1c.1", "0x1b"), ("auto", "0x1c"), ("", "0x1c"), ("0x", "0x1c")],
)
def test_addresses_of_other_devices_are_avoided_if_they_are_ones(addr: str, slot: str) -> None:
    own = f"<q:arg value='-device'/><q:arg value='edu,addr={addr}'/>"
    text = (
        f"<domain xmlns:q='{commandline.NAMESPACE}'><os><type machine='pc'/></os><devices/>"
        f"<q:commandline>{own}</q:commandline></domain>"
    )
    xml = changes.add_port(text, port("netdev"), patched=PATCHED).xml
    assert args(xml, "-device")[-1].endswith(f"addr={slot}")


def test_a_full_bus_is_told() -> None:
    slots = "".join(f"<address type='pci' bus='0x00' slot='{n:#x}'/>" for n in range(1, 0x1D))
    text = f"<domain><os><type machine='pc'/></os><devices>{slots}</devices></domain>"
    with pytest.raises(RingpassError, match="all slots of its root PCI bus are taken"):
        changes.add_port(text, port("netdev"), patched=PATCHED)


def test_a_machine_that_the_patched_qemu_has_not_is_refused() -> None:
    text = DOMAINS["pc-bridge"].replace("pc-i440fx-7.2", "microvm")
    with pytest.raises(ConfigError, match="the domain's is microvm"):
        changes.add_port(text, port("netdev"), patched=PATCHED)


def test_an_emulator_that_libvirt_chose_is_replaced_by_the_patched_one() -> None:
    text = re.sub(r".*<emulator>.*\n", "", DOMAINS["pc-bridge"])
    went, came = difference(text, changes.add_port(text, port("netdev"), patched=PATCHED).xml)
    assert went == []
    assert f"<emulator>{PATCHED}</emulator>" in came


def test_arguments_go_to_those_that_are_there_with_their_prefix() -> None:
    text = DOMAINS["tcg-macvtap"].replace("qemu:", "q:").replace("xmlns:q:", "xmlns:q")
    text = text.replace("xmlns:qemu=", "xmlns:q=")
    added = changes.add_port(text, port()).xml
    assert "<q:arg value='virtio-net-pci.vectors=0'/>" in added
    assert added.count("commandline>") == 2


@given(st.dictionaries(names, texts, max_size=4))
def test_options_of_qemu_are_read_as_they_are_written(options: dict[str, str]) -> None:
    pairs = [f"{key}={commandline.escaped(value)}" for key, value in options.items()]
    assert commandline.parse_options(",".join(["kind", *pairs])) == ("kind", options)


# What is printed


def completed(printed: str) -> str:
    """Return a domain that has what was printed, and what every domain has."""
    document = Document(printed)
    document = document.set(document.root, "type", "test")
    if document.root.find("name") is None:
        document = document.prepend(document.root, Tag("name", text="a"))
    machine = Tag("type", {"arch": "x86_64", "machine": "pc"}, text="hvm")
    document = document.append(
        document.root, Tag("memory", text="262144"), Tag("os", {}, (machine,))
    )
    return str(document)


@pytest.mark.parametrize("via", VIAS)
def test_what_is_printed_for_any_domain_is_a_domains(via: Via, judge: Judge) -> None:
    answer = wanted(port(via, mtu=9000, queues=2, without=("tso4", "mrg_rxbuf")), patched=PATCHED)
    judge.check(completed(answer.xml))
    assert answer.shared_memory is (via != "ivshmem")
    assert bool(answer.device) is (via != "netdev")
    assert bool(answer.args) is (via == "netdev")
    assert bool(answer.args_without_kvm) is (via == "vhost-user")
    assert answer.emulator == (PATCHED if via == "netdev" else "")


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("name", DOMAINS)
def test_what_is_printed_for_a_domain_is_what_would_be_added(
    name: str, via: Via, judge: Judge
) -> None:
    old = DOMAINS[name]
    answer = wanted(port(via), patched=PATCHED, domain_xml=old)
    judge.check(completed(answer.xml))
    _, came = difference(old, changes.add_port(old, port(via), patched=PATCHED).xml)
    printed = {line.strip() for line in answer.xml.splitlines()}
    if name != "q35-network" or via == "ivshmem":  # which has a memoryBacking already
        assert [
            line for line in came if line not in printed and "qemu:commandline" not in line
        ] == []
    after = changes.add_port(old, port(via), patched=PATCHED).xml
    nothing = wanted(port(via), patched=PATCHED, domain_xml=after)
    assert (nothing.device, nothing.args, nothing.shared_memory) == ("", [], False)
    assert "has all that the port needs" in nothing.xml


def test_the_passthrough_page_shows_what_is_printed() -> None:
    page = (Path(__file__).parents[2] / "docs/passthrough.md").read_text()
    (shown,) = re.findall(r"```xml\n(.*?)```", page, re.DOTALL)
    device = msgspec.structs.replace(port("ivshmem"), path="RUNTIME/vale0.vm1.sock")
    assert devices.device_xml(device) + "\n" == shown


def test_what_is_to_be_typed_has_the_names_quoted() -> None:
    named = DOMAINS["q35-network"].replace("<name>db1<", "<name>dom a<")
    there = changes.add_port(named, port("ivshmem")).xml
    with pytest.raises(RingpassError) as refused:
        changes.add_port(there, port("netdev"), patched=PATCHED)
    assert refused.value.fix.endswith(f": ringpass vm detach 'dom a' {port().name}")
