# SPDX-License-Identifier: BSD-2-Clause
"""Whether the QEMU of a domain may use a port, before it tries and says `Permission denied`.

libvirt gives disks to the user that it runs QEMU as (its dynamic ownership), but neither sockets of
vhost-user and shmem, nor what stands in arguments of QEMU: those must be open to that user already.
"""

import os
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

import libvirt

from ringpass.libvirt import access
from ringpass.libvirt.access import EXECUTE, READ, WRITE
from ringpass.libvirt.emulator import FIRMWARE
from ringpass.libvirt.ports import PortDevice
from ringpass.libvirt.problems import Problem
from ringpass.libvirt.qemu_user import QemuUser, drivers, group_name, qemu_user, user_name

_WORDS = {
    EXECUTE: "search",
    READ | EXECUTE: "run",
    READ | WRITE: "open",
    WRITE | EXECUTE: "make files in",
}

#: A URI of QEMU's driver on this machine: of the system, or of our own user.
_LOCAL = re.compile(r"qemu(\+unix)?:///(?P<whose>system|session|embed)")

APPARMOR_QEMU = "/etc/apparmor.d/local/abstractions/libvirt-qemu"
APPARMOR_LIBVIRTD = "/etc/apparmor.d/local/usr.sbin.libvirtd"


def check(
    capabilities_xml: str,
    domain_xml: str,
    port: PortDevice,
    emulator: str = "",
    session_uid: int | None = None,
) -> list[Problem]:
    """Return what keeps the QEMU of a domain from `port`; nothing, if all is well.

    Looks at the files of this machine, so libvirtd must run here. `domain_xml` may be empty: of a
    domain that libvirtd would run as it does by default. `emulator` is the program that a netdev
    needs. What we may not look at ourselves is taken to be well.
    """
    user = qemu_user(capabilities_xml, domain_xml, session_uid)
    found = list(_socket(port, user))
    if port.via == "netdev":
        found += _program(Path(emulator), user)
    return found + list(_confinement(drivers(capabilities_xml), port, emulator))


def check_connection(
    connection: libvirt.virConnect, domain_xml: str, port: PortDevice, emulator: str = ""
) -> list[Problem]:
    """Return what `check` does for a domain of `connection`; nothing if libvirtd runs elsewhere."""
    local = _LOCAL.match(connection.getURI())
    if local is None:
        return []
    session = None if local["whose"] == "system" else os.geteuid()
    return check(connection.getCapabilities(), domain_xml, port, emulator, session)


def _socket(port: PortDevice, user: QemuUser) -> Iterator[Problem]:
    """Find what keeps `user` from connecting to a port's socket, or from making it."""
    doing = "listen on" if port.server else "connect to"
    what = f"QEMU cannot {doing} the socket of {port.name}"
    place_of_own = f"install -d -o {user.name} /run/ringpass-{user.name}"
    path = Path(port.path)
    for place, status in _steps(path.parent if port.server else path):
        if stat.S_ISSOCK(status.st_mode):
            wanted, fix = READ | WRITE, _socket_fix(place, status, user)
        elif port.server and place == path.parent:
            # Who may write there could put a socket in the place of another's.
            wanted = WRITE | EXECUTE
            fix = f"{place_of_own}, and set the port's path to a socket in that"
        else:
            wanted = EXECUTE
            fix = f"{_search_fix(place, status, user)}; or choose another RINGPASS_RUNTIME_DIR"
        if not _may(place, status, user, wanted):
            yield Problem(what, _denied(place, status, user, wanted), fix)
            return


def _program(program: Path, user: QemuUser) -> Iterator[Problem]:
    """Find what keeps `user` from running the patched QEMU and from reading its firmware."""
    for path in (program, *map(Path, FIRMWARE)):
        for place, status in _steps(path):
            last = not stat.S_ISDIR(status.st_mode)
            wanted = READ | EXECUTE if last else EXECUTE
            if _may(place, status, user, wanted):
                continue
            fix = _search_fix(place, status, user)
            if last:
                fix = f"chmod o+rx {shlex.quote(str(place))}"
            elif path == program:
                fix += "; or build it elsewhere: RINGPASS_CACHE_DIR=/var/cache/ringpass make qemu"
            yield Problem("QEMU cannot be started", _denied(place, status, user, wanted), fix)
            return


def _steps(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        yield from access.way_to(path)
    except OSError:
        # It is not there, which whoever starts the domain is told by others, or not for us to see.
        return


def _may(place: Path, status: os.stat_result, user: QemuUser, wanted: int) -> bool:
    try:
        acl = access.acl_of(place)
    except OSError:
        return True
    return access.may(status, acl, user, wanted)


def _denied(place: Path, status: os.stat_result, user: QemuUser, wanted: int) -> str:
    groups = ", ".join(group_name(gid) for gid in sorted(user.groups))
    return (
        f"libvirt runs QEMU as user {user.name} (groups {groups}), who may not {_WORDS[wanted]} "
        f"{place}: it is {user_name(status.st_uid)}:{group_name(status.st_gid)} "
        f"{stat.filemode(status.st_mode)}"
    )


def _socket_fix(path: Path, status: os.stat_result, user: QemuUser) -> str:
    quoted = shlex.quote(str(path))
    settings = f'socket_group = "{user.group}"'
    if (status.st_mode >> 3) & (READ | WRITE) != READ | WRITE:
        settings += ', socket_mode = "0660"'
    return (
        f"chgrp {user.group} {quoted} && chmod 660 {quoted}; "
        f"for good: {settings} in [daemon] of the configuration"
    )


def _search_fix(place: Path, status: os.stat_result, user: QemuUser) -> str:
    quoted = shlex.quote(str(place))
    if access.acl_of(place):
        return f"setfacl -m u:{user.name}:x {quoted}"
    by_group = status.st_gid in user.groups
    whom = "u" if status.st_uid == user.uid else "g" if by_group else "o"
    return f"chmod {whom}+x {quoted}"


def _confinement(confined_by: frozenset[str], port: PortDevice, emulator: str) -> Iterator[Problem]:
    """Say what security drivers of the kernel need to be told, which libvirt does not tell them."""
    if "apparmor" in confined_by and port.via == "netdev":
        rules = [f"{port.path} rw,", f"{emulator} rmix,"]
        lines = " ".join(shlex.quote(f"  {rule}") for rule in rules)
        yield Problem(
            f"AppArmor will keep QEMU from {port.name}",
            "libvirt's profile of a domain allows what is in its devices, and this port is in "
            "arguments of QEMU, with an emulator that is not installed",
            f"printf '%s\\n' {lines} >> {APPARMOR_QEMU}; "
            f"echo {shlex.quote(f'  {emulator} PUx,')} >> {APPARMOR_LIBVIRTD}; "
            "systemctl reload apparmor",
            certain=False,
        )
    if "selinux" in confined_by:
        yield Problem(
            f"SELinux may keep QEMU from {port.name}",
            "libvirt labels a domain's files, but no sockets that others listen on: QEMU (svirt_t) "
            "needs the right to connect to the daemon and to map its memory",
            "start the domain once, then: ausearch -m AVC -c qemu-system-x86 --raw | "
            "audit2allow -M ringpass && semodule -i ringpass.pp",
            certain=False,
        )
