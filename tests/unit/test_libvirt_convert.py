# SPDX-License-Identifier: BSD-2-Clause
"""A domain with tap devices becomes one with ports, and only that of it changes."""

import difflib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringpass.errors import NotFound, RingpassError
from ringpass.libvirt import devices
from ringpass.libvirt.convert import NewPort, Plan, plan
from ringpass.libvirt.document import Document
from ringpass.libvirt.ports import PortDevice, Via
from tests.support.domains import DOMAINS, Judge

PATCHED = "/var/cache/ringpass/qemu/qemu-system-x86_64"
VIAS: tuple[Via, ...] = ("vhost-user", "ivshmem", "netdev")


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


def converted(xml: str, via: Via = "vhost-user", **options: Any) -> Plan:
    def device_of(port: NewPort) -> PortDevice:
        path = f"/run/ringpass/{port.name.replace(':', '.')}.sock"
        return PortDevice(
            name=port.name,
            via=via,
            path=path.replace(".sock", ".netdev") if via == "netdev" else path,
            mac=port.mac,
            queues=port.settings.get("queues", 1),
            mtu=port.settings.get("mtu", 1500),
            vectors=11,
        )

    return plan(xml, device_of, switch="vale0", via=via, patched=PATCHED, **options)


def difference(old: str, new: str) -> list[str]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def with_card(inner: str, kind: str = "bridge") -> str:
    """Return a domain with one card, which has `inner` beside its address."""
    return (
        "<domain type='kvm'>\n  <name>a</name>\n  <memory unit='KiB'>262144</memory>\n"
        "  <memoryBacking>\n    <source type='memfd'/>\n    <access mode='shared'/>\n"
        "  </memoryBacking>\n  <os>\n    <type arch='x86_64' machine='pc'>hvm</type>\n  </os>\n"
        f"  <devices>\n    <interface type='{kind}'>\n"
        f"      <mac address='52:54:00:00:00:01'/>\n{inner}    </interface>\n"
        "  </devices>\n</domain>\n"
    )


def test_a_bridge_becomes_a_port_and_the_rest_stays() -> None:
    old = DOMAINS["pc-bridge"]
    new = converted(old)
    assert difference(old, new.xml) == [
        "+  <memoryBacking>",
        "+    <source type='memfd'/>",
        "+    <access mode='shared'/>",
        "+  </memoryBacking>",
        "-    <interface type='bridge'>",
        "+    <interface type='vhostuser'>",
        "-      <source bridge='br0'/>",
        "+      <source type='unix' path='/run/ringpass/vale0.web1.sock' mode='client'>",
        "+        <reconnect enabled='yes' timeout='1'/>",
        "+      </source>",
        "+      <driver rx_queue_size='1024' tx_queue_size='1024'/>",
        "-    <interface type='bridge'>",
        "+    <interface type='vhostuser'>",
        "-      <source bridge='br1'/>",
        "-      <target dev='storage0'/>",
        "-      <model type='e1000'/>",
        "+      <source type='unix' path='/run/ringpass/vale0.web1.1.sock' mode='client'>",
        "+        <reconnect enabled='yes' timeout='1'/>",
        "+      </source>",
        "+      <model type='virtio'/>",
        "+      <driver rx_queue_size='1024' tx_queue_size='1024'/>",
    ]
    assert [(port.name, port.settings, port.was) for port in new.ports] == [
        ("vale0:web1", {"mac": "52:54:00:6b:3c:58"}, "bridge br0"),
        ("vale0:web1.1", {"mac": "52:54:00:6b:3c:59", "mtu": 9000}, "bridge br1"),
    ]
    assert new.notes == [
        "52:54:00:6b:3c:58: its frames go to vale0:web1 instead of bridge br0",
        "52:54:00:6b:3c:59: its frames go to vale0:web1.1 instead of bridge br1",
        "52:54:00:6b:3c:59: the guest sees virtio instead of e1000",
    ]


def test_a_card_keeps_its_place_its_name_and_its_queues() -> None:
    new = converted(DOMAINS["q35-network"])
    (card,) = Document(new.xml).root.all("devices/interface")
    assert card.value("boot", "order") == "1"
    assert card.value("alias", "name") == "ua-uplink"
    assert card.value("address", "bus") == "0x01"
    driver = card.find("driver")
    assert driver is not None
    assert driver.attributes == {"queues": "4", "rx_queue_size": "512"}
    assert driver.value("host", "tso6") == "off"
    assert new.ports[0].settings == {"mac": "52:54:00:6b:3c:60", "queues": 4}


def test_macvtap_and_ethernet_are_converted_without_kvm_too() -> None:
    new = converted(DOMAINS["tcg-macvtap"])
    cards = Document(new.xml).root.all("devices/interface")
    assert [card.attributes for card in cards] == [{"type": "vhostuser"}] * 2
    assert cards[0].value("link", "state") == "down"
    assert new.xml.count("virtio-net-pci.vectors=0") == 1
    assert [port.was for port in new.ports] == ["direct eth0", "ethernet tap7"]


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("name", DOMAINS)
def test_twice_is_once_and_libvirt_takes_it(name: str, via: Via, judge: Judge) -> None:
    first = converted(DOMAINS[name], via, force=True)
    judge.check(first.xml)
    assert {found.via for found in devices.devices(first.xml)} == {via}
    second = converted(first.xml, via)
    assert (second.xml, second.ports, second.notes) == (first.xml, [], [])


def test_a_card_that_becomes_shared_memory_keeps_its_place() -> None:
    new = converted(DOMAINS["pc-bridge"], "ivshmem")
    root = Document(new.xml).root
    assert root.all("devices/interface") == []
    places = [shmem.value("address", "slot") for shmem in root.all("devices/shmem")]
    assert places == ["0x03", "0x05"]
    assert [port.settings["kind"] for port in new.ports] == ["passthrough", "passthrough"]


def test_a_card_on_the_patched_qemu_gets_another_place() -> None:
    new = converted(DOMAINS["pc-bridge"], "netdev")
    assert "<interface" not in new.xml
    assert re.findall("mac=([0-9a-f:]+),bus=pci.0,addr=(0x[0-9a-f]+)", new.xml) == [
        ("52:54:00:6b:3c:59", "0x1b"),
        ("52:54:00:6b:3c:58", "0x1a"),
    ]
    assert f"<emulator>{PATCHED}</emulator>" in new.xml


def test_only_the_card_that_is_named_is_converted() -> None:
    new = converted(DOMAINS["pc-bridge"], macs=["52:54:00:6B:3C:59"], names=["vale7:x"])
    types = [card.get("type") for card in Document(new.xml).root.all("devices/interface")]
    assert types == ["bridge", "vhostuser"]
    assert [port.name for port in new.ports] == ["vale7:x"]


LOST = {
    "<filterref filter='clean-traffic'/>": "nwfilter",
    "<vlan><tag id='42'/></vlan>": "VLAN",
    "<bandwidth><inbound average='1000'/></bandwidth>": "bandwidth",
    "<virtualport type='openvswitch'/>": "virtual port",
    "<port isolated='yes'/>": "isolation",
    "<source bridge='br0' portgroup='x'/>": "port group x",
    "<driver name='vhost' iommu='on' ats='on'/>": "virtual IOMMU",
    "<driver name='vhost' queues='16'/>": "more than 8 of its 16 queues",
}


@pytest.mark.parametrize("element", LOST)
def test_what_would_be_lost_is_refused_by_name(element: str, judge: Judge) -> None:
    source = "" if "<source" in element else "      <source bridge='br0'/>\n"
    kind = "network" if "portgroup" in element else "bridge"
    old = with_card(f"{source}      <model type='virtio'/>\n      {element}\n", kind)
    old = old.replace("bridge='br0'", "network='n'") if kind == "network" else old
    judge.check(old)
    with pytest.raises(RingpassError) as refused:
        converted(old)
    assert LOST[element] in refused.value.why
    assert "--force" in refused.value.fix
    forced = converted(old, force=True)
    judge.check(forced.xml)
    assert any(LOST[element] in note for note in forced.notes)
    assert element not in forced.xml


@pytest.mark.parametrize("mode", ["private", "vepa"])
def test_a_mode_of_macvtap_that_isolates_is_not_given_up(mode: str) -> None:
    with pytest.raises(RingpassError, match=f"the {mode} mode of its macvtap"):
        converted(with_card(f"      <source dev='eth0' mode='{mode}'/>\n", "direct"))


@pytest.mark.parametrize("via", ["ivshmem", "netdev"])
def test_a_card_that_boots_the_guest_stays_one(via: Via) -> None:
    with pytest.raises(RingpassError, match="boot order"):
        converted(DOMAINS["q35-network"], via)


def test_a_domain_without_such_a_card_is_told() -> None:
    with pytest.raises(NotFound, match="no network card of type bridge"):
        converted(with_card("      <model type='virtio'/>\n", "user"))
    with pytest.raises(NotFound, match="it has 52:54:00:6b:3c:58"):
        converted(DOMAINS["pc-bridge"], macs=["52:54:00:00:00:00"])
    with pytest.raises(RingpassError, match="2 ports are named, for 1 network cards"):
        converted(DOMAINS["q35-network"], names=["vale0:a", "vale0:b"])


@pytest.mark.parametrize("via", VIAS)
def test_a_card_that_is_a_port_stays_one(via: Via) -> None:
    one, other = "52:54:00:6b:3c:58", "52:54:00:6b:3c:59"
    first = converted(DOMAINS["pc-bridge"], via, macs=[one], force=True)
    addresses = {"/run/ringpass/vale0.web1.sock": one}
    again = converted(first.xml, via, macs=[one.upper()], addresses=addresses)
    assert (again.xml, again.ports, again.notes) == (first.xml, [], [])
    both = converted(first.xml, via, macs=[one, other], addresses=addresses, names=["vale0:b"])
    assert [port.mac for port in both.ports] == [other]
    with pytest.raises(NotFound, match="no network card 52:54:00:00:00:00 of type"):
        converted(first.xml, via, macs=[one, "52:54:00:00:00:00"], addresses=addresses)


def port_name(domain: str) -> str:
    xml = DOMAINS["q35-network"].replace("<name>db1<", f"<name>{domain}<")
    return converted(xml).ports[0].name


def test_ports_are_called_after_the_domain() -> None:
    assert port_name("db1") == "vale0:db1"
    assert port_name("my-db") == "vale0:my_db"
    long = {port_name(f"production-database-{n}") for n in range(20)}
    assert len(long) == 20
    assert all(len(name) == len("vale0:") + 15 for name in long)


def test_a_port_gets_one_card() -> None:
    pair = ["52:54:00:6b:3c:58", "52:54:00:6b:3c:59"]
    with pytest.raises(RingpassError, match="1 ports are named, for 2 network cards"):
        converted(DOMAINS["pc-bridge"], names=["vale0:x", "vale0:x"])
    first = converted(DOMAINS["pc-bridge"], macs=pair[:1], names=["vale0:x"])
    with pytest.raises(RingpassError, match="the domain has vale0:x already"):
        converted(first.xml, macs=pair[1:], names=["vale0:x"])


def test_queues_that_cannot_be_are_told() -> None:
    slow = DOMAINS["q35-network"].replace("<domain type='kvm'", "<domain type='qemu'")
    new = converted(slow)
    assert Document(new.xml).root.value("devices/interface/driver", "queues") == "1"
    assert any("1 of its queues left" in note for note in new.notes)
    assert not any("queues" in note for note in converted(DOMAINS["q35-network"]).notes)


CARD_PARTS = st.lists(
    st.sampled_from(
        [
            "<source bridge='br0'/>",
            "<target dev='vnet0'/>",
            "<model type='e1000'/>",
            "<model type='virtio'/>",
            "<driver name='vhost' queues='2'/>",
            "<boot order='1'/>",
            "<alias name='ua-x'/>",
            "<mtu size='9000'/>",
            "<link state='up'/>",
            "<rom enabled='no'/>",
            "<unheard-of a='1'><b/></unheard-of>",
            "<!-- a remark -->",
        ]
    ),
    unique_by=lambda part: part.split()[0],
)
BLANKS = st.sampled_from(["", " ", "\n", "\n      ", "\t"])


@given(CARD_PARTS, BLANKS, BLANKS)
def test_what_is_not_understood_survives(parts: list[str], before: str, after: str) -> None:
    old = with_card("".join(f"{before}{part}{after}" for part in parts))
    new = converted(old)
    for part in parts:
        gone = part.startswith(("<source", "<target", "<model type='e", "<driver"))
        assert (part in new.xml) is not gone
    again = converted(new.xml)
    assert again.xml == new.xml
    head, tail = old.split("<interface")[0], old.split("</interface>")[1]
    assert new.xml.startswith(head)
    assert new.xml.endswith(tail)
