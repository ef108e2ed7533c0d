# SPDX-License-Identifier: BSD-2-Clause
"""One open of the device in bytes: requests of csrc/abi/rp_attach.h, and their answers.

How the bytes come and go is the transport's: a socket of processes, the mailbox of a guest.
"""

import errno
import logging
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from ringpass.errors import RingpassError
from ringpass.netmap import abi, legacy
from ringpass.netmap.attach import ATTACHMENT, Attachment
from ringpass.netmap.call import Device
from ringpass.netmap.device import Open
from ringpass.netmap.peer import Peer
from ringpass.netmap.port import Registration

log = logging.getLogger(__name__)

MAGIC = 0x706E7072
VERSION = 1

REQUEST = struct.Struct("<IHHII")
ANSWER = struct.Struct("<IiII240s")
_LENGTHS = struct.Struct("<II")

#: Says what is registered, in the transport's terms. Raises RingpassError.
Describe = Callable[[Registration], Attachment]


class Operation(IntEnum):
    """`enum rp_nm_op`: what a request asks for."""

    CTRL = 1
    GINFO = 2
    REGIF = 3
    CONFIG = 4
    DESCRIBE = 5
    CHECK = 6


class Answer(NamedTuple):
    """What is sent: bytes, and descriptors that stay ours."""

    data: bytes
    fds: list[int]

    @property
    def error(self) -> int:
        """Zero, or the errno that it tells."""
        return int(ANSWER.unpack_from(self.data)[1])

    @property
    def text(self) -> str:
        """Why it failed, in words."""
        return abi.text(ANSWER.unpack_from(self.data)[4])

    @property
    def rings(self) -> bytes:
        """The rings of its attachment, each a `struct rp_nm_ring`."""
        attached = ANSWER.unpack_from(self.data)[3]
        return self.data[len(self.data) - attached + ATTACHMENT.size :] if attached else b""


class Session:
    """One open: requests in bytes, answers in bytes."""

    def __init__(
        self, device: Device, peer: Peer, describe: Describe, nifp_offset: int = 0
    ) -> None:
        """`nifp_offset` is as in `Open`."""
        self.peer = peer
        self._open = Open(device, peer, nifp_offset)
        self._describe = describe

    @property
    def registration(self) -> Registration | None:
        """What is registered here."""
        return self._open.registration

    def close(self) -> None:
        """End the open."""
        registration = self._open.registration
        self._open.close()
        if registration is not None:
            log.info("event=closed port=%s pid=%d", registration.port.name, self.peer.pid)

    def answer(self, message: bytes, *, whole: bool = True) -> Answer:
        """Do what `message` asks for; return the answer. `whole`: nothing of it was cut off."""
        try:
            return self._dispatch(*_split(message, whole=whole))
        except RingpassError as error:
            return refused(error)
        except Exception as error:
            log.exception("event=netmap-crashed pid=%d", self.peer.pid)
            failed = RingpassError("the backend failed", f"{type(error).__name__}: {error}")
            return refused(failed)

    def _dispatch(self, op: int, payload: bytes) -> Answer:
        match op:
            case Operation.CTRL:
                return self._control(payload)
            case Operation.GINFO:
                return done(legacy.info(self._open, _sized(payload, "nmreq")))
            case Operation.REGIF:
                return self._legacy_register(payload)
            case Operation.CONFIG:
                raise RingpassError(
                    "NIOCCONFIG is refused",
                    "the switches have no settings of their own",
                    "use ringpass apply",
                    errno=errno.EINVAL,
                )
            case Operation.DESCRIBE:
                return done(b"", self._describe(self._registered()))
            case Operation.CHECK:
                self._open.check()
                return done(b"")
            case _:
                raise _garbage(f"there is no operation {op}")

    def _control(self, payload: bytes) -> Answer:
        head = abi.Header.bytes()
        if len(payload) < head + _LENGTHS.size:
            raise _garbage(f"a control request of {len(payload)} bytes")
        body_bytes, options_bytes = _LENGTHS.unpack_from(payload, head)
        start = head + _LENGTHS.size
        if start + body_bytes + options_bytes != len(payload):
            raise _garbage(f"{len(payload) - start} bytes for {body_bytes} and {options_bytes}")
        before = self._open.registration
        middle = start + body_bytes
        try:
            reply = self._open.control(payload[:head], payload[start:middle], payload[middle:])
        except ValueError as error:
            raise _garbage(str(error)) from error
        lengths = _LENGTHS.pack(len(reply.body), len(reply.options))
        data = reply.header.pack() + lengths + reply.body + reply.options
        if reply.error is not None:
            return refused(reply.error, data)
        return done(data, self._new_attachment(before))

    def _legacy_register(self, payload: bytes) -> Answer:
        before = self._open.registration
        data = legacy.register(self._open, _sized(payload, "nmreq"))
        return done(data, self._new_attachment(before))

    def _new_attachment(self, before: Registration | None) -> Attachment | None:
        now = self._open.registration
        if now is before or now is None:
            return None
        try:
            described = self._describe(now)
        except BaseException:
            self._open.close()
            raise
        log.info("event=opened port=%s pid=%d uid=%d", now.port.name, self.peer.pid, self.peer.uid)
        return described

    def _registered(self) -> Registration:
        if self._open.registration is None:
            raise RingpassError(
                "there is nothing to describe",
                "no rings are registered here",
                "register some first",
                errno=errno.ENXIO,
            )
        return self._open.registration


def _split(message: bytes, *, whole: bool) -> tuple[int, bytes]:
    """Return the operation and the payload of a request. Raises RingpassError."""
    if not whole or len(message) < REQUEST.size:
        raise _garbage("it is cut off")
    magic, version, op, size, _pad = REQUEST.unpack_from(message)
    payload = message[REQUEST.size :]
    if magic != MAGIC:
        raise _garbage("it does not begin as a request does")
    if version != VERSION:
        raise RingpassError(
            "a request is refused",
            f"it has version {version}, the backend {VERSION}",
            "use the library that came with the backend",
            errno=errno.EPROTO,
        )
    if size != len(payload):
        raise _garbage(f"its payload has {len(payload)} bytes, not {size}")
    return op, payload


def _sized(payload: bytes, what: str) -> bytes:
    size = abi.LegacyRequest.bytes()
    if len(payload) != size:
        raise _garbage(f"struct {what} has {size} bytes, not {len(payload)}")
    return payload


def registering(name: str, request: abi.Register) -> bytes:
    """Return the message of a request that registers rings of the port `name`."""
    header = abi.Header(reqtype=abi.Request.REGISTER, name=abi.chars(name), body=1)
    body = request.pack()
    payload = header.pack() + _LENGTHS.pack(len(body), 0) + body
    return REQUEST.pack(MAGIC, VERSION, Operation.CTRL, len(payload), 0) + payload


def done(data: bytes, attachment: Attachment | None = None) -> Answer:
    """Return the answer to a request that was done."""
    attached = attachment or Attachment(b"", [])
    head = ANSWER.pack(MAGIC, 0, len(data), len(attached.data), b"")
    return Answer(head + data + attached.data, attached.fds)


def refused(error: RingpassError, data: bytes = b"") -> Answer:
    """Return the answer to a request that failed; a program finds the fix behind `; fix: `."""
    text = f"{error.what}: {error.why}" + (f"; fix: {error.fix}" if error.fix else "")
    # Cut at a character, and with a zero at the end.
    kept = text.encode(errors="replace")[:239].decode(errors="ignore").encode()
    return Answer(ANSWER.pack(MAGIC, error.errno or errno.EIO, len(data), 0, kept) + data, [])


def _garbage(why: str) -> RingpassError:
    fix = "use the library that came with the backend"
    return RingpassError("a request is not understood", why, fix, errno=errno.EPROTO)
