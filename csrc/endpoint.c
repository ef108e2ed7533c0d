/* SPDX-License-Identifier: BSD-2-Clause */
#include "endpoint.h"

void rp_endpoint_count_pull(struct rp_endpoint *ep)
{
	const struct rp_batch *b = ep->batch;

	rp_count(&ep->count->frames, b->nframes);
	rp_count(&ep->count->bytes, b->bytes);
	rp_count(&ep->count->batches, 1);
}

bool rp_endpoint_hold(struct rp_endpoint *ep, uint64_t now_ns, uint64_t hold_ns)
{
	bool hold;

	rp_lock_take(&ep->lock);
	if (ep->congestion == RP_FLOWING && hold_ns) {
		ep->congestion = RP_HOLDING;
		ep->full_since_ns = now_ns;
		rp_count(&ep->count->holds, 1);
	} else if ((int64_t)(now_ns - ep->full_since_ns) >= (int64_t)hold_ns) {
		/* Signed: another sender's clock may have been read before the episode began. */
		ep->congestion = RP_DROPPING;
	}
	hold = ep->congestion == RP_HOLDING;
	rp_lock_release(&ep->lock);
	return hold;
}
