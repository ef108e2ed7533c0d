# SPDX-License-Identifier: BSD-2-Clause
"""Connections to libvirt, and its errors in our words.

Importing this loads libvirt's library, which takes a while: who may do without does it late.
"""

import contextlib
from collections.abc import Iterator

from ringpass.errors import Denied, NotFound, RingpassError

try:
    import libvirt
except ImportError as error:
    raise RingpassError(
        "cannot use libvirt",
        f"its Python binding is missing: {error}",
        "apt install libvirt0, and pip install libvirt-python for ringpass's Python",
    ) from error

SYSTEM = "qemu:///system"

#: Seconds between signs of life, and how many may be missed; then a connection is given up.
KEEPALIVE_S, KEEPALIVE_COUNT = 5, 3

# What fails is told by exceptions; the library would print it to standard error as well.
libvirt.registerErrorHandler(lambda *_: None, None)

_DENIED = (
    libvirt.VIR_ERR_AUTH_FAILED,
    libvirt.VIR_ERR_AUTH_CANCELLED,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE,
    libvirt.VIR_ERR_ACCESS_DENIED,
    libvirt.VIR_ERR_OPERATION_DENIED,
)


def connect(uri: str | None = None) -> libvirt.virConnect:
    """Return a connection that may change domains; to the system's libvirtd if `uri` is None.

    Raises RingpassError: nobody answers, or does not let us.
    """
    uri = uri or SYSTEM
    what = f"cannot connect to libvirt at {uri}"
    try:
        return libvirt.open(uri)
    except libvirt.libvirtError as error:
        why = message(error)
        if error.get_error_code() in _DENIED or "Permission denied" in why:
            fix = "use an account that may (usermod -aG libvirt USER, then log in anew), or root"
            raise Denied(what, why, fix) from error
        fix = "start libvirtd (systemctl start libvirtd), or name another: --connect URI"
        raise RingpassError(what, why, fix) from error


def lookup(connection: libvirt.virConnect, name: str) -> libvirt.virDomain:
    """Return the domain `name`. Raises NotFound, or RingpassError for all else."""
    with told(f"cannot find the domain {name}", name):
        return connection.lookupByName(name)


def configuration(domain: libvirt.virDomain) -> str:
    """Return the XML of a domain as it will be started next, with what is secret in it.

    Raises RingpassError.
    """
    with told(f"cannot read the domain {domain.name()}", domain.name()):
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
        text: str = domain.XMLDesc(flags)
    return text


@contextlib.contextmanager
def told(what: str, domain: str) -> Iterator[None]:
    """Turn errors of libvirt into those of `failure`."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise failure(what, error, domain) from error


def failure(what: str, error: libvirt.libvirtError, domain: str = "") -> RingpassError:
    """Return an error of libvirt as one of ours. `domain` is the one that it is about."""
    code, why = error.get_error_code(), message(error)
    if code == libvirt.VIR_ERR_NO_DOMAIN:
        return NotFound(
            what,
            f"libvirt knows no domain {domain}" if domain else why,
            "see `virsh list --all` for those that it knows",
        )
    if code in _DENIED:
        return Denied(what, why, "use an account that libvirt lets change domains, or root")
    if is_lost(error):
        fix = "see that libvirtd runs, and do it again: what is there already stays as it is"
        return RingpassError(what, f"the connection to libvirt was lost: {why}", fix)
    return RingpassError(what, why, "see the log of libvirtd, and of the domain's QEMU")


def is_lost(error: libvirt.libvirtError) -> bool:
    """Tell whether an error is of the connection, not of what was asked for."""
    code = error.get_error_code()
    if code in (libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_RPC):
        return True
    transport = error.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
    return transport and code in (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR)


def is_alive(connection: libvirt.virConnect) -> bool:
    """Tell whether a connection can be used, as far as is known."""
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def message(error: libvirt.libvirtError) -> str:
    """Return what libvirt says, in one line."""
    return " ".join((error.get_error_message() or str(error)).split())
