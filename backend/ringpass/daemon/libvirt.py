# SPDX-License-Identifier: BSD-2-Clause
"""Which domains of libvirt have which ports, as the daemon hears it.

A thread follows libvirt, and is the only one that waits for it. What it hears is kept here, in the
event loop's thread, where those who ask find it at once.
"""

import asyncio
import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ringpass.errors import RingpassError
from ringpass.libvirt.sockets import port_key
from ringpass.observe.status import DomainStatus, LibvirtStatus

if TYPE_CHECKING:
    from ringpass.libvirt.domains import Domain

log = logging.getLogger(__name__)


class Domains:
    """What is known of domains. All of it happens in the event loop's thread."""

    def __init__(self) -> None:
        self.uri: str | None = None
        self._thread: _Thread | None = None
        """The last one that was started, which may have been told to stop."""
        self._connected = False
        self._why = ""
        self._since = 0.0
        self._domains: dict[str, tuple[Domain, DomainStatus]] = {}
        self._ports: dict[str, DomainStatus] = {}
        """Of the sockets that domains have, as `port_key` has them."""

    def follow(self, uri: str | None) -> None:
        """Follow the libvirt at `uri`, None for none, and not the one that was before."""
        self.close()
        self.uri = uri
        if uri is not None:
            self._note_lost("it is being connected to")
            ear = _Ear(asyncio.get_running_loop(), self)
            self._thread = _Thread(uri, ear, before=self._thread)
            self._thread.start()

    def close(self) -> None:
        """Follow no libvirt any more."""
        if self.uri is not None and self._thread is not None:
            self._thread.stop()
        self.uri = None
        self._domains.clear()
        self._index()

    def of(self, path: str) -> DomainStatus | None:
        """Return the domain that has the port with the socket `path`."""
        return self._ports.get(port_key(path)) if self._ports else None

    def status(self) -> LibvirtStatus | None:
        """Return how it is with libvirt; None if it is not followed."""
        if self.uri is None:
            return None
        return LibvirtStatus(self.uri, self._connected, self._why, self._since, len(self._domains))

    def connected(self, domains: "list[Domain]") -> None:
        """Take what is running now for all that there is."""
        log.info("event=libvirt-connected uri=%s domains=%d", self.uri, len(domains))
        self._connected, self._why, self._since = True, "", time.time()
        found = {domain.uuid: domain for domain in domains}
        for uuid in self._domains.keys() - found.keys():
            self.gone(uuid, self._domains[uuid][0].name, "not there any more")
        for domain in found.values():
            known = self._domains.get(domain.uuid)
            if known is None or known[0] != domain:
                self.changed(domain, "found")

    def lost(self, why: str) -> None:
        """Remember that libvirt does not answer. Its domains go on without it."""
        if self._connected or why != self._why:
            log.warning("event=libvirt-lost uri=%s why=%r", self.uri, why)
            self._note_lost(why)

    def changed(self, domain: "Domain", what: str) -> None:
        """Remember how a domain is now."""
        status = DomainStatus(domain.name, domain.uuid, domain.state, what, time.time())
        self._domains[domain.uuid] = domain, status
        before = self._ports
        self._index()
        self._tell(before, domain.uuid, what)

    def gone(self, uuid: str, name: str, what: str) -> None:
        """Forget a domain: its ports are free."""
        if self._domains.pop(uuid, None) is not None:
            before = self._ports
            self._index()
            self._tell(before, uuid, what)
        log.debug("event=domain-gone domain=%s what=%r", name, what)

    def _index(self) -> None:
        self._ports = {
            port_key(card.path): status
            for domain, status in self._domains.values()
            for card in domain.cards
        }

    def _tell(self, before: dict[str, DomainStatus], uuid: str, what: str) -> None:
        """Log which sockets a domain has got and lost."""
        had = {path: status.name for path, status in before.items() if status.uuid == uuid}
        has = {path: status.name for path, status in self._ports.items() if status.uuid == uuid}
        for path in has.keys() - had.keys():
            log.info("event=domain-has-port domain=%s socket=%s what=%r", has[path], path, what)
        for path in had.keys() - has.keys():
            log.info("event=domain-left-port domain=%s socket=%s what=%r", had[path], path, what)

    def _note_lost(self, why: str) -> None:
        self._connected, self._why, self._since = False, why, time.time()


class _Thread(threading.Thread):
    """Follows libvirt. It may stand still for as long as that does, so nobody waits for its end."""

    def __init__(self, uri: str, ear: "_Ear", before: threading.Thread | None) -> None:
        super().__init__(name="libvirt", daemon=True)
        self._uri = uri
        self._ear = ear
        self._before = before
        self._stop_event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def stop(self) -> None:
        """Let it end soon. To be called once."""
        self._ear.cover()
        os.eventfd_write(self._stop_event, 1)

    def run(self) -> None:
        if self._before is not None:
            self._before.join()
            self._before = None
        try:
            # Loads libvirt's library, which takes a while.
            from ringpass.libvirt.events import Follower

            Follower(self._uri, self._ear, self._stop_event).run()
        except RingpassError as error:
            self._ear.lost(f"{error.why}; {error.fix}")
        except Exception as error:
            log.exception("event=libvirt-thread-failed")
            self._ear.lost(f"the thread that follows it failed: {error!r}; the log has more")
        stopped = select.poll()
        stopped.register(self._stop_event, select.POLLIN)
        stopped.poll()
        os.close(self._stop_event)


class _Ear:
    """Carries what the thread hears to the event loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, domains: Domains) -> None:
        self._loop = loop
        self._domains = domains
        self._covered = False

    def cover(self) -> None:
        """Let nothing through any more, not even what is on its way."""
        self._covered = True

    def connected(self, domains: "list[Domain]") -> None:
        self._carry(self._domains.connected, domains)

    def lost(self, why: str) -> None:
        self._carry(self._domains.lost, why)

    def changed(self, domain: "Domain", what: str) -> None:
        self._carry(self._domains.changed, domain, what)

    def gone(self, uuid: str, name: str, what: str) -> None:
        self._carry(self._domains.gone, uuid, name, what)

    def _carry(self, call: Callable[..., None], *facts: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(self._hand_over, call, facts)

    def _hand_over(self, call: Callable[..., None], facts: tuple[object, ...]) -> None:
        if not self._covered:
            call(*facts)
