# SPDX-License-Identifier: BSD-2-Clause
"""The network device that a port shows its front end: features, addresses, configuration space."""

import struct
from collections.abc import Collection
from typing import NamedTuple

from ringpass.vhostuser.messages import Feature, ProtocolFeature

#: Offloads by the names of the configuration, each the bits of both directions.
OFFLOADS = {
    "csum": Feature.CSUM | Feature.GUEST_CSUM,
    "tso4": Feature.HOST_TSO4 | Feature.GUEST_TSO4,
    "tso6": Feature.HOST_TSO6 | Feature.GUEST_TSO6,
    "ecn": Feature.HOST_ECN | Feature.GUEST_ECN,
}

#: Features of virtqueues and their buffers by the names of the configuration.
RING_FEATURES = {
    "mrg_rxbuf": Feature.MRG_RXBUF,
    "indirect_desc": Feature.INDIRECT_DESC,
    "event_idx": Feature.EVENT_IDX,
    "packed": Feature.RING_PACKED,
    "in_order": Feature.IN_ORDER,
}

#: Every protocol feature that a front end may take.
PROTOCOL_FEATURES = (
    ProtocolFeature.MQ
    | ProtocolFeature.LOG_SHMFD
    | ProtocolFeature.RARP
    | ProtocolFeature.REPLY_ACK
    | ProtocolFeature.NET_MTU
    | ProtocolFeature.BACKEND_REQ
    | ProtocolFeature.CONFIG
    | ProtocolFeature.RESET_DEVICE
    | ProtocolFeature.CONFIGURE_MEM_SLOTS
    | ProtocolFeature.STATUS
)

_LINK_UP = 1
#: mac, status, max_virtqueue_pairs, mtu of struct virtio_net_config; little-endian by the standard.
_CONFIG = struct.Struct("<6sHHH")


class Device(NamedTuple):
    """What a driver is told; all but the MTU is fixed for as long as a port exists."""

    features: Feature
    """Every virtio feature bit that a front end may take."""
    mac: bytes
    mtu: int
    pairs: int
    """Pairs of virtqueues."""

    def config(self, offset: int, size: int, *, link_up: bool = True) -> bytes:
        """Return a piece of struct virtio_net_config; zeros after what we know."""
        status = _LINK_UP if link_up else 0
        known = _CONFIG.pack(self.mac, status, self.pairs, self.mtu)
        return known.ljust(offset + size, b"\0")[offset : offset + size]


def offered(
    served: int, pairs: int, offloads: Collection[str], withheld: Collection[str] = ()
) -> Feature:
    """Return the virtio features of a port with `pairs` queue pairs.

    `served` is what the data plane can do; of its offloads only those named in `offloads` remain,
    of its ring features only those not named in `withheld`.
    MQ is offered only where it means something: it makes a driver that sees no control queue refuse
    the device, and User-mode Linux takes every bit that it is offered.
    """
    unwanted = Feature(0)
    for name in withheld:
        unwanted |= RING_FEATURES[name]
    for name, bits in OFFLOADS.items():
        if name not in offloads:
            unwanted |= bits
    own = Feature.MAC | Feature.STATUS | Feature.MTU | Feature.PROTOCOL_FEATURES | Feature.LOG_ALL
    if pairs > 1:
        own |= Feature.MQ
    return Feature(served & ~int(unwanted)) | own


def features_for(device: Device, *, owned_first: bool) -> Feature:
    """Return the virtio features that a front end may take.

    QEMU asks before it owns the device, others own it first. That is how they are told apart where
    what helps the one harms the others: with GUEST_ANNOUNCE a guest that migrated makes itself
    known; it needs a control queue, which is QEMU's own, and the driver of User-mode Linux, which
    has none, would refuse the device.
    """
    return device.features if owned_first else device.features | Feature.GUEST_ANNOUNCE


def protocol_features_for(*, owned_first: bool) -> ProtocolFeature:
    """Return the protocol features that a front end may take; see `features_for`.

    User-mode Linux cannot do without CONFIG, and of its changes it hears over the backend channel.
    QEMU warns its user when a network device offers CONFIG, and has no other use for the channel.
    """
    if owned_first:
        return PROTOCOL_FEATURES
    return PROTOCOL_FEATURES & ~(ProtocolFeature.CONFIG | ProtocolFeature.BACKEND_REQ)
