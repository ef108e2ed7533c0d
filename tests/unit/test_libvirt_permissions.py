# SPDX-License-Identifier: BSD-2-Clause
"""Who QEMU is, what it may open, and what is said when it may not."""

import os
import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringpass.errors import ExitCode, RingpassError
from ringpass.libvirt import access, permissions, qemu_user
from ringpass.libvirt.ports import PortDevice, Via
from ringpass.libvirt.qemu_user import QemuUser
from tests.support.wait import PATIENCE_S

#: Users and groups that nobody has.
UID, GID, OTHER = 61001, 61002, 61003
QEMU = QemuUser(UID, GID, frozenset({GID}))
EMULATOR = "/opt/ringpass/qemu-system-x86_64"

DAC = (
    "<secmodel><model>dac</model><doi>0</doi>"
    f"<baselabel type='kvm'>+{UID}:+{GID}</baselabel>"
    f"<baselabel type='qemu'>+{OTHER}:+{GID}</baselabel></secmodel>"
)
APPARMOR = "<secmodel><model>apparmor</model><doi>0</doi></secmodel>"
SELINUX = (
    "<secmodel><model>selinux</model><doi>0</doi>"
    "<baselabel type='kvm'>system_u:system_r:svirt_t:s0</baselabel>"
    "<baselabel type='qemu'>system_u:system_r:svirt_tcg_t:s0</baselabel></secmodel>"
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def capabilities(*models: str) -> str:
    """Return what libvirt says of a host with these security drivers."""
    none = "<secmodel><model>none</model><doi>0</doi></secmodel>"
    return f"<capabilities><host><uuid>x</uuid>{none}{''.join(models)}</host></capabilities>"


def port(path: Path | str, via: Via = "vhost-user", *, server: bool = False) -> PortDevice:
    return PortDevice(name="vale0:vm1", via=via, path=str(path), server=server)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a directory that everybody may search, on a way that everybody may go."""
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == os.getuid() and directory != Path("/"):
            directory.chmod(directory.stat().st_mode | 0o111)
    return tmp_path


@pytest.fixture
def listening(place: Path) -> Iterator[Path]:
    """Return a socket that only root may open."""
    with socket.socket(socket.AF_UNIX) as listener:
        path = place / "p.sock"
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o660)
        yield path


# Who QEMU is


def test_libvirt_says_who_qemu_is() -> None:
    host = capabilities(DAC)
    assert qemu_user.qemu_user(host) == QEMU
    assert qemu_user.qemu_user(host, "<domain type='kvm'/>") == QEMU
    assert qemu_user.qemu_user(host, "<domain type='qemu'/>").uid == OTHER


def test_the_domain_says_it_first() -> None:
    labels = (
        "<seclabel type='dynamic' model='apparmor'/>"
        "<seclabel type='static' model='dac'><label>+5:+6</label></seclabel>"
    )
    user = qemu_user.qemu_user(capabilities(DAC), f"<domain type='kvm'>{labels}</domain>")
    assert (user.uid, user.gid) == (5, 6)
    without = "<domain type='kvm'><seclabel type='none' model='dac'/></domain>"
    assert qemu_user.qemu_user(capabilities(DAC), without) == QEMU


def test_names_stand_for_numbers() -> None:
    user = qemu_user.qemu_user(capabilities(DAC.replace(f"+{UID}:+{GID}", "root:daemon")))
    assert (user.uid, user.gid, user.name, user.group) == (0, 1, "root", "daemon")
    with pytest.raises(RingpassError, match="cannot tell who QEMU will be"):
        qemu_user.qemu_user(capabilities(DAC.replace(f"+{UID}", "nobody-of-this-name")))


def test_a_session_runs_qemu_as_its_user() -> None:
    assert qemu_user.qemu_user(capabilities(DAC), session_uid=OTHER).uid == OTHER


def test_without_a_driver_qemu_is_root() -> None:
    assert qemu_user.qemu_user(capabilities()).uid == 0


# What the kernel lets it do


def acl_of(entries: dict[tuple[int, int], int]) -> bytes:
    """Return an ACL as the extended attribute has it; `entries` is (tag, id) -> permissions."""
    packed = (struct.pack("<HHI", tag, allowed, who) for (tag, who), allowed in entries.items())
    return struct.pack("<I", 2) + b"".join(packed)


def kernel_allows(path: Path, user: QemuUser, wanted: int) -> bool:
    """Ask the kernel, as that user and without any capability."""
    groups = ",".join(map(str, sorted(user.groups)))
    command = [
        *("setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", f"--groups={groups}"),
        *("--bounding-set=-all", "--inh-caps=-all"),
    ]
    flags = "".join(
        f" -a -{letter} {path}" for letter, bit in (("r", 4), ("w", 2), ("x", 1)) if wanted & bit
    )
    test = ["sh", "-c", f"test -e {path}{flags}"]
    return subprocess.run([*command, *test], timeout=PATIENCE_S, check=False).returncode == 0


NO_ID = 0xFFFFFFFF
permission_bits = st.integers(0, 7)


@as_root
@settings(max_examples=40)
@given(
    mode=st.integers(0, 0o777),
    owner=st.sampled_from([UID, OTHER, 0]),
    group=st.sampled_from([GID, OTHER]),
    extra=st.sampled_from([(), (OTHER,)]),
    named=st.dictionaries(
        st.sampled_from([(2, UID), (2, OTHER), (8, GID), (8, OTHER)]), permission_bits
    ),
    mask=permission_bits,
    wanted=st.sampled_from([1, 4, 5, 6]),
)
def test_the_kernel_decides_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    mode: int,
    owner: int,
    group: int,
    extra: tuple[int, ...],
    named: dict[tuple[int, int], int],
    mask: int,
    wanted: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / "access"
    for directory in (path.parent, path.parent.parent, path.parent.parent.parent):
        if directory.name:
            directory.chmod(directory.stat().st_mode | 0o111)
    path.unlink(missing_ok=True)
    path.touch()
    os.chown(path, owner, group)
    path.chmod(mode)
    if named:
        own = {(1, NO_ID): mode >> 6, (4, NO_ID): mode >> 3 & 7, (32, NO_ID): mode & 7}
        entries = sorted((own | named | {(16, NO_ID): mask}).items())
        os.setxattr(path, "system.posix_acl_access", acl_of(dict(entries)))
    user = QemuUser(UID, GID, frozenset({GID, *extra}))
    decided = access.may(path.stat(), access.acl_of(path), user, wanted)
    assert decided == kernel_allows(path, user, wanted)


def test_links_on_the_way_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real/deep").mkdir(parents=True)
    (tmp_path / "real/deep/file").touch()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real/up").symlink_to("../link/deep/file")
    passed = [place for place, _ in access.way_to(tmp_path / "link/up")]
    assert passed[-1] == tmp_path / "real/deep/file"
    assert {tmp_path, tmp_path / "real", tmp_path / "real/deep"} <= set(passed)
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="symbolic links"):
        list(access.way_to(tmp_path / "round"))


# What is said


class Host:
    """As much of a connection as is asked."""

    def __init__(self, uri: str) -> None:
        self.getURI = lambda: uri
        self.getCapabilities = lambda: capabilities(DAC)


@pytest.mark.parametrize(
    "uri", ["qemu:///system", "qemu+unix:///system", "qemu:///system?socket=x"]
)
def test_only_libvirt_on_this_machine_has_its_files(listening: Path, uri: str) -> None:
    assert len(permissions.check_connection(Host(uri), "", port(listening))) == 1
    for remote in ("qemu+ssh://host/system", "qemu+tcp://127.0.0.1/system", "test:///default"):
        assert permissions.check_connection(Host(remote), "", port(listening)) == []
    # We may open what is ours.
    assert permissions.check_connection(Host("qemu:///session"), "", port(listening)) == []


def test_an_open_socket_is_no_problem(listening: Path) -> None:
    listening.chmod(0o666)
    assert permissions.check(capabilities(DAC), "", port(listening)) == []


def test_a_closed_socket_names_file_user_group_and_the_command(listening: Path) -> None:
    (problem,) = permissions.check(capabilities(DAC), "", port(listening))
    assert problem.what == "QEMU cannot connect to the socket of vale0:vm1"
    assert f"user {UID} (groups {GID}), who may not open {listening}" in problem.why
    assert "srw-rw----" in problem.why
    assert problem.fix.startswith(f"chgrp {GID} {listening} && chmod 660 {listening}; for good: ")
    assert f'socket_group = "{GID}" in [daemon]' in problem.fix
    assert problem.error().exit_code == ExitCode.DENIED


def test_the_mode_is_mentioned_if_the_group_has_none(listening: Path) -> None:
    listening.chmod(0o600)
    (problem,) = permissions.check(capabilities(DAC), "", port(listening))
    assert 'socket_mode = "0660"' in problem.fix


@as_root
def test_the_command_that_is_said_helps(listening: Path) -> None:
    (problem,) = permissions.check(capabilities(DAC), "", port(listening))
    subprocess.run(["sh", "-c", problem.fix.partition(";")[0]], timeout=PATIENCE_S, check=True)
    assert permissions.check(capabilities(DAC), "", port(listening)) == []
    assert kernel_allows(listening, QEMU, 6)


@as_root
@pytest.mark.parametrize(
    ("owner", "group", "mode"), [(0, 0, 0o700), (UID, 0, 0o600), (0, GID, 0o701)]
)
def test_a_directory_on_the_way_is_named(
    listening: Path, owner: int, group: int, mode: int
) -> None:
    listening.chmod(0o666)
    os.chown(listening.parent, owner, group)
    listening.parent.chmod(mode)
    (problem,) = permissions.check(capabilities(DAC), "", port(listening))
    assert f"may not search {listening.parent}:" in problem.why
    subprocess.run(["sh", "-c", problem.fix.partition(";")[0]], timeout=PATIENCE_S, check=True)
    assert permissions.check(capabilities(DAC), "", port(listening)) == []
    assert kernel_allows(listening, QEMU, 6)


@as_root
def test_a_socket_that_qemu_makes_needs_a_directory(place: Path) -> None:
    listening = port(place / "p.sock", server=True)
    (problem,) = permissions.check(capabilities(DAC), "", listening)
    assert problem.what == "QEMU cannot listen on the socket of vale0:vm1"
    assert f"may not make files in {place}:" in problem.why
    assert problem.fix.startswith(f"install -d -o {UID} /run/ringpass-{UID}, and set the port's")
    os.chown(place, UID, GID)
    assert permissions.check(capabilities(DAC), "", listening) == []


def test_the_program_is_looked_at_for_a_netdev(place: Path, listening: Path) -> None:
    listening.chmod(0o666)
    program = place / "qemu"
    program.touch(mode=0o700)
    program.chmod(0o700)
    (problem,) = permissions.check(capabilities(DAC), "", port(listening, "netdev"), str(program))
    assert problem.what == "QEMU cannot be started"
    assert f"may not run {program}" in problem.why
    assert problem.fix == f"chmod o+rx {program}"
    program.chmod(0o755)
    assert permissions.check(capabilities(DAC), "", port(listening, "netdev"), str(program)) == []


def test_apparmor_is_told_what_libvirt_does_not_tell_it(listening: Path) -> None:
    host = capabilities(APPARMOR, DAC)
    listening.chmod(0o666)
    assert permissions.check(host, "", port(listening)) == []
    assert permissions.check(host, "", port(listening, "ivshmem")) == []
    (problem,) = permissions.check(host, "", port(listening, "netdev"), EMULATOR)
    assert f"{listening} rw," in problem.fix
    assert f"{EMULATOR} rmix," in problem.fix
    assert f"{EMULATOR} PUx," in problem.fix


AA_HELPER = Path("/usr/lib/libvirt/virt-aa-helper")


@pytest.mark.skipif(not AA_HELPER.exists(), reason="libvirt without AppArmor")
def test_libvirt_tells_apparmor_of_sockets_of_devices() -> None:
    uuid = "6c4de0a8-6ad5-4a5a-a2a0-2f1b1b5a6a09"
    devices = (
        "<interface type='vhostuser'><source type='unix' path='/run/x/a.sock' mode='client'/>"
        "<model type='virtio'/></interface><shmem name='b'><model type='ivshmem-doorbell'/>"
        "<server path='/run/x/b.sock'/></shmem>"
    )
    xml = (
        f"<domain type='kvm'><name>a</name><uuid>{uuid}</uuid><memory>262144</memory>"
        f"<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>{devices}</devices>"
        "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
        "<qemu:arg value='-netdev'/><qemu:arg value='ringpass,id=a,path=/run/x/c.netdev'/>"
        "</qemu:commandline></domain>"
    )
    argv = [str(AA_HELPER), "--create", "--dryrun", "--uuid", f"libvirt-{uuid}"]
    done = subprocess.run(
        argv, input=xml, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    said = done.stdout + done.stderr
    assert re.findall(r'"(/run/x/.*)" rw,', said) == ["/run/x/a.sock", "/run/x/b.sock"]


def test_selinux_needs_a_module(listening: Path) -> None:
    listening.chmod(0o666)
    (problem,) = permissions.check(capabilities(SELINUX, DAC), "", port(listening))
    assert problem.what == "SELinux may keep QEMU from vale0:vm1"
    assert "semodule -i ringpass.pp" in problem.fix
