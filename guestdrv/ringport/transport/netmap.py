# SPDX-License-Identifier: BSD-2-Clause
"""A netmap of the kernel: /dev/netmap, with its ioctls and mmap."""

import array
import errno
import fcntl
import mmap
import os
import select
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ringport import abi, register
from ringport.errors import Error
from ringport.portspec import parse
from ringport.region import Region
from ringport.transport import Watch

if TYPE_CHECKING:
    from ringport.ring import Ring

DEVICE = Path("/dev/netmap")


class Device:
    """A port of the kernel's netmap, registered with a descriptor of its own."""

    def __init__(self, name: str, extra_bufs: int = 0, device: Path = DEVICE) -> None:
        what = f"cannot open {name}"
        spec = parse(name)
        try:
            self._fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            fix = "load the netmap module, or start a ringpass daemon"
            raise Error(error.errno or 0, what, f"{device}: {error.strerror}", fix) from None
        try:
            mem_id = register.memory(spec, lambda request: self._request(what, request))
            answer = register.registered(
                self._request(what, register.register(spec, mem_id, extra_bufs))
            )
            self._map = mmap.mmap(self._fd, answer.memory_size)
        except OSError:
            os.close(self._fd)
            raise
        self.region = Region(memoryview(self._map), (str(device), answer.mem_id))
        self.nifp_offset = answer.nifp_offset
        self.mem_id = answer.mem_id
        self._name = name

    def attach(self, rings: "Sequence[Ring]") -> None:
        """Nothing: the kernel knows its rings."""

    def txsync(self) -> None:
        """Do a txsync of all tx rings."""
        self._ioctl(abi.NIOCTXSYNC, "txsync")

    def rxsync(self) -> None:
        """Do an rxsync of all rx rings."""
        self._ioctl(abi.NIOCRXSYNC, "rxsync")

    def sync(self, ring: "Ring") -> None:
        """Sync all rings of this one's direction: netmap has no call for one."""
        if ring.is_tx:
            self.txsync()
        else:
            self.rxsync()

    def watch(self, *, rx: bool, tx: bool) -> Watch:
        """Return the descriptor: netmap syncs and looks by itself when it is polled."""
        return Watch([(self._fd, (select.POLLIN if rx else 0) | (select.POLLOUT if tx else 0))])

    def unwatch(self) -> None:
        """Nothing was armed."""

    def fileno(self) -> int:
        """Return the descriptor of /dev/netmap."""
        return self._fd

    def close(self) -> None:
        """Unregister the port and unmap its memory, as far as nobody holds arrays of it."""
        if self._fd >= 0:
            self.region.memory.release()
            with suppress(BufferError):
                self._map.close()
            os.close(self._fd)
            self._fd = -1

    def _ioctl(self, number: int, what: str) -> None:
        try:
            fcntl.ioctl(self._fd, number)
        except OSError as error:
            raise Error(error.errno or 0, f"{what} of {self._name} failed") from None

    def _request(self, what: str, request: register.Request) -> bytes:
        """Do NIOCCTRL and return the body as netmap left it."""
        body = array.array("B", request.body)
        options = [array.array("B", option) for option in request.options]
        for option, following in pairwise(options):
            struct.pack_into("<Q", option, 0, _address(following))
        header = bytearray(
            abi.HEADER.pack(
                abi.API,
                request.kind,
                0,
                request.name.encode(),
                _address(options[0]) if options else 0,
                _address(body),
            )
        )
        _checked(what, lambda: fcntl.ioctl(self._fd, abi.NIOCCTRL, header))
        return body.tobytes()


def _address(memory: "array.array[int]") -> int:
    return memory.buffer_info()[0]


def _checked(what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except OSError as error:
        raise Error(error.errno or 0, what, _REASONS.get(error.errno or 0, "")) from None


#: netmap tells no more than a number.
_REASONS = {
    errno.EBUSY: "the port or some of its rings are in use by others",
    errno.EINVAL: "netmap does not take this name, region or geometry",
    errno.ENOMEM: "netmap's region has no room for it: see its sysctls *_num",
    errno.ENXIO: "there is no such port",
    errno.EOPNOTSUPP: "this netmap does not know an option of the name",
}
