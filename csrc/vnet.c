/* SPDX-License-Identifier: BSD-2-Clause */
#include "vnet.h"

/* One kind of offload: who may send it, who takes it. */
static uint64_t gso_feature(uint8_t gso_type, bool receiver)
{
	uint64_t need;

	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		need = receiver ? RP_FEATURE(VIRTIO_NET_F_GUEST_TSO4) :
				  RP_FEATURE(VIRTIO_NET_F_HOST_TSO4);
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		need = receiver ? RP_FEATURE(VIRTIO_NET_F_GUEST_TSO6) :
				  RP_FEATURE(VIRTIO_NET_F_HOST_TSO6);
		break;
	default:
		return 0;
	}
	if (gso_type & VIRTIO_NET_HDR_GSO_ECN)
		need |= receiver ? RP_FEATURE(VIRTIO_NET_F_GUEST_ECN) :
				   RP_FEATURE(VIRTIO_NET_F_HOST_ECN);
	return need;
}

static bool has(uint64_t features, uint64_t need)
{
	return need && (features & need) == need;
}

/* What one side may send, and the bit with which the other one takes it. */
static const struct {
	uint64_t send;
	uint64_t take;
} pairs[] = {
	{ RP_FEATURE(VIRTIO_NET_F_CSUM), RP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) },
	{ RP_FEATURE(VIRTIO_NET_F_HOST_TSO4), RP_FEATURE(VIRTIO_NET_F_GUEST_TSO4) },
	{ RP_FEATURE(VIRTIO_NET_F_HOST_TSO6), RP_FEATURE(VIRTIO_NET_F_GUEST_TSO6) },
	{ RP_FEATURE(VIRTIO_NET_F_HOST_ECN), RP_FEATURE(VIRTIO_NET_F_GUEST_ECN) },
};

enum { PAIRS = sizeof(pairs) / sizeof(pairs[0]) };

uint64_t rp_vnet_turned(uint64_t features)
{
	uint64_t turned = 0;

	for (unsigned i = 0; i < PAIRS; i++) {
		turned |= features & pairs[i].send ? pairs[i].take : 0;
		turned |= features & pairs[i].take ? pairs[i].send : 0;
	}
	return turned;
}

bool rp_vnet_suits(uint64_t sender, uint64_t receiver)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		if ((sender & pairs[i].send) && !(receiver & pairs[i].take))
			return false;
	}
	return true;
}

bool rp_vnet_check_offload(struct virtio_net_hdr *h, uint64_t features, uint32_t len)
{
	h->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	if (h->flags) {
		if (!has(features, RP_FEATURE(VIRTIO_NET_F_CSUM)))
			return false;
		if ((uint32_t)h->csum_start + h->csum_offset + 2 > len)
			return false;
	} else {
		h->csum_start = h->csum_offset = 0;
	}
	if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		h->hdr_len = h->gso_size = 0;
		return true;
	}
	/* Segments get their own checksums, so the header must say where (5.1.6.2). */
	return has(features, gso_feature(h->gso_type, false)) && h->flags && h->gso_size &&
	       h->hdr_len <= len;
}

bool rp_vnet_agrees(const struct virtio_net_hdr *h, uint64_t features)
{
	if (h->flags && !has(features, RP_FEATURE(VIRTIO_NET_F_GUEST_CSUM)))
		return false;
	return h->gso_type == VIRTIO_NET_HDR_GSO_NONE ||
	       has(features, gso_feature(h->gso_type, true));
}
