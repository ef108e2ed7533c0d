# SPDX-License-Identifier: BSD-2-Clause
"""Following what libvirt tells of its domains, in a thread that may wait for it.

libvirt has one event loop a process, and calls of it may take long: nobody else waits for them.
"""

import contextlib
import select
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import libvirt

from ringpass.errors import NotFound, RingpassError
from ringpass.libvirt import connection as connections
from ringpass.libvirt.domains import Domain, read

#: Seconds until a connection is tried again: at first, and at most.
RETRY_S, RETRY_MAX_S = 1.0, 30.0

_STARTED: Mapping[int, str] = {
    libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED: "started",
    libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED: "migrated here",
    libvirt.VIR_DOMAIN_EVENT_STARTED_RESTORED: "restored",
    libvirt.VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT: "started from a snapshot",
    libvirt.VIR_DOMAIN_EVENT_STARTED_WAKEUP: "woke up",
}
_STOPPED: Mapping[int, str] = {
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: "shut down",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: "destroyed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED: "migrated away",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED: "saved",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: "failed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT: "gone back to a snapshot",
}
_OTHERS: Mapping[int, str] = {
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: "suspended",
    libvirt.VIR_DOMAIN_EVENT_RESUMED: "resumed",
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: "shutting down",
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: "suspended",
    libvirt.VIR_DOMAIN_EVENT_CRASHED: "crashed",
}


class Sink(Protocol):
    """Who is told. Each call is made in the thread of the `Follower`."""

    def connected(self, domains: list[Domain]) -> None:
        """A connection is there; these domains run."""

    def lost(self, why: str) -> None:
        """There is no connection; it is tried again. What was said before may be so no more."""

    def changed(self, domain: Domain, what: str) -> None:
        """A domain that runs is as this, because of `what`."""

    def gone(self, uuid: str, name: str, what: str) -> None:
        """A domain runs no more, because of `what`."""


class Follower:
    """Tells a sink of the running domains of one libvirt, until the eventfd `stop` is written.

    There may be one at a time in a process, for the event loop is one thread's.
    """

    def __init__(self, uri: str, sink: Sink, stop: int) -> None:
        self._uri = uri
        self._sink = sink
        self._stop = stop
        self._closed = ""
        self._news: list[tuple[str, str, str, bool]] = []
        """uuid, name, what happened, whether it stopped by that."""

    def run(self) -> None:
        """Connect, tell what happens, connect again."""
        connections.register_loop()
        watch = libvirt.virEventAddHandle(
            self._stop, libvirt.VIR_EVENT_HANDLE_READABLE, lambda *_: None, None
        )
        delay = RETRY_S
        while not self._stopping():
            try:
                with contextlib.ExitStack() as undo:
                    connection = connections.connect_at_leisure(self._uri)
                    undo.callback(_quietly, connection.close)
                    self._subscribe(connection, undo)
                    self._sink.connected(_running(connection))
                    delay = RETRY_S
                    self._follow(connection)
            except (RingpassError, libvirt.libvirtError) as error:
                self._closed = error.why if isinstance(error, RingpassError) else str(error)
            if not self._stopping():
                self._sink.lost(self._closed)
                self._stopping(delay)
                delay = min(2 * delay, RETRY_MAX_S)
        libvirt.virEventRemoveHandle(watch)

    def _stopping(self, wait_s: float = 0.0) -> bool:
        """Tell whether to stop, after a wait for that."""
        poll = select.poll()  # a daemon has more descriptors than select() can name
        poll.register(self._stop, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))

    def _subscribe(self, connection: libvirt.virConnect, undo: contextlib.ExitStack) -> None:
        """Have all that concerns ports told, before anything is read: nothing is missed.

        What is subscribed to holds the connection, with its socket, until that is undone.
        """
        self._closed = ""
        self._news.clear()
        with contextlib.suppress(libvirt.libvirtError):  # a driver in this process has none
            connection.setKeepAlive(connections.KEEPALIVE_S, connections.KEEPALIVE_COUNT)
        connection.registerCloseCallback(self._on_close, None)
        undo.callback(_quietly, connection.unregisterCloseCallback)
        for number, callback in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._on_reboot),
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, self._on_device_added),
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self._on_device_removed),
        ):
            token = connection.domainEventRegisterAny(None, number, callback, None)
            undo.callback(_quietly, connection.domainEventDeregisterAny, token)

    def _follow(self, connection: libvirt.virConnect) -> None:
        """Tell what happens until the connection ends."""
        while not self._closed and not self._stopping():
            libvirt.virEventRunDefaultImpl()
            news, self._news = self._news, []
            for uuid, name, what, stopped in news:
                if stopped:
                    self._sink.gone(uuid, name, what)
                else:
                    self._look(connection, uuid, name, what)

    def _look(self, connection: libvirt.virConnect, uuid: str, name: str, what: str) -> None:
        """Tell how a domain is now. One that has gone meanwhile is told of by an event to come."""
        try:
            with connections.told(f"cannot find the domain {name}", name):
                domain = read(connection.lookupByUUIDString(uuid))
        except NotFound:
            return
        if domain.active:
            self._sink.changed(domain, what)

    def _on_lifecycle(
        self, _c: Any, domain: libvirt.virDomain, event: int, detail: int, _o: Any
    ) -> None:
        if event == libvirt.VIR_DOMAIN_EVENT_STARTED:
            self._note(domain, _STARTED.get(detail, "started"))
        elif event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
            self._note(domain, _STOPPED.get(detail, "stopped"), stopped=True)
        elif event in _OTHERS:
            self._note(domain, _OTHERS[event])

    def _on_reboot(self, _c: Any, domain: libvirt.virDomain, _o: Any) -> None:
        self._note(domain, "rebooted")

    def _on_device_added(self, _c: Any, domain: libvirt.virDomain, alias: str, _o: Any) -> None:
        self._note(domain, f"got device {alias}")

    def _on_device_removed(self, _c: Any, domain: libvirt.virDomain, alias: str, _o: Any) -> None:
        self._note(domain, f"lost device {alias}")

    def _on_close(self, _c: Any, reason: int, _o: Any) -> None:
        self._closed = {
            libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "libvirtd ended the connection",
            libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "libvirtd gave no sign of life",
        }.get(reason, "the connection to libvirtd failed")

    def _note(self, domain: libvirt.virDomain, what: str, *, stopped: bool = False) -> None:
        self._news.append((domain.UUIDString(), domain.name(), what, stopped))


def _quietly(call: Callable[..., object], *arguments: object) -> None:
    """Call what may fail because the connection has."""
    with contextlib.suppress(libvirt.libvirtError):
        call(*arguments)


def _running(connection: libvirt.virConnect) -> list[Domain]:
    """Return the domains that run."""
    found = []
    for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        with contextlib.suppress(NotFound):
            found.append(read(domain))
    return [domain for domain in found if domain.active]
