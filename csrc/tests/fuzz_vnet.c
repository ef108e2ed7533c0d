/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtio-net header that passes the check promises nothing about bytes that
 * are not there. Input: features, length of the frame, header.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vnet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_net_hdr h, again;
	uint64_t features;
	uint32_t len;

	if (size < sizeof(features) + sizeof(len) + sizeof(h))
		return 0;
	memcpy(&features, data, sizeof(features));
	memcpy(&len, data + sizeof(features), sizeof(len));
	memcpy(&h, data + sizeof(features) + sizeof(len), sizeof(h));
	if (!rp_vnet_check(&h, features, len))
		return 0;
	if (h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		require((uint64_t)h.csum_start + h.csum_offset + 2 <= len);
	else
		require(h.gso_type == VIRTIO_NET_HDR_GSO_NONE && !h.csum_start && !h.csum_offset);
	require(h.gso_type == VIRTIO_NET_HDR_GSO_NONE || (h.gso_size && h.hdr_len <= len));
	require(!(h.flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM));
	/* Who agreed to all takes it, who agreed to nothing takes it only if it asks for nothing. */
	require(rp_vnet_agrees(&h, RP_VNET_FEATURES));
	require(rp_vnet_agrees(&h, 0) == (!h.flags && !h.gso_type));
	/* What passed once passes again, unchanged. */
	again = h;
	require(rp_vnet_check(&again, features, len) && memcmp(&again, &h, sizeof(h)) == 0);
	return 0;
}
