# SPDX-License-Identifier: BSD-2-Clause
"""The machine around the guests: who may open what, processors, limits."""

import contextlib
import grp
import os
import pwd
import resource
import shlex
from collections.abc import Iterable
from pathlib import Path

from ringpass import paths
from ringpass.client import Client
from ringpass.doctor.finding import Finding
from ringpass.errors import RingpassError
from ringpass.libvirt import access
from ringpass.libvirt.qemu_user import QemuUser, of_user

QEMU_USER = "libvirt-qemu"
"""Who QEMU is when Debian's libvirt runs it."""

FILES_WANTED = 4096
"""A port takes about a dozen descriptors: this is for three hundred ports."""

LOCKED_WANTED = 8 << 20


def check_runtime_dir() -> Finding:
    """May a daemon that you start put its sockets where it wants to?"""
    try:
        directory = paths.runtime_dir()
    except RingpassError as error:
        return Finding("runtime-dir", "fail", error.what, error.why, error.fix)
    existing = nearest_existing(directory)
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding(
            "runtime-dir",
            "fail",
            f"you cannot use {directory}",
            f"you may not write in {existing}",
            "set RINGPASS_RUNTIME_DIR to a directory of yours, or run ringpass as root",
        )
    return Finding("runtime-dir", "ok", f"sockets go to {directory}")


def check_socket_user() -> Finding:
    """Can the user that libvirt runs QEMU as reach the sockets?"""
    try:
        user = pwd.getpwnam(QEMU_USER)
    except KeyError:
        return Finding("socket-user", "ok", f"there is no user {QEMU_USER}, as libvirt would have")
    qemu = of_user(user.pw_uid)
    try:
        directory = paths.runtime_dir()
    except RingpassError as error:
        return Finding("socket-user", "warn", error.what, error.why, error.fix)
    for place in reversed([directory, *directory.parents]):
        if place.exists() and not may_search(place, qemu):
            return Finding(
                "socket-user",
                "warn",
                f"QEMU cannot reach our sockets when libvirt runs it, as user {QEMU_USER}",
                f"that user may not search {place}",
                f"chmod o+x {shlex.quote(str(place))}, or choose another RINGPASS_RUNTIME_DIR",
            )
    if not set(sockets_group()) & qemu.groups:
        return Finding(
            "socket-user",
            "warn",
            f"QEMU may not open our sockets when libvirt runs it, as user {QEMU_USER}",
            f"{QEMU_USER} is not in the group kvm, which our sockets are given to",
            f'usermod -aG kvm {QEMU_USER}, or set socket_group or socket_mode = "0666" in [daemon]',
        )
    return Finding("socket-user", "ok", f"the user {QEMU_USER} can reach our sockets")


def sockets_group() -> Iterable[int]:
    with contextlib.suppress(KeyError):
        yield grp.getgrnam("kvm").gr_gid


def may_search(place: Path, user: QemuUser) -> bool:
    return access.may(place.stat(), access.acl_of(place), user, access.EXECUTE)


def nearest_existing(directory: Path) -> Path:
    """Return the directory, or the lowest one above it that is there."""
    return next(place for place in (directory, *directory.parents) if place.exists())


def check_cpus() -> Finding:
    """Compare the processors we may use with what wants to run on them."""
    cpus = len(os.sched_getaffinity(0))
    workers = running_workers()
    busy = sum(1 for policy in workers if policy == "busy")
    if busy and busy >= cpus:
        return Finding(
            "cpus",
            "fail",
            f"{busy} busy workers on {cpus} processors",
            "workers of policy busy never sleep, so there is no processor left for guests",
            'give the workers policy = "adaptive", or use fewer',
        )
    if cpus < 2 or len(workers) >= cpus:
        return Finding(
            "cpus",
            "warn",
            f"{cpus} processors for {len(workers)} workers and the guests",
            "guests and workers that take turns on a processor wait for each other",
            "use fewer workers, or a machine with more processors; expect low figures until then",
        )
    return Finding("cpus", "ok", f"{cpus} processors, {len(workers)} workers")


def running_workers() -> list[str]:
    """Return the policies of the running daemon's workers, or of those it would have by default."""
    with contextlib.suppress(RingpassError, KeyError, TypeError), Client(timeout=5) as client:
        return [str(worker["policy"]) for worker in client.call("status")["workers"]]
    return ["adaptive"]


def check_limits() -> Finding:
    _soft, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    locked, _hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if 0 <= files < FILES_WANTED:
        return Finding(
            "limits",
            "warn",
            f"a process may have {files} open files",
            "a port takes about a dozen: an event each for kick and call of each ring, and memory",
            f"ulimit -Hn {FILES_WANTED}, or LimitNOFILE={FILES_WANTED} in the daemon's unit",
        )
    if 0 <= locked < LOCKED_WANTED:
        return Finding(
            "limits",
            "warn",
            f"a process may lock {locked >> 10} KiB of memory",
            "BPF programs and DPDK applications that are front ends lock some megabytes",
            f"ulimit -l {LOCKED_WANTED >> 10}",
        )
    return Finding("limits", "ok", f"open files: {number(files)}, locked memory: {number(locked)}")


def number(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)
