# SPDX-License-Identifier: BSD-2-Clause
"""An open of the device: its requests, and the rings that it registered.

Every refusal is a RingpassError whose `errno` is netmap's, and whose words are ours.
"""

import errno
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

from ringpass.dataplane import BindSpec
from ringpass.errors import RingpassError
from ringpass.netmap import abi, info, kloop, memory, quotas, vale
from ringpass.netmap import options as options_
from ringpass.netmap.abi import Flag, Header, Mode, Register, Request
from ringpass.netmap.call import Call, Device
from ringpass.netmap.make import explained
from ringpass.netmap.options import Options
from ringpass.netmap.peer import Peer
from ringpass.netmap.port import Port, Registration
from ringpass.netmap.rings import Selection, select


class Reply(NamedTuple):
    """The answer to a request."""

    error: RingpassError | None
    header: Header
    body: bytes
    """Empty unless the request succeeded."""
    options: bytes


class Open:
    """One open of /dev/netmap."""

    def __init__(self, device: Device, peer: Peer, nifp_offset: int = 0) -> None:
        """`nifp_offset`: where the netmap_if is that this open had in a resumed region; 0: a new
        open.
        """
        self._device = device
        self._peer = peer
        self._nifp_offset = nifp_offset
        self._undo = ExitStack()
        self.registration: Registration | None = None

    def close(self) -> None:
        """Give back what was registered. A second close does nothing."""
        self.registration = None
        self._undo.close()

    def check(self) -> None:
        """Raise RingpassError, with the reason, if a port is broken whose rings are registered."""
        if self.registration is None:
            return
        port = self.registration.port
        for part in (port, port.host):
            if part and (why := self._device.plane.port_status(part.id).broken):
                fix = "close it and open it again"
                raise RingpassError(f"port {part.name} is broken", why, fix, errno=errno.EIO)

    def control(self, header: bytes, body: bytes, options: bytes) -> Reply:
        """Do what `ioctl(NIOCCTRL)` does; `options` are as `ringpass.netmap.options` decodes them.

        Raises ValueError if `header` or `options` are no such things at all.
        """
        found = Header.unpack(header)
        decoded = options_.decode(options)
        try:
            answer = self._perform(self._call(abi.text(found.name), found, decoded), body)
        except RingpassError as error:
            return Reply(error, found, b"", decoded.encode(succeeded=False))
        packed = b"" if answer is None else answer.pack()
        return Reply(None, found, packed, decoded.encode(succeeded=True))

    def request(self, kind: Request, name: str, body: abi.Body | None = None) -> Any:
        """Do a request without options; return its body. Raises RingpassError."""
        return self.named_request(kind, name, body)[1]

    def named_request(self, kind: Request, name: str, body: abi.Body | None) -> tuple[str, Any]:
        """Do a request without options; return the name in its answer, and its body."""
        call = self._call(name, Header(reqtype=kind, name=abi.chars(name)), Options())
        answer = self._do(call, body)
        return abi.text(call.header.name), answer

    def register(self, name: str, request: Register, options: Options | None = None) -> Register:
        """Register rings of the port `name` on this open. Raises RingpassError."""
        header = Header(reqtype=Request.REGISTER, name=abi.chars(name))
        return self._register(self._call(name, header, options or Options()), request)

    def _call(self, name: str, header: Header, options: Options) -> Call:
        meant = self._peer.means(name)
        return Call(self._device, self._peer, self.registration, header, meant, options)

    def _perform(self, call: Call, body: bytes) -> abi.Body | None:
        """Check what is common to all requests, then do this one; return its body."""
        header = call.header
        what = f"a request of type {header.reqtype} is refused"
        if not abi.API_MIN <= header.version <= abi.API_MAX:
            raise RingpassError(
                what,
                f"its nr_version is {header.version}",
                f"write {abi.API_MIN} to {abi.API_MAX}: build the program with netmap's headers",
                errno=errno.EINVAL,
            )
        if header.reqtype not in frozenset(Request) or header.reserved:
            why = "there is none of this number" if not header.reserved else "nr_reserved is not 0"
            raise RingpassError(what, why, "see netmap(4)", errno=errno.EINVAL)
        kind = Request(header.reqtype)
        layout = abi.BODIES[kind]
        if (layout is None) == bool(header.body):
            call.fail(
                errno.EINVAL, f"nr_body must {'' if layout else 'not '}be set", "see netmap(4)"
            )
        if layout is not None and len(body) != layout.bytes():
            call.fail(errno.EINVAL, f"its body has {len(body)} bytes, not {layout.bytes()}")
        options_.check(call.options, len(body))
        return self._do(call, None if layout is None else layout.unpack(body))

    def _do(self, call: Call, body: Any) -> abi.Body | None:
        kind = Request(call.header.reqtype)
        self._peer.check_request(call.what, kind, [o.header.reqtype for o in call.options.each])
        if kind is Request.REGISTER:
            return self._register(call, body)
        answer: abi.Body | None = _HANDLERS[kind](call, body)
        return answer

    def _register(self, call: Call, request: Register) -> Register:
        if self.registration is not None:
            call.fail(
                errno.EBUSY,
                f"rings of {self.registration.port.name} are registered here already",
                "open the device once more",
            )
        with ExitStack() as undo:
            region = memory.external(call, undo) or call.region(request.mem_id)
            port = self._device.ports.acquire(call.name, request, self._peer, region)
            undo.callback(self._device.ports.release, port)
            memory.check_external(call, port, region)
            where = select(port.name, port.geometry, request.mode, request.ringid, request.flags)
            for other in port.registrations:
                other.check_compatible(where, request.flags)
            vale.check_header(call, port, request.flags)
            memory.set_offsets(call, port, request.flags)
            kloop.check_csb(call, request.flags, where)
            call.options.check_understood()
            registration = self._bind(port, request, where)
            undo.callback(self._device.plane.unbind, registration.binding)
            self._device.ports.register(registration)
            undo.callback(self._device.ports.unregister, registration)
            answer = self._answer(request, registration)
            self._undo = undo.pop_all()
        self.registration = registration
        return answer

    def _bind(self, port: Port, request: Register, where: Selection) -> Registration:
        host = None if port.host is None else port.host.id
        extra_bufs = quotas.extra_buffers(
            request.extra_bufs, port.region, self._device.ports, self._peer
        )
        spec = BindSpec(
            port.id,
            where.tx,
            where.rx,
            host,
            where.host_tx,
            where.host_rx,
            extra_bufs,
            self._nifp_offset,
        )
        try:
            binding = self._device.plane.bind(spec)
        except RingpassError as error:
            raise explained(error, port.region) from error
        return Registration(
            self._peer,
            port,
            where,
            Mode(request.mode),
            Flag(request.flags),
            binding.id,
            binding.nifp_offset,
            binding.extra_bufs,
        )

    def _answer(self, request: Register, registration: Registration) -> Register:
        port = registration.port
        assert port.region is not None
        answer = Register.unpack(request.pack())
        answer.offset = registration.nifp_offset
        answer.memsize = self._device.regions.pools(port.region).size
        answer.mem_id = port.region.id
        answer.extra_bufs = registration.extra_bufs
        port.geometry.tell(answer)
        return answer


_HANDLERS: dict[Request, Callable[[Call, Any], Any]] = {
    Request.PORT_INFO_GET: info.port,
    Request.VALE_ATTACH: vale.attach,
    Request.VALE_DETACH: vale.detach,
    Request.VALE_LIST: vale.list_,
    Request.PORT_HDR_SET: vale.set_header,
    Request.PORT_HDR_GET: vale.get_header,
    Request.VALE_NEWIF: vale.create,
    Request.VALE_DELIF: vale.delete,
    Request.VALE_POLLING_ENABLE: vale.start_polling,
    Request.VALE_POLLING_DISABLE: vale.stop_polling,
    Request.POOLS_INFO_GET: info.pools,
    Request.SYNC_KLOOP_START: kloop.start,
    Request.SYNC_KLOOP_STOP: kloop.stop,
    Request.CSB_ENABLE: kloop.enable_csb,
}
