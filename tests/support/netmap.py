# SPDX-License-Identifier: BSD-2-Clause
"""A program at the device of netmap: requests in bytes, as the library sends them."""

import array
import os
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from ringpass.netmap import abi, attach
from ringpass.netmap.abi import Body, Header, LegacyRequest, OptionHeader, Register, Request
from ringpass.netmap.session import ANSWER, MAGIC, REQUEST, VERSION, Operation
from tests.support.wait import PATIENCE_S

LENGTHS = struct.Struct("<II")
OPTION = struct.Struct("<I4x")


class Ring(NamedTuple):
    """One ring of an attachment."""

    ring_offset: int
    csb: int
    peer_csb: int
    dir: int
    place: int
    flags: int
    kick: int
    call: int
    peer_call: int
    pad: int


@dataclass
class Answer:
    """What came back. `close` it, for the descriptors."""

    error: int
    text: str
    payload: bytes
    attachment: bytes
    fds: list[int] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptors that came along."""
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()

    @property
    def header(self) -> Header:
        """The header of a control request's answer."""
        return Header.unpack(self.payload[: Header.bytes()])

    @property
    def body(self) -> bytes:
        """The body of a control request's answer."""
        at = Header.bytes() + LENGTHS.size
        size, _ = LENGTHS.unpack_from(self.payload, Header.bytes())
        return self.payload[at : at + size]

    @property
    def options(self) -> list[tuple[OptionHeader, bytes]]:
        """The options of a control request's answer."""
        size, _ = LENGTHS.unpack_from(self.payload, Header.bytes())
        at = Header.bytes() + LENGTHS.size + size
        found = []
        while at < len(self.payload):
            (length,) = OPTION.unpack_from(self.payload, at)
            data = self.payload[at + OPTION.size : at + OPTION.size + length]
            split = OptionHeader.bytes()
            found.append((OptionHeader.unpack(data[:split]), data[split:]))
            at += OPTION.size + length
        return found

    @property
    def rings(self) -> list[Ring]:
        """The rings of the attachment."""
        at = attach.ATTACHMENT.size
        return [Ring(*row) for row in attach.RING.iter_unpack(self.attachment[at:])]

    @property
    def registered(self) -> Register:
        """The body of an answer to REGISTER, which succeeded."""
        assert self.error == 0, self.text
        return Register.unpack(self.body)


def option(kind: int, body: bytes = b"", size: int = 0) -> bytes:
    """Return an option as a request has it."""
    data = OptionHeader(reqtype=kind, size=size).pack() + body
    return OPTION.pack(len(data)) + data


def control(
    kind: int, name: str | bytes, body: Body | bytes | None = None, options: bytes = b""
) -> bytes:
    """Return the payload of a control request."""
    raw = body.pack() if isinstance(body, Body) else body or b""
    named = name if isinstance(name, bytes) else abi.chars(name)
    header = Header(
        reqtype=kind, name=named, body=int(body is not None), options=int(bool(options))
    )
    return header.pack() + LENGTHS.pack(len(raw), len(options)) + raw + options


def message(op: int, payload: bytes) -> bytes:
    """Return a whole request."""
    return REQUEST.pack(MAGIC, VERSION, op, len(payload), 0) + payload


def parse(data: bytes, fds: list[int] | None = None) -> Answer:
    """Return the answer in `data`."""
    magic, error, size, attached, text = ANSWER.unpack_from(data)
    assert magic == MAGIC
    at = ANSWER.size
    assert len(data) == at + size + attached
    return Answer(
        error, abi.text(text), data[at : at + size], data[at + size :], [] if fds is None else fds
    )


class Program:
    """One open of the device at `path`. A context manager."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(os.fspath(path))
        self.socket.settimeout(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close this process's copy of the open."""
        self.socket.close()

    def send(self, data: bytes, fds: list[int]) -> None:
        """Send any bytes with any descriptors."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([data], rights)

    def ask(self, data: bytes) -> Answer:
        """Return the answer to any bytes."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                self.send(data, [theirs.fileno()])
            ours.settimeout(PATIENCE_S)
            return parse(*receive(ours))

    def control(
        self, kind: int, name: str, body: Body | bytes | None = None, options: bytes = b""
    ) -> Answer:
        """Do an ioctl(NIOCCTRL)."""
        return self.ask(message(Operation.CTRL, control(kind, name, body, options)))

    def register(self, name: str, options: bytes = b"", **fields: int) -> Answer:
        """Register rings; all of them unless `mode` says otherwise."""
        body = Register(**{"mode": 1, **fields})
        return self.control(Request.REGISTER, name, body, options)

    def legacy(self, name: str, op: Operation = Operation.REGIF, **fields: int) -> Answer:
        """Do an ioctl with the older `struct nmreq`."""
        return self.ask(message(op, LegacyRequest(abi.chars(name), **fields).pack()))


def receive(connected: socket.socket) -> tuple[bytes, list[int]]:
    """Return one message with its descriptors."""
    data, controls, _, _ = connected.recvmsg(
        65536, socket.CMSG_SPACE(253 * 4), socket.MSG_CMSG_CLOEXEC
    )
    fds = array.array("i")
    for _, _, rights in controls:
        fds.frombytes(rights)
    return data, list(fds)
