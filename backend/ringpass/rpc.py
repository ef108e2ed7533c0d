# SPDX-License-Identifier: BSD-2-Clause
"""The language of the control socket: JSON-RPC 2.0, one object a line.

An operation that fails for a reason that the user can be told answers with the code
`APPLICATION - exit code` and a `data` object that has `what`, `why`, `fix` and `exit_code`.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ringpass.errors import (
    BrokenPort,
    ConfigError,
    DaemonUnreachable,
    Denied,
    ExitCode,
    NotFound,
    RingpassError,
)

#: Bytes of the longest line, in either direction.
MAX_LINE = 4 << 20

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
APPLICATION = -32000


class Request(Struct, omit_defaults=True):
    """A call; without `id` nobody waits for its answer."""

    method: str
    params: dict[str, Any] = {}
    id: int | str | UnsetType | None = UNSET
    jsonrpc: str = "2.0"


class Failure(Struct, omit_defaults=True):
    """Why a call failed."""

    code: int
    message: str
    data: dict[str, Any] | None = None


class Response(Struct):
    """The answer to a call: `result` or `error`."""

    id: int | str | None = None
    result: Any = UNSET
    error: Failure | UnsetType = UNSET
    jsonrpc: str = "2.0"


class CallError(Exception):
    """A call that the protocol itself refuses, before any operation began."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


_CLASSES: dict[int, type[RingpassError]] = {
    kind.default_exit_code: kind
    for kind in (RingpassError, ConfigError, DaemonUnreachable, NotFound, Denied, BrokenPort)
}


def failure(error: RingpassError) -> Failure:
    """Return `error` for the wire."""
    data = {
        "what": error.what,
        "why": error.why,
        "fix": error.fix,
        "exit_code": int(error.exit_code),
    }
    return Failure(APPLICATION - error.exit_code, error.what, data)


def raise_failure(answer: Failure) -> None:
    """Raise what `failure` was given at the other end."""
    data = answer.data
    if data is None or not {"what", "why"} <= data.keys():
        raise RingpassError("the daemon refused the request", answer.message)
    exit_code = int(data.get("exit_code", ExitCode.FAILED))
    kind = _CLASSES.get(exit_code, RingpassError)
    raise kind(str(data["what"]), str(data["why"]), str(data.get("fix", "")))


def encode(line: Request | Response) -> bytes:
    """Return `line` as bytes, newline included."""
    return msgspec.json.encode(line) + b"\n"
