# SPDX-License-Identifier: BSD-2-Clause
"""The options of a request: decoded, checked, answered.

A request has each option at most once. What a request does not understand is told in the option's
status; a registration fails for it.
"""

import errno
import struct
from dataclasses import dataclass, field
from typing import TypeVar

from ringpass.errors import RingpassError
from ringpass.netmap import abi
from ringpass.netmap.abi import OptionHeader, OptionType

_FRAME = struct.Struct("<I4x")
_KNOWN = frozenset(OptionType)

B = TypeVar("B", bound=abi.Body)


@dataclass
class Option:
    """One option of a request; `status` is what the program will read in it."""

    header: OptionHeader
    body: bytes
    status: int = errno.EOPNOTSUPP

    @property
    def name(self) -> str:
        """How messages call it."""
        reqtype = self.header.reqtype
        return f"option {OptionType(reqtype).name if reqtype in _KNOWN else reqtype}"


@dataclass
class Options:
    """The options of one request, in its order."""

    each: list[Option] = field(default_factory=list)

    def take(self, kind: OptionType, body: type[B]) -> B | None:
        """Return the body of an option that the request understands, None if it is not there.

        The option counts as understood and accepted from now on; `refuse` takes that back.
        """
        option = self.get(kind)
        if option is None:
            return None
        option.status = 0
        return body.unpack(option.body)

    def get(self, kind: OptionType) -> Option | None:
        """Return the option `kind`, if it is there."""
        return next((o for o in self.each if o.header.reqtype == kind), None)

    def put(self, kind: OptionType, body: abi.Body) -> None:
        """Answer the option `kind` with `body`."""
        option = self.get(kind)
        assert option is not None
        option.body = body.pack()

    def refuse(self, kind: OptionType, number: int) -> None:
        """Give the option `kind` the status `number`."""
        option = self.get(kind)
        assert option is not None
        option.status = number

    def check_understood(self) -> None:
        """Raise RingpassError if there is an option that nobody took."""
        for option in self.each:
            if option.status == errno.EOPNOTSUPP:
                raise RingpassError(
                    f"{option.name} is refused",
                    "this request or this port does not support it",
                    "leave it out",
                    errno=errno.EOPNOTSUPP,
                )

    def encode(self, *, succeeded: bool) -> bytes:
        """Return the options for an answer: bodies only of those that were accepted."""
        out = bytearray()
        for option in self.each:
            header = option.header
            header.status = option.status
            data = header.pack() + (option.body if succeeded and not option.status else b"")
            out += _FRAME.pack(len(data)) + data
        return bytes(out)


def decode(data: bytes) -> Options:
    """Return the options in `data`: each with its length in front. Raises ValueError for garbage.

    Checks nothing but that each one is as long as it says; see `check`.
    """
    options = Options()
    at = 0
    while at < len(data):
        if len(data) - at < _FRAME.size:
            raise ValueError("an option's length is cut off")
        (length,) = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        if not OptionHeader.bytes() <= length <= len(data) - at:
            raise ValueError(f"an option of {length} bytes, {len(data) - at} are left")
        split = at + OptionHeader.bytes()
        header = OptionHeader.unpack(data[at:split])
        options.each.append(Option(header, data[split : at + length]))
        at += length
    return options


def check(options: Options, body_bytes: int) -> None:
    """Check what netmap checks when it copies options in. Raises RingpassError."""
    total = body_bytes
    for option in options.each:
        kind = option.header.reqtype
        if kind == 0:
            option.status = errno.EINVAL
            raise _bad(option, "there is no option of this number", errno.EINVAL)
        total += OptionHeader.bytes() + len(option.body)
        if total > abi.MAX_REQUEST_BYTES:
            why = f"body and options have more than {abi.MAX_REQUEST_BYTES} bytes"
            raise _bad(option, why, errno.EMSGSIZE)
        if kind not in _KNOWN:
            continue
        twins = [o for o in options.each if o.header.reqtype == kind]
        if len(twins) > 1:
            for twin in twins:
                twin.status = errno.EINVAL
            raise _bad(option, "it is there twice", errno.EINVAL)
        body = abi.OPTION_BODIES[OptionType(kind)]
        size = option.header.size - OptionHeader.bytes() if body is None else body.bytes()
        if len(option.body) != size:
            option.status = errno.EINVAL
            raise _bad(option, f"it has {len(option.body)} bytes, not {size}", errno.EINVAL)


def _bad(option: Option, why: str, number: int) -> RingpassError:
    fix = "see netmap(4) for the options of a request"
    return RingpassError(f"{option.name} is refused", why, fix, errno=number)
