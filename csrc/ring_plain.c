/* SPDX-License-Identifier: BSD-2-Clause */
/* Netmap rings: frames without a virtio-net header. */
#define HEADER(ring) 0u
#include "ring_path.h"

unsigned rp_rings_pull(struct rp_endpoint *ep)
{
	return pull(ep);
}

unsigned rp_rings_lease(struct rp_endpoint *ep, struct rp_lease *l, struct rp_endpoint *from,
			const struct rp_batch *b, const uint16_t *order, unsigned n)
{
	return lease(ep, l, from, b, order, n);
}
