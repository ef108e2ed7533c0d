/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_VNET_H
#define RP_VNET_H
/*
 * DOC: The virtio-net header (VIRTIO 1.2, section 5.1.6): what the sender left
 * for somebody else to do, a checksum or segmentation.
 */
#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

/* Feature bits that guest and backend may agree on, about the frames themselves. */
#define RP_FEATURE(bit) (UINT64_C(1) << (bit))
#define RP_VNET_FEATURES                                                             \
	(RP_FEATURE(VIRTIO_NET_F_CSUM) | RP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |       \
	 RP_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | RP_FEATURE(VIRTIO_NET_F_GUEST_TSO6) | \
	 RP_FEATURE(VIRTIO_NET_F_GUEST_ECN) | RP_FEATURE(VIRTIO_NET_F_HOST_TSO4) |   \
	 RP_FEATURE(VIRTIO_NET_F_HOST_TSO6) | RP_FEATURE(VIRTIO_NET_F_HOST_ECN))

/* Those of them that a receiver needs room for. */
#define RP_VNET_LARGE_RECEIVE                                                        \
	(RP_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | RP_FEATURE(VIRTIO_NET_F_GUEST_TSO6) | \
	 RP_FEATURE(VIRTIO_NET_F_GUEST_ECN))

/* rp_vnet_turned() - what the other side must take, and may send, to suit @features exactly */
uint64_t rp_vnet_turned(uint64_t features);

/* rp_vnet_suits() - does a receiver take all that a sender may send? Each by its own bits. */
bool rp_vnet_suits(uint64_t sender, uint64_t receiver);

/* rp_vnet_check_offload() - rp_vnet_check() for a header that asks for something */
bool rp_vnet_check_offload(struct virtio_net_hdr *h, uint64_t features, uint32_t len);

/**
 * rp_vnet_check() - is a header from a guest consistent, and within what was agreed?
 * @h:		our copy of it
 * @features:	negotiated with the sender
 * @len:	of the frame, bytes
 *
 * On success what a receiver has no use for is cleared from @h.
 */
static inline bool rp_vnet_check(struct virtio_net_hdr *h, uint64_t features, uint32_t len)
{
	if ((h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || h->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return rp_vnet_check_offload(h, features, len);
	*h = (struct virtio_net_hdr){ 0 };
	return true;
}

/**
 * rp_vnet_agrees() - may a frame with this header go to a receiver as it is?
 * @features:	negotiated with the receiver
 */
bool rp_vnet_agrees(const struct virtio_net_hdr *h, uint64_t features);

#endif
