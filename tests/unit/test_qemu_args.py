# SPDX-License-Identifier: BSD-2-Clause
"""Command lines of guests, against golden files.

A change of a command line must be looked at by a person: set UPDATE_GOLDEN=1, run, and read the
diff. The KVM lines are not run by any test: there is no KVM that runs stock guests where this
suite is run. What they must not have is asserted beside the golden files.
"""

import os
from pathlib import Path

import pytest

from ringpass.cli.vm import guest_name
from ringpass.errors import ConfigError
from ringpass.vm import qemu, uml
from ringpass.vm.nic import Nic, check_guest_name

GOLDEN = Path(__file__).parent / "golden"

KERNEL = Path("/images/k/kernel")
INITRD = Path("/images/k/initrd")
UML = Path("/images/k/linux.uml")

PLAIN = Nic(
    socket=Path("/run/ringpass/vale0.vm1.sock"), mac="52:54:00:00:00:01", address="10.0.0.1/24"
)
TUNED = Nic(
    socket=Path("/run/ringpass/a,b.sock"),
    queues=2,
    server=True,
    packed=True,
    mrg_rxbuf=False,
    event_idx=False,
    indirect_desc=False,
    host_mtu=9000,
    rx_queue_size=512,
    tx_queue_size=1024,
    mtu=9000,
)
PASSTHROUGH = Nic(
    socket=Path("/run/ringpass/vale0.vm2.sock"), vectors=11, address="10.0.1.1/24", mtu=9000
)


NETDEV = Path("/run/ringpass/vale0.vm2.netdev")
PTNET = Nic(socket=NETDEV, device="ptnet-pci", address="10.0.1.1/24")
COPIED = Nic(socket=NETDEV, device="virtio-net-pci", queues=2, mac="52:54:00:00:00:02")
PATCHED = qemu.Emulator(program="/cache/qemu/k/qemu-system-x86_64", patched=True)


def machine(accel: qemu.Accel, *nics: Nic, emulator: qemu.Emulator = qemu.STOCK) -> qemu.Machine:
    return qemu.Machine(
        emulator=emulator,
        name="vm1",
        kernel=KERNEL,
        initrd=INITRD,
        nics=nics,
        accel=accel,
        qmp=Path("/run/ringpass/vm/vm1/qmp.sock"),
    )


CASES = {
    "qemu-tcg": qemu.command(machine("tcg", PLAIN)),
    "qemu-kvm": qemu.command(machine("kvm", PLAIN)),
    "qemu-tcg-tuned": qemu.command(machine("tcg", PLAIN, TUNED)),
    "qemu-kvm-tuned": qemu.command(machine("kvm", PLAIN, TUNED)),
    "qemu-passthrough": qemu.command(machine("tcg", PASSTHROUGH, PLAIN)),
    "qemu-ptnet": qemu.command(machine("tcg", PTNET, PLAIN, emulator=PATCHED)),
    "qemu-netdev": qemu.command(machine("kvm", COPIED, emulator=PATCHED)),
    "uml": uml.command(
        uml.Machine(
            name="u1",
            kernel=UML,
            initrd=INITRD,
            directory=Path("/run/ringpass/vm/u1"),
            nics=(PLAIN, Nic(socket=Path("/run/ringpass/a,b.sock"), mtu=9000)),
        )
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_command_line_is_the_golden_one(case: str) -> None:
    # One argument a line; an option and its value are easier to read, and to review, apart.
    text = "".join(f"{argument}\n" for argument in CASES[case])
    golden = GOLDEN / f"{case}.args"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_patched_qemu_needs_no_guard() -> None:
    argv = qemu.command(machine("tcg", PTNET, PLAIN, emulator=PATCHED))
    assert not [word for word in argv if "vectors" in word]


def test_stock_qemu_has_no_devices_of_ours() -> None:
    with pytest.raises(ConfigError, match="no -netdev ringpass") as caught:
        machine("tcg", PTNET)
    assert "--qemu patched" in str(caught.value)


def test_a_netdev_that_does_not_reconnect_says_so() -> None:
    nic = Nic(socket=Path("/a,b"), device="ptnet-pci", reconnect=0)
    assert qemu.nic_args(nic, 3)[1] == "ringpass,id=net3,path=/a,,b,reconnect=0"


@pytest.mark.parametrize("nics", [(), (PLAIN,), (PLAIN, TUNED)])
def test_guard_against_msix_crash_is_under_tcg_only(nics: tuple[Nic, ...]) -> None:
    assert "virtio-net-pci.vectors=0" in qemu.command(machine("tcg", *nics))
    assert not [word for word in qemu.command(machine("kvm", *nics)) if "vectors" in word]


def test_no_device_overrides_the_guard() -> None:
    devices = [word for word in qemu.command(machine("tcg", PLAIN, TUNED)) if "nic" in word]
    assert devices
    assert not [word for word in devices if "vectors" in word]


def test_guest_memory_is_shared() -> None:
    argv = qemu.command(machine("tcg", PLAIN))
    backend = argv[argv.index("-object") + 1]
    assert "share=on" in backend
    assert f"memory-backend={backend.split('id=')[1].split(',')[0]}" in " ".join(argv)


def test_commas_in_paths_are_doubled() -> None:
    assert "path=/run/ringpass/a,,b.sock" in qemu.chardev(TUNED, 0)


def test_client_does_not_reconnect_if_told_so() -> None:
    nic = Nic(socket=Path("/s"), reconnect=0)
    assert qemu.chardev(nic, 0) == "socket,id=chr0,path=/s"


@pytest.mark.parametrize("queues", [0, -1, 129])
def test_impossible_queue_count_is_refused(queues: int) -> None:
    with pytest.raises(ConfigError, match="queue"):
        Nic(socket=Path("/s"), queues=queues)


def test_socket_path_limit_is_the_kernels() -> None:
    Nic(socket=Path("/" + "x" * 106))
    with pytest.raises(ConfigError, match=r"108 bytes.*107"):
        Nic(socket=Path("/" + "x" * 107))


def test_uml_management_socket_must_fit_too() -> None:
    with pytest.raises(ConfigError, match="107"):
        uml.Machine(name="u1", kernel=UML, initrd=INITRD, directory=Path("/" + "x" * 100))


@pytest.mark.parametrize(
    ("nic", "message"),
    [
        (Nic(socket=Path("/s"), server=True), "only connects"),
        (Nic(socket=Path("/s"), queues=2), "2 queue pairs"),
        (Nic(socket=Path("/s"), vectors=11), "no PCI"),
        (PTNET, "no PCI"),
    ],
)
def test_uml_refuses_cards_that_it_cannot_have(nic: Nic, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        uml.Machine(name="u1", kernel=UML, initrd=INITRD, directory=Path("/d"), nics=(nic,))


@pytest.mark.parametrize("path", ["/a:b", "/a b", '/a"b'])
def test_uml_refuses_paths_that_its_command_line_cannot_hold(path: str) -> None:
    nic = Nic(socket=Path(path))
    with pytest.raises(ConfigError, match="colon, space"):
        uml.Machine(name="u1", kernel=UML, initrd=INITRD, directory=Path("/d"), nics=(nic,))


@pytest.mark.parametrize("name", ["", "a b", "-a", "a,b", "a/b", "x" * 64])
def test_guest_names_are_host_names(name: str) -> None:
    with pytest.raises(ConfigError, match="not a name"):
        qemu.Machine(name=name, kernel=KERNEL, initrd=INITRD)
    with pytest.raises(ConfigError, match="not a name"):
        uml.Machine(name=name, kernel=UML, initrd=INITRD, directory=Path("/d"))


def test_a_guest_is_called_as_its_first_port() -> None:
    assert guest_name([]) == ""
    named = [guest_name([port, "vale0:b"]) for port in ("vale0:vm_1", "p{1", "p}1")]
    assert named == ["vm-1", "p-1", "p.1"]
    for name in named:
        check_guest_name(name)


def test_values_that_would_add_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="MAC"):
        Nic(socket=Path("/s"), mac="52:54:00:00:00:01,vectors=3")
    with pytest.raises(ConfigError, match="ADDRESS/LENGTH"):
        Nic(socket=Path("/s"), address="10.0.0.1/24 init=/bin/sh")
