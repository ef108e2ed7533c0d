# SPDX-License-Identifier: BSD-2-Clause
"""What pktgen can be: each role has a step that moves a batch, and says what it waits for."""

import time
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ringpass.pktgen import frame
from ringpass.pktgen.check import Checker
from ringport import Port, Ring, abi
from ringport.batch import Batch, Mask

#: Bytes of a frame that a sender writes anew each time: all headers and the number.
_START = 64
#: Seconds after which a frame that has not come back is lost.
TIMEOUT_S = 1.0
#: Where each of the first 38 bytes goes when source and destination change places.
_TURNED = np.r_[6:12, 0:6, 12:26, 30:34, 26:30, 36:38, 34:36]


@dataclass
class Counts:
    """What a role has moved."""

    frames: int = 0
    bytes: int = 0
    batches: int = 0

    def add(self, frames: int, size: int) -> None:
        """Count one batch."""
        self.frames += frames
        self.bytes += size
        self.batches += 1


class Role(Protocol):
    """One thing to do with a port, step by step."""

    counts: Counts

    def step(self) -> bool:
        """Move what can be moved; return whether that was anything."""

    def wait(self, seconds: float) -> None:
        """Wait until there is something to move, for so many seconds at most."""

    @property
    def done(self) -> bool:
        """Whether all that was asked for is done."""


class Pace:
    """Lets so many frames pass a second; 0: any number."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._start = time.monotonic()

    def due(self, sent: int, most: int) -> int:
        """Return how many frames may follow the first `sent` ones now, at most `most`."""
        if not self._rate:
            return most
        return min(most, max(int((time.monotonic() - self._start) * self._rate) + 1 - sent, 0))

    def next_in(self, sent: int) -> float:
        """Return in how many seconds another one may pass."""
        if not self._rate:
            return 0.0
        return max(self._start + sent / self._rate - time.monotonic(), 0.0)


class Sender:
    """Sends frames as fast as they go, or at a rate; with `check` they are numbered from 0 on."""

    def __init__(
        self, port: Port, template: bytes, *, frames: int, burst: int, rate: int, check: bool
    ) -> None:
        self.counts = Counts()
        self._port = port
        self._frames = frames
        self._burst = burst
        self._pace = Pace(rate)
        self._check = check
        self._bytes = template
        self._template = np.frombuffer(template, np.uint8)
        #: Which buffers hold the whole frame: of these only the start is written again, since
        #: whoever gets frames without a copy may have changed it.
        self._written = [np.zeros(ring.num_bufs, np.bool_) for ring in port.tx]

    def step(self) -> bool:
        """Fill a burst of slots of each ring that has some, and sync."""
        before = self.counts.frames
        for ring, written in zip(self._port.tx, self._written, strict=True):
            left = self._frames - self.counts.frames if self._frames else self._burst
            count = self._pace.due(self.counts.frames, min(left, self._burst))
            if count and len(ring):
                sent = self._fill(ring, written, count)
                self.counts.add(sent, sent * len(self._bytes))
        self._port.txsync()
        return self.counts.frames > before

    def _fill(self, ring: Ring, written: Mask, count: int) -> int:
        if len(self._bytes) > ring.buf_size:
            return self._put(ring, count)
        batch = ring.batch(count)
        buf_idx = batch.buf_idx
        known = bool(written[buf_idx].all())
        batch.set_rows(self._template[:_START] if known else self._template)
        written[buf_idx] = True
        if self._check:
            first = self.counts.frames
            batch.set_field(frame.SEQUENCE_AT, np.arange(first, first + len(batch)), ">u8")
        batch.lengths, batch.flags = len(self._bytes), 0
        batch.advance()
        return len(batch)

    def _put(self, ring: Ring, count: int) -> int:
        """Send frames that are longer than a buffer, one by one."""
        data = bytearray(self._bytes)
        for sent in range(count):
            if self._check:
                at = frame.SEQUENCE_AT
                data[at : at + 8] = (self.counts.frames + sent).to_bytes(8)
            if not ring.put(data):
                return sent
        return count

    def wait(self, seconds: float) -> None:
        """Wait for room, or for the time of the next frame."""
        pause = self._pace.next_in(self.counts.frames)
        if pause:
            time.sleep(min(pause, seconds))
        else:
            self._port.wait_writable(seconds)

    @property
    def done(self) -> bool:
        """Whether all frames were sent."""
        return bool(self._frames) and self.counts.frames >= self._frames


class Receiver:
    """Takes all frames, and with `check` looks at their numbers."""

    def __init__(self, port: Port, *, frames: int, burst: int, check: bool) -> None:
        self.counts = Counts()
        self.checker = Checker() if check else None
        self._port = port
        self._frames = frames
        self._burst = burst

    def step(self) -> bool:
        """Take a burst of slots of each ring."""
        self._port.rxsync()
        got = False
        for ring in (*self._port.rx, *self._port.host_rx):
            batch = ring.batch(self._burst)
            if not len(batch):
                continue
            got = True
            ends = int((batch.flags & abi.NS_MOREFRAG == 0).sum())
            self.counts.add(ends, int(batch.lengths.sum()))
            if self.checker:
                self.checker.look(batch)
            batch.advance()
        return got

    def wait(self, seconds: float) -> None:
        """Wait for a frame."""
        self._port.wait_readable(seconds)

    @property
    def done(self) -> bool:
        """Whether as many frames came as were asked for."""
        return bool(self._frames) and self.counts.frames >= self._frames


class Ponger:
    """Sends every frame back to where it came from, without a copy."""

    def __init__(self, port: Port, *, frames: int, burst: int) -> None:
        self.counts = Counts()
        self._port = port
        self._frames = frames
        self._burst = burst

    def step(self) -> bool:
        """Turn a burst of frames around."""
        self._port.rxsync()
        rx, tx = self._port.rx[0], self._port.tx[0]
        batch = rx.batch(min(self._burst, len(tx)))
        if len(batch):
            size = int(batch.lengths.sum())
            turn_around(batch)
            self.counts.add(batch.move(tx), size)
        self._port.txsync()
        return len(batch) > 0

    def wait(self, seconds: float) -> None:
        """Wait for a frame, or for room for the answer to one."""
        if len(self._port.rx[0]):
            self._port.wait_writable(seconds)
        else:
            self._port.wait_readable(seconds)

    @property
    def done(self) -> bool:
        """Whether as many frames were answered as were asked for."""
        return bool(self._frames) and self.counts.frames >= self._frames


def turn_around(batch: Batch) -> None:
    """Swap source and destination in the frames of `batch`: MAC, and IPv4 and UDP where they are.

    The checksums stay right: they are sums, whatever the order.
    """
    head = batch.rows(0, 38)
    swapped = head[:, _TURNED]
    is_udp = (head[:, 12:15] == (0x08, 0x00, 0x45)).all(axis=1) & (head[:, 23] == 17)
    swapped[~is_udp, 26:] = head[~is_udp, 26:]
    batch.set_rows(swapped)


@dataclass
class Pinger:
    """Sends a numbered frame, waits for its return, and notes how long that took."""

    port: Port
    template: bytes
    frames: int
    rate: int
    counts: Counts = field(default_factory=Counts)
    rtt_ns: list[int] = field(default_factory=list)
    lost: int = 0

    def __post_init__(self) -> None:
        self._pace = Pace(self.rate)
        self._sent = 0
        self._at_ns = 0
        self._waiting = False

    def step(self) -> bool:
        """Send the next frame if the last one is back, or take what came back."""
        if self._waiting:
            self.port.rxsync()
            return self._take()
        if not self._pace.due(self._sent, 1):
            return False
        at = frame.SEQUENCE_AT
        data = self.template[:at] + self._sent.to_bytes(8) + self.template[at + 8 :]
        if not self.port.tx[0].put(data):
            self.port.txsync()
            return False
        self._sent += 1
        self._waiting = True
        self._at_ns = time.perf_counter_ns()
        self.port.txsync()
        return True

    def _take(self) -> bool:
        at = frame.SEQUENCE_AT
        wanted = (self._sent - 1).to_bytes(8)
        while (data := self.port.rx[0].get()) is not None:
            if data[frame.MAGIC_AT : at + 8] == self.template[frame.MAGIC_AT : at] + wanted:
                self.rtt_ns.append(time.perf_counter_ns() - self._at_ns)
                self.counts.add(1, len(data))
                self._waiting = False
        if self._waiting and time.perf_counter_ns() - self._at_ns > TIMEOUT_S * 1e9:
            self.lost += 1
            self._waiting = False
        return not self._waiting

    def wait(self, seconds: float) -> None:
        """Wait for the answer, or for the time of the next question."""
        if self._waiting:
            self.port.wait_readable(min(seconds, TIMEOUT_S))
        else:
            time.sleep(min(self._pace.next_in(self._sent), seconds))

    @property
    def done(self) -> bool:
        """Whether all frames were sent, and came back or did not."""
        return bool(self.frames) and self._sent >= self.frames and not self._waiting
