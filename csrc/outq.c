/* SPDX-License-Identifier: BSD-2-Clause */
#include "outq.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "port.h"

int rp_outq_init(struct rp_outq *q, uint8_t *bufs, uint32_t slots, uint32_t buf_bytes,
		 uint32_t frame_slots)
{
	*q = (struct rp_outq){
		.bufs = bufs,
		.slot = calloc(slots, sizeof(*q->slot)),
		.slots = slots,
		.buf_bytes = buf_bytes,
		.frame_slots = frame_slots,
		.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	if (!q->slot)
		return -ENOMEM;
	return q->wake_fd < 0 ? -EMFILE : 0;
}

void rp_outq_free(struct rp_outq *q)
{
	if (!q->slots)
		return; /* it was never made */
	free(q->slot);
	if (q->wake_fd >= 0)
		close(q->wake_fd);
}

void rp_outq_stuck(struct rp_outq *q)
{
	const uint64_t one = 1;

	rp_store_release(&q->stuck, 1);
	if (write(q->wake_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: the worker is being woken */
}

/* Take @slots slots from @pos on for a frame: that is how often its length holds a buffer. */
static void take_room(struct rp_outq *q, struct rp_lease *l, const struct rp_frame *f,
		      uint16_t frame, uint32_t slots, uint32_t pos)
{
	struct rp_slice *slice = &l->slice[l->n++];
	uint32_t left = f->len;

	*slice = (struct rp_slice){ frame, l->nsegs, (uint16_t)slots, 0, f->len };
	for (uint32_t i = 0; i < slots; i++) {
		struct rp_out_slot *s = &q->slot[rp_outq_at(q, pos + i)];

		s->len = left < q->buf_bytes ? left : q->buf_bytes;
		left -= s->len;
		s->more = left > 0;
		s->vnet = f->vnet;
		l->seg[l->nsegs++] = (struct rp_seg){ rp_outq_buf(q, pos + i), s->len };
	}
	l->bytes += f->len;
}

/* Reserve room for @order[0..n) from *@pos on. Return: how many are dealt with. */
static unsigned reserve(struct rp_outq *q, struct rp_endpoint *ep, struct rp_lease *l,
			struct rp_endpoint *from, const struct rp_batch *b, const uint16_t *order,
			unsigned n, uint32_t *pos)
{
	const uint32_t released = rp_load_acquire(&ep->state->released);
	unsigned i;

	for (i = 0; i < n; i++) {
		const struct rp_frame *f = &b->frame[order[i]];
		enum rp_fit fit = rp_port_fit(ep->port, f);
		uint32_t slots = (f->len + q->buf_bytes - 1) / q->buf_bytes;

		if (fit == RP_FIT_TOO_LONG || (fit == RP_FIT_AS_IT_IS && slots > q->frame_slots)) {
			rp_drop(from, RP_DROP_MTU, 1);
			continue;
		}
		if (fit == RP_FIT_OFFLOAD)
			slots = 1; /* software makes frames only if there is room for one */
		if (slots > q->slots - (*pos - released))
			l->stopped = RP_LEASE_FULL;
		else if (fit == RP_FIT_OFFLOAD)
			l->stopped = RP_LEASE_OFFLOAD;
		else if (l->nsegs + slots > RP_LEASE_SEGS)
			l->stopped = RP_LEASE_PIECES;
		if (l->stopped != RP_LEASE_ALL)
			break;
		take_room(q, l, f, order[i], slots, *pos);
		*pos += slots;
	}
	return i;
}

unsigned rp_outq_lease(struct rp_outq *q, struct rp_endpoint *ep, struct rp_lease *l,
		       struct rp_endpoint *from, const struct rp_batch *b, const uint16_t *order,
		       unsigned n)
{
	struct rp_ring_state *st = ep->state;
	unsigned done = 0;
	uint32_t pos;

	l->n = l->nsegs = 0;
	l->bytes = 0;
	l->mem = NULL;
	rp_lock_take(&ep->lock);
	l->stopped = rp_lease_room(st) ? RP_LEASE_ALL : RP_LEASE_FULL;
	pos = st->reserved;
	if (l->stopped == RP_LEASE_ALL)
		done = reserve(q, ep, l, from, b, order, n, &pos);
	l->open = l->n > 0;
	if (l->open) {
		st->reserved = pos;
		l->ticket = rp_lease_open(st, pos);
		rp_endpoint_room(ep);
	}
	rp_lock_release(&ep->lock);
	return done;
}

bool rp_outq_publish(struct rp_endpoint *ep, struct rp_lease *l)
{
	bool oldest;

	rp_lock_take(&ep->lock);
	oldest = rp_lease_close(ep->state, l->ticket);
	rp_count(&ep->count->frames, l->n);
	rp_count(&ep->count->bytes, l->bytes);
	rp_count(&ep->count->batches, 1);
	rp_lock_release(&ep->lock);
	return oldest; /* else whoever fills the oldest one sends these, too */
}

void rp_outq_send(struct rp_outq *q, struct rp_endpoint *ep,
		  void (*send)(struct rp_endpoint *ep, uint32_t to))
{
	enum { TIMES = 8 };
	unsigned times = 0;

	rp_store(&q->again, 1);
	do {
		/* Pairs with itself: either we get to send, or the one who does sees us. */
		rp_fence_full();
		if (!rp_claim(&q->sending))
			return;
		rp_store(&q->again, 0);
		rp_fence_full();
		rp_store(&q->stuck, 0);
		send(ep, rp_load_acquire(&ep->state->published));
		rp_store_release(&q->sending, 0);
		rp_fence_full();
		if (++times == TIMES && rp_load(&q->again)) {
			rp_outq_stuck(
				q); /* others fill it as fast as we send: back to our own work */
			return;
		}
	} while (rp_load(&q->again));
}
