# SPDX-License-Identifier: BSD-2-Clause
"""Who the QEMU of a domain is, as its libvirt says."""

import contextlib
import grp
import pwd
from typing import NamedTuple

from ringpass.errors import RingpassError
from ringpass.libvirt.document import Document, Element


class QemuUser(NamedTuple):
    """The user and group of a process, and all groups that it is in."""

    uid: int
    gid: int
    groups: frozenset[int]

    @property
    def name(self) -> str:
        """Its name, a number if it has none."""
        return user_name(self.uid)

    @property
    def group(self) -> str:
        """The name of its group, a number if it has none."""
        return group_name(self.gid)


def qemu_user(
    capabilities_xml: str, domain_xml: str = "", session_uid: int | None = None
) -> QemuUser:
    """Return who QEMU is.

    What the domain says in its `<seclabel model='dac'>` comes first, then what libvirtd does for
    all domains (`user` and `group` of its qemu.conf, as it tells in its capabilities). A session's
    libvirtd runs QEMU as the user that it is itself, `session_uid`. Raises RingpassError if this
    machine has no such user.
    """
    if session_uid is not None:
        return of_user(session_uid)
    kind = "kvm"
    if domain_xml:
        domain = Document(domain_xml).root
        kind = domain.get("type", kind)
        if label := _label_of_domain(domain):
            return _parsed(label)
    for model in Document(capabilities_xml).root.all("host/secmodel"):
        name = model.find("model")
        labels = {label.get("type"): label.text for label in model.all("baselabel")}
        if name is not None and name.text == "dac" and labels:
            return _parsed(labels.get(kind) or next(iter(labels.values())))
    # Without a driver for it libvirtd changes nobody: QEMU is root, as a system's libvirtd is.
    return of_user(0)


def drivers(capabilities_xml: str) -> frozenset[str]:
    """Return the names of the security drivers that confine domains: apparmor, selinux."""
    models = Document(capabilities_xml).root.all("host/secmodel/model")
    return frozenset(model.text for model in models) - {"dac", "none"}


def of_user(uid: int, gid: int | None = None) -> QemuUser:
    """Return the user `uid` in its own group or in `gid`, with the groups that list it."""
    groups = set()
    with contextlib.suppress(KeyError):
        entry = pwd.getpwuid(uid)
        gid = entry.pw_gid if gid is None else gid
        groups = {group.gr_gid for group in grp.getgrall() if entry.pw_name in group.gr_mem}
        groups.add(entry.pw_gid)
    gid = uid if gid is None else gid
    return QemuUser(uid, gid, frozenset({gid, *groups}))


def user_name(uid: int) -> str:
    """Return the name of a user, the number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return the name of a group, the number if it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _label_of_domain(domain: Element) -> str:
    for seclabel in domain.all("seclabel"):
        label = seclabel.find("label")
        if seclabel.get("model") == "dac" and label is not None:
            return label.text
    return ""


def _parsed(label: str) -> QemuUser:
    """Return who `+UID:+GID` is; names may stand for the numbers."""
    user, _, group = label.partition(":")
    try:
        uid = int(user) if user.lstrip("+").isdigit() else pwd.getpwnam(user).pw_uid
        if not group:
            return of_user(uid)
        gid = int(group) if group.lstrip("+").isdigit() else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise RingpassError(
            "cannot tell who QEMU will be",
            f"libvirt runs it as {label}, and this machine does not know that name",
            "correct user and group in /etc/libvirt/qemu.conf, or the domain's <seclabel>",
        ) from error
    return of_user(uid, gid)
