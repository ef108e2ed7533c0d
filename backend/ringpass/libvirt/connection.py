# SPDX-License-Identifier: BSD-2-Clause
"""Connections to libvirt, and its errors in our words.

Importing this loads libvirt's library, which takes a while: who may do without does it late.
"""

import contextlib
import functools
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from urllib.parse import urlsplit

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

#: Seconds between signs of life, and how many may be missed; then a connection is given up. The
#: first are those of who follows libvirt, the others of a command that somebody waits for.
KEEPALIVE_S, KEEPALIVE_COUNT = 5, 3
COMMAND_KEEPALIVE_S, COMMAND_KEEPALIVE_COUNT = 3, 2

#: Seconds that a libvirtd has to take a command's connection: here, and elsewhere, where ssh may
#: have to ask for a password.
OPEN_S, REMOTE_OPEN_S = 10.0, 60.0

# What fails is told by exceptions; the library would print it to standard error as well.
libvirt.registerErrorHandler(lambda *_: None, None)

_DENIED = (
    libvirt.VIR_ERR_AUTH_FAILED,
    libvirt.VIR_ERR_AUTH_CANCELLED,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE,
    libvirt.VIR_ERR_ACCESS_DENIED,
    libvirt.VIR_ERR_OPERATION_DENIED,
)

_UNANSWERED_FIX = (
    "see what it waits for: systemctl status libvirtd; domains outlive its restart: "
    "systemctl restart libvirtd"
)


def connect(uri: str | None = None) -> libvirt.virConnect:
    """Return a connection that may change domains; to the system's libvirtd if `uri` is None.

    Neither this nor a call of the connection outlasts a libvirtd that has stopped to answer by more
    than some seconds. Raises RingpassError: nobody answers, or does not let us.
    """
    uri = uri or SYSTEM
    register_loop()
    limit = OPEN_S if urlsplit(uri).hostname is None else REMOTE_OPEN_S
    opened: Future[libvirt.virConnect] = Future()

    def opening() -> None:
        try:
            opened.set_result(connect_at_leisure(uri))
        except Exception as error:
            opened.set_exception(error)

    # libvirt has no limit of its own for this. A thread that is left behind ends with the process.
    threading.Thread(target=opening, name="libvirt-open", daemon=True).start()
    try:
        connection = opened.result(limit)
    except TimeoutError:
        why = f"libvirtd does not answer: it has not taken the connection within {limit:g} s"
        raise RingpassError(f"cannot connect to libvirt at {uri}", why, _UNANSWERED_FIX) from None
    with contextlib.suppress(libvirt.libvirtError):  # a driver in this process has none
        connection.setKeepAlive(COMMAND_KEEPALIVE_S, COMMAND_KEEPALIVE_COUNT)
        _run_loop()
    return connection


def connect_at_leisure(uri: str) -> libvirt.virConnect:
    """Return a connection as `connect` does, however long that and its calls take."""
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


@functools.cache
def register_loop() -> None:
    """Make libvirt's own event loop that of this process, once and for all.

    Only connections that are made later have signs of life.
    """
    libvirt.virEventRegisterDefaultImpl()


@functools.cache
def _run_loop() -> None:
    """Run the event loop from now on: it is what looks for signs of life.

    It is one thread's: whoever calls `connect` has no other.
    """

    def run() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=run, name="libvirt-loop", daemon=True).start()


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
    if "keepalive timeout" in why:
        gave_up = "libvirtd does not answer, and may yet do what it was asked for"
        return RingpassError(what, f"{gave_up}: {why}", _UNANSWERED_FIX)
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
