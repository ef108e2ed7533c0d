# SPDX-License-Identifier: BSD-2-Clause
"""What a front end wants of its port, and how much of that the data plane has.

An attachment writes down what its front end described. While it holds the port, `settle` compares
what a ring should be with what it is, and starts or stops it in the data plane; so the order in
which a front end speaks matters little, and front ends do differ: QEMU enables rings before
anything else about them is known, and never again; User-mode Linux enables them last, and takes
their memory away after ENABLE(0) without GET_VRING_BASE; DPDK does either.

    a ring     NUM, BASE, ADDR, CALL, ENABLE          KICK, and NUM, ADDR, SET_FEATURES,
               are remembered in any state             a memory table are known
                    +---------+                              +---------+
        new ------> | STOPPED | ---------------------------> |  READY  |
                    +---------+ <--------------------------- +---------+
                       ^   GET_VRING_BASE, NUM, BASE,          |    ^
                       |   SET_STATUS(0), RESET_*   ENABLE(1), |    | ENABLE(0)
                       |                   or bit 30 not taken v    |
                       |                                     +---------+   known to the data plane
                       +------------------------------------ | WANTED  |   while the port is held
                                  as above, or the           +---------+
                                  session ends
"""

from collections.abc import Sequence
from typing import Protocol

from ringpass.dataplane import MemorySlot, VringConfig
from ringpass.errors import RingpassError
from ringpass.vhostuser.memory import Log, Region
from ringpass.vhostuser.messages import Feature
from ringpass.vhostuser.ring import Ring


class Plane(Protocol):
    """What a session asks of the data plane: `ringpass.dataplane.VhostPort`, and nothing more."""

    def broken(self) -> str | None: ...
    def repair(self) -> None: ...
    def set_features(self, features: int) -> None: ...
    def set_memory(self, slots: Sequence[MemorySlot], fds: Sequence[int]) -> None: ...
    def add_memory(self, slot: MemorySlot, fd: int) -> None: ...
    def remove_memory(self, slot: MemorySlot) -> None: ...
    def start_log(self, fd: int, offset: int, size: int, *, everything: bool) -> None: ...
    def stop_log(self) -> None: ...
    def start_ring(self, vring: int, config: VringConfig) -> None: ...
    def set_call(self, vring: int, call_fd: int) -> None: ...
    def runs(self, vring: int) -> bool: ...
    def stop_ring(self, vring: int) -> int: ...
    def announce(self, mac: bytes) -> None: ...


class Attachment:
    """One front end's features, memory, log and rings. `take_port` makes them real.

    Methods raise the data plane's RingpassError; then the session cannot go on.
    """

    def __init__(self, plane: Plane, rings: int) -> None:
        self.holds_port = False
        self.features: Feature | None = None
        self.rings = [Ring(index) for index in range(rings)]
        self._plane = plane
        self._memory: list[Region] = []
        self._log: Log | None = None
        self.logging = False
        """Whether the data plane marks what it writes."""
        self._unlogged = False
        """Whether a ring ran that should have been logged, but the log was still to come."""

    @property
    def memory(self) -> list[MemorySlot]:
        """The guest memory that the front end described."""
        return [region.slot for region in self._memory]

    @property
    def memory_fds(self) -> list[int]:
        """The files of `memory`, in its order. They stay the attachment's."""
        return [region.fd.fileno() for region in self._memory]

    @property
    def wants_port(self) -> bool:
        """Whether a ring runs, or would run if this one held the port."""
        return any(self._wanted(ring) for ring in self.rings)

    @property
    def usable(self) -> bool:
        """Whether the data plane takes changes: the port is held, and not broken."""
        return self.holds_port and self._plane.broken() is None

    def broken(self) -> str | None:
        """Return why the port was stopped while it was held, or None."""
        return self._plane.broken() if self.holds_port else None

    # The port

    def take_port(self) -> None:
        """Give the data plane all that is known, and start what should run."""
        self.holds_port = True
        if self.features is not None:
            self._plane.set_features(self.features)
        if self._memory:
            self._plane.set_memory(self.memory, self.memory_fds)
        # Whatever the rings write from the first moment on is logged.
        self._settle_log()
        self.settle_all()

    def leave_port(self) -> None:
        """Take everything from the data plane. A broken port is as good as new for the next one."""
        if not self.holds_port:
            return
        self.stop_all()
        self._stop_log()
        self._plane.set_memory([], [])
        if self._plane.broken() is not None:
            self._plane.repair()
        self.holds_port = False

    def repair(self) -> None:
        """Take the port back into service if it is held and broken, with the rings that it had."""
        if self.broken() is not None:
            self.stop_all()
            self._repair_port()
            self.settle_all()

    def close(self) -> None:
        """Close every descriptor. The port was left before."""
        for ring in self.rings:
            ring.forget_kick()
            ring.forget_call()
        self._forget_memory()
        self._forget_log()

    # What the front end describes

    def set_features(self, features: Feature) -> None:
        """Agree on `features`. Rings stop for a moment, unless it is but logging that changes."""
        before, self.features = self.features, features
        if before is None or (before ^ features) & ~Feature.LOG_ALL:
            self.stop_all()
            if self.holds_port:
                self._plane.set_features(features)
        self._settle_log()
        self.settle_all()

    def replace_memory(self, regions: list[Region]) -> None:
        """Make `regions` the whole memory; their files become the attachment's."""
        self._forget_memory()
        self._memory = regions
        if self.usable:
            self._plane.set_memory(self.memory, self.memory_fds)
        self._settle_in_memory()

    def add_memory(self, region: Region) -> None:
        """Add a region; its file becomes the attachment's."""
        self._memory.append(region)
        if self.usable:
            self._plane.add_memory(region.slot, region.fd.fileno())
        self._settle_in_memory()

    def remove_memory(self, slot: MemorySlot) -> None:
        """Remove the region with the addresses and the size of `slot`, if there is one."""
        for region in self._memory:
            if region.slot[:3] == slot[:3]:
                break
        else:
            return
        if self.usable:
            self._plane.remove_memory(region.slot)
        self._memory.remove(region)
        region.fd.close()
        self._settle_in_memory()

    def set_log(self, log: Log) -> None:
        """Let `log` be where writes are logged, now or later; its file becomes the attachment's."""
        self._forget_log(log)
        self._settle_log(changed=True)
        self.settle_all()

    def set_enabled(self, ring: Ring, *, enabled: bool) -> None:
        """Enable or disable a ring."""
        ring.enabled = enabled
        self._settle(ring)

    # What a ring should be, and what it is

    def restart(self, ring: Ring) -> None:
        """Start `ring` again where it stopped, if it should run."""
        self._stop(ring)
        self._settle(ring)

    def reconfigure(self, ring: Ring) -> None:
        """Stop `ring` until the next KICK, which follows everything that describes a ring."""
        self._stop(ring)
        ring.forget_kick()
        if not any(other.kicked for other in self.rings):
            # The device stopped. Its front end brings another log if it starts it again.
            self._stop_log()
            self._forget_log()

    def settle_all(self) -> None:
        """Make every ring what it should be."""
        for ring in self.rings:
            self._settle(ring)

    def stop_all(self) -> None:
        """Stop every ring."""
        for ring in self.rings:
            self._stop(ring)

    def _wanted(self, ring: Ring) -> bool:
        if self.features is None or not self._memory or ring.address is None:
            return False
        enabled = ring.enabled
        if enabled is None:
            enabled = Feature.PROTOCOL_FEATURES not in self.features
        return enabled and ring.kicked and ring.size > 0

    def _settle(self, ring: Ring) -> None:
        wanted = self._wanted(ring)
        if wanted and not ring.running and self.holds_port:
            self._start(ring)
        elif ring.running and not wanted:
            self._stop(ring)

    def _settle_in_memory(self) -> None:
        """Settle all rings after a change of memory, which stops those that it has no place for."""
        for ring in self.rings:
            if ring.running and not self._plane.runs(ring.index) and not self._plane.broken():
                self._stop(ring)
                ring.adrift = True
        self.settle_all()

    def _start(self, ring: Ring) -> None:
        assert ring.address is not None
        if not any(other.running for other in self.rings):
            # Nothing is left of what broke the port, if anything did: the front end starts anew.
            self._repair_port()
        config = VringConfig(
            size=ring.size,
            base=ring.base,
            desc=ring.address.desc,
            avail=ring.address.avail,
            used=ring.address.used,
            kick_fd=-1 if ring.kick is None else ring.kick.fileno(),
            call_fd=-1 if ring.call is None else ring.call.fileno(),
        )
        try:
            self._plane.start_ring(ring.index, config)
        except RingpassError:
            # No fault of this message: another ring broke the port, or memory comes in pieces.
            if ring.adrift or self._plane.broken():
                return
            raise
        ring.running, ring.adrift = True, False
        self._settle_log()

    def _stop(self, ring: Ring) -> None:
        if ring.running:
            ring.base = self._plane.stop_ring(ring.index)
            ring.running = False

    def _repair_port(self) -> None:
        """Repair the port if it is broken; no ring runs.

        It gets its memory and log anew, for the data plane forgot them: a front end breaks its port
        by truncating them, too.
        """
        if self._plane.broken() is not None:
            self._plane.repair()
            self._plane.set_memory(self.memory, self.memory_fds)
            self.logging = False
            self._settle_log()

    # The log of a guest that migrates

    def _settle_log(self, *, changed: bool = False) -> None:
        if not self.usable:
            return
        if self.features is None or Feature.LOG_ALL not in self.features:
            self._stop_log()
            self._unlogged = False
        elif self._log is None:
            # A device that starts while its guest migrates takes LOG_ALL first and brings its log
            # last. What is written meanwhile is found by marking everything.
            self._unlogged |= any(ring.running for ring in self.rings)
        elif changed or not self.logging:
            log, self.logging = self._log, True
            self._plane.start_log(log.fd.fileno(), log.offset, log.size, everything=self._unlogged)
            self._unlogged = False

    def _stop_log(self) -> None:
        if self.logging:
            self._plane.stop_log()
            self.logging = False

    def _forget_log(self, successor: Log | None = None) -> None:
        if self._log is not None:
            self._log.fd.close()
        self._log = successor

    def _forget_memory(self) -> None:
        for region in self._memory:
            region.fd.close()
        self._memory = []
