/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel_ring.h"

#include <poll.h>
#include <stdlib.h>

/* Nobody looks at a ring that is not live, but whoever frees it. */
static const struct rp_endpoint_ops stopped_ops = { .free = rp_kernel_free };

struct rp_endpoint *rp_kernel_ring_new(struct rp_port *p, int dir, uint32_t i,
				       struct rp_ring_state *state)
{
	struct rp_kernel_ring *r = aligned_alloc(64, (sizeof(*r) + 63) / 64 * 64);

	if (!r)
		return NULL;
	*r = (struct rp_kernel_ring){
		.ep = { .ops = &stopped_ops,
			.port = p,
			.state = state,
			.ring = (uint16_t)i,
			.dir = (uint16_t)dir },
		.worker = p->worker,
	};
	if (dir == NETMAP_DIR_TX && !(r->ep.batch = calloc(1, sizeof(*r->ep.batch)))) {
		free(r);
		return NULL;
	}
	rp_ring_state_reset(state, 0, 0);
	return &r->ep;
}

void rp_kernel_ring_start(struct rp_endpoint *ep, struct rp_kernel_queue *q)
{
	q->users++;
	rp_ring_state_reset(ep->state, 0, 0);
	ep->congestion = RP_FLOWING;
	ep->awaited = ep->empty_polls = 0;
	ep->ops = q->ops;
	rp_kernel_ring(ep)->queue = q;
}

void rp_kernel_ring_stop(struct rp_endpoint *ep)
{
	struct rp_kernel_queue *q = rp_kernel_ring(ep)->queue;

	if (!q)
		return;
	if (ep->batch && ep->batch->held) {
		rp_drop(ep, RP_DROP_RESET, ep->batch->held);
		ep->batch->held = 0;
	}
	if (ep->dir == NETMAP_DIR_RX && q->out.sent != ep->state->published)
		rp_drop(ep, RP_DROP_RESET, ep->state->published - q->out.sent);
	rp_kernel_ring(ep)->queue = NULL;
	ep->ops = &stopped_ops;
	if (--q->users == 0)
		q->free(q);
}

void rp_kernel_free(struct rp_endpoint *ep)
{
	rp_kernel_ring_stop(ep);
	free(ep->batch);
	free(rp_kernel_ring(ep));
}

unsigned rp_kernel_lease(struct rp_endpoint *ep, struct rp_lease *l, struct rp_endpoint *from,
			 const struct rp_batch *b, const uint16_t *order, unsigned n)
{
	struct rp_outq *out = &rp_kernel_ring(ep)->queue->out;
	const uint32_t taken = rp_load(&ep->state->reserved) - rp_load(&ep->state->released);

	/*
	 * Senders that wait for room are the only ones that come here again: they send what the
	 * kernel did not take, and find what a zero-copy driver completed and told nobody.
	 */
	if (out->slots - taken < n || out->slots - taken < out->frame_slots)
		ep->ops->notify(ep);
	return rp_outq_lease(out, ep, l, from, b, order, n);
}

void rp_kernel_nothing(struct rp_endpoint *ep)
{
	(void)ep;
}

void rp_kernel_retry(struct rp_endpoint *ep)
{
	struct rp_endpoint *out = ep->port->rx[ep->ring];

	if (rp_load(&rp_kernel_ring(ep)->queue->out.stuck) && rp_endpoint_live(out))
		out->ops->notify(out);
}

void rp_kernel_lost(struct rp_endpoint *ep, enum rp_drop why)
{
	rp_lock_take(&ep->lock);
	rp_drop(ep, why, 1);
	rp_lock_release(&ep->lock);
}

bool rp_kernel_readable(const struct rp_kernel_queue *q)
{
	struct pollfd p = { .fd = q->fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}
