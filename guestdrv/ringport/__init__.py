# SPDX-License-Identifier: BSD-2-Clause
"""netmap rings in Python: slots and buffers as memoryviews, batches of frames as numpy vectors.

    with ringport.open("vale0:a") as port:
        while port.wait_readable():
            for slot in port.rx[0]:
                print(bytes(slot.data).hex())
            port.rx[0].advance(len(port.rx[0]))

The same program runs on ports of a ringpass daemon, of a `ringpass.Backend` in its own process, and
on a netmap of the kernel. It needs nothing but Python; numpy, where it is installed, gives batches:

    batch = source.rx[0].batch(256)
    batch.move(sink.tx[0], keep=batch.field(12, ">u2") == 0x0800)
"""

import errno
from functools import cache
from importlib.util import find_spec

from ringport import slots
from ringport.errors import Error
from ringport.port import Port, wait
from ringport.portspec import BadPortSpec
from ringport.ring import Ring, Slot
from ringport.transport import Binding
from ringport.transport.netmap import DEVICE, Device

__all__ = ["BadPortSpec", "Error", "Port", "Ring", "Slot", "forward", "has_numpy", "open", "wait"]


def open(  # noqa: A001  as in os.open, io.open, gzip.open
    name: str, *, extra_bufs: int = 0, via: str | None = None
) -> Port:
    """Open the port that `name` means in netmap's grammar: `vale0:a`, `netmap:eth0-3`, ...

    `extra_bufs` buffers beside those in the slots are asked for; `Port.extra_bufs` has what there
    was. `via` says who serves the port: "daemon", that of ringpass, or "netmap", the kernel's.
    Without it the daemon is taken if it runs, else the kernel's if it is there.

    Raises BadPortSpec, and Error with netmap's errno.
    """
    return Port(name, _bind(name, extra_bufs, via))


def forward(source: Ring, sink: Ring, most: int | None = None) -> int:
    """Hand frames on from an rx ring to a tx ring, at most `most` slots; return how many slots.

    Buffers are swapped where both rings are in one region, else frames are copied. Without numpy it
    goes slot by slot.
    """
    if not has_numpy():
        return slots.forward(source, sink, most)
    batch = source.batch(most)
    if source.region.key == sink.region.key:
        return batch.move(sink)
    return batch.copy(sink)


@cache
def has_numpy() -> bool:
    """Tell whether rings have batches here."""
    return find_spec("numpy") is not None


def _bind(name: str, extra_bufs: int, via: str | None) -> Binding:
    if via not in (None, "daemon", "netmap"):
        why = f"via={via!r} is neither daemon nor netmap"
        raise Error(errno.EINVAL, f"cannot open {name}", why)
    if via == "netmap":
        return Device(name, extra_bufs)
    try:
        from ringport.transport.daemon import Daemon, socket_path
    except ModuleNotFoundError as error:
        if via is None or error.name not in ("ringpass", "ringport._client"):
            return Device(name, extra_bufs)
        why = "ringpass is not installed here"
        raise Error(errno.ENOTSUP, f"cannot open {name}", why, "install it") from None
    if via is None and not socket_path().exists() and DEVICE.exists():
        return Device(name, extra_bufs)
    return Daemon(name, extra_bufs)
