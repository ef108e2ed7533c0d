# SPDX-License-Identifier: BSD-2-Clause
"""What a guest's driver may leave to others, and what others may leave to it: virtio-net's bits."""

from collections.abc import Collection

from ringpass.config import Offload
from ringpass.dataplane import Kind, vnet_features

#: Bytes of the header before each frame of a driver that wants some of them.
HEADER_BYTES = 12

#: For frames that a driver receives, then for those that it sends.
_BITS: dict[Offload, tuple[int, int]] = {
    "csum": (1, 0),
    "tso4": (7, 11),
    "tso6": (8, 12),
    "ecn": (9, 13),
}


def offered(kind: Kind, offloads: Collection[Offload]) -> int:
    """Return the features of a port that is to have `offloads`.

    Frames in a pipe are seen by nobody on the way, who would do what its other end leaves undone.
    """
    if kind is not Kind.VALE:
        return 0
    bits = 0
    for offload in offloads:
        receive, send = _BITS[offload]
        bits |= 1 << receive | 1 << send
    return bits & vnet_features()
