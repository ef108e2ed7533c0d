# SPDX-License-Identifier: BSD-2-Clause
"""The control socket: JSON-RPC 2.0 over a unix socket, for the daemon's user and root."""

import asyncio
import contextlib
import logging
import os
from pathlib import Path

import msgspec

from ringpass import rpc
from ringpass.daemon.methods import TABLE, Methods
from ringpass.errors import Denied, RingpassError
from ringpass.sockets import Access, Credentials, bind, credentials

log = logging.getLogger(__name__)


class Control:
    """The control socket. Use it as an asynchronous context manager."""

    def __init__(self, path: Path, methods: Methods) -> None:
        self._path = path
        self._methods = methods
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Control":
        listening = bind(self._path, Access(0o600))
        self._server = await asyncio.start_unix_server(
            self._serve, sock=listening, limit=rpc.MAX_LINE
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            peer = credentials(writer.get_extra_info("socket"))
            while line := await reader.readline():
                if (response := self._answer(line, peer)) is not None:
                    writer.write(rpc.encode(response))
                    await writer.drain()
        except ValueError:
            # readline: what came so far cannot be told from what follows.
            why = f"a line of more than {rpc.MAX_LINE} bytes"
            writer.write(rpc.encode(_refusal(None, rpc.PARSE_ERROR, why)))
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _answer(self, line: bytes, peer: Credentials) -> rpc.Response | None:
        try:
            request = _decode(line)
        except rpc.CallError as error:
            return _refusal(None, error.code, str(error))
        response = self._call(request, peer)
        if request.id is msgspec.UNSET:
            return None
        response.id = request.id
        return response

    def _call(self, request: rpc.Request, peer: Credentials) -> rpc.Response:
        entry = TABLE.get(request.method)
        if entry is not None and entry.changes:
            log.info("event=rpc method=%s pid=%d uid=%d", request.method, peer.pid, peer.uid)
        try:
            if peer.uid not in (0, os.geteuid()):
                raise Denied(
                    f"{request.method} is refused",
                    f"user {peer.uid} does not own the daemon",
                    "use the account that started it, or root",
                )
            return rpc.Response(result=self._methods.call(request.method, request.params))
        except rpc.CallError as error:
            return _refusal(None, error.code, str(error))
        except RingpassError as error:
            return rpc.Response(error=rpc.failure(error))
        except Exception as error:
            log.exception("event=rpc-crashed method=%s", request.method)
            return _refusal(None, rpc.INTERNAL_ERROR, f"{type(error).__name__}: {error}")


def _decode(line: bytes) -> rpc.Request:
    """Return the request in `line`. Raises CallError."""
    try:
        request = msgspec.json.decode(line, type=rpc.Request)
    except msgspec.ValidationError as error:
        raise rpc.CallError(rpc.INVALID_REQUEST, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise rpc.CallError(rpc.PARSE_ERROR, str(error)) from error
    if request.jsonrpc != "2.0":
        raise rpc.CallError(rpc.INVALID_REQUEST, f"jsonrpc is {request.jsonrpc!r}, not '2.0'")
    return request


def _refusal(id_: int | str | None, code: int, message: str) -> rpc.Response:
    return rpc.Response(id=id_, error=rpc.Failure(code, message))
