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
