/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: The ring front end: endpoints on netmap rings.
 *
 * Security: slots, cursors and buffers are the peer's to write at any time. A
 * slot is read once; buffer index and length are checked before use. Payload
 * may change while it is copied, which harms nobody but its sender.
 */
#include "front_rings.h"

#include <stdlib.h>

#include "kring.h"

struct front_ring {
	struct rp_endpoint ep;
	struct rp_kring k;
};

static struct front_ring *of(struct rp_endpoint *ep)
{
	return (struct front_ring *)ep; /* ep is its first member */
}

/* Take the slots of one frame, from *@pos on, up to @head. False: it is malformed. */
static bool take_frame(struct front_ring *r, struct rp_batch *b, struct rp_frame *f, uint32_t *pos,
		       uint32_t head)
{
	const struct rp_kring *k = &r->k;
	bool ok = true, more = true;

	*f = (struct rp_frame){ .seg = b->nsegs };
	while (more && *pos != head) {
		const struct netmap_slot *s = &k->ring->slot[*pos];
		uint32_t len = rp_load(&s->len);
		uint8_t *buf = rp_kring_buf(k, rp_load(&s->buf_idx));

		more = rp_load(&s->flags) & NS_MOREFRAG;
		*pos = rp_kring_next(k, *pos);
		b->taken++;
		if (!buf || len > k->buf_bytes) {
			rp_port_break(r->ep.port,
				      !buf ? "a tx slot's buffer index is not in the region" :
					     "a tx slot's length exceeds its buffer");
			return false;
		}
		if (f->nseg == NETMAP_MAX_FRAGS) {
			ok = false;
			continue;
		}
		b->seg[b->nsegs + f->nseg++] = (struct rp_seg){ .addr = buf, .len = len };
		f->len += len;
	}
	if (!ok)
		rp_drop(&r->ep, RP_DROP_FRAGS, 1);
	else if (f->len < RP_ETH_MIN)
		rp_drop(&r->ep, RP_DROP_SHORT, 1);
	else if (f->len > RP_FRAME_MAX)
		rp_drop(&r->ep, RP_DROP_MTU, 1);
	return ok && f->len >= RP_ETH_MIN && f->len <= RP_FRAME_MAX;
}

static unsigned rings_pull(struct rp_endpoint *ep)
{
	struct front_ring *r = of(ep);
	struct rp_batch *b = ep->batch;
	uint32_t pos = ep->state->reserved, tail = rp_kring_prev(&r->k, pos), head;

	b->nframes = b->nsegs = b->taken = b->held = 0;
	if (!rp_kring_head(&r->k, pos, tail, &head)) {
		rp_port_break(ep->port, "a tx ring's head is outside the slots that its user owns");
		return 0;
	}
	while (pos != head && b->nframes < RP_BATCH &&
	       b->nsegs + NETMAP_MAX_FRAGS <= RP_BATCH_SEGS) {
		struct rp_frame *f = &b->frame[b->nframes];

		if (!take_frame(r, b, f, &pos, head))
			continue;
		__builtin_prefetch(b->seg[f->seg].addr);
		b->nsegs += f->nseg;
		b->nframes++;
	}
	b->next_pos = pos;
	return b->taken;
}

static void rings_complete(struct rp_endpoint *ep)
{
	struct front_ring *r = of(ep);
	uint32_t pos = ep->batch->next_pos;

	ep->state->reserved = ep->state->published = pos;
	rp_store_release(&r->k.ring->tail, rp_kring_prev(&r->k, pos));
}

static bool rings_pending(struct rp_endpoint *ep)
{
	return rp_load_acquire(&of(ep)->k.ring->head) != ep->state->reserved;
}

/* Reserve the slots of one frame and describe their room. False: no room. */
static bool reserve(struct front_ring *r, struct rp_lease *l, const struct rp_frame *f,
		    struct rp_slice *slice, uint32_t *pos, uint32_t *room)
{
	const struct rp_kring *k = &r->k;
	uint32_t left = f->len;

	if ((f->len + k->buf_bytes - 1) / k->buf_bytes > *room)
		return false;
	while (left) {
		struct netmap_slot *s = &k->ring->slot[*pos];
		uint8_t *buf = rp_kring_buf(k, rp_load(&s->buf_idx));
		uint32_t n = left < k->buf_bytes ? left : k->buf_bytes;

		if (!buf) {
			rp_port_break(r->ep.port, "an rx slot's buffer index is not in the region");
			return false;
		}
		left -= n;
		rp_store(&s->len, (uint16_t)n);
		rp_store(&s->flags, left ? NS_MOREFRAG : 0);
		l->seg[l->nsegs++] = (struct rp_seg){ .addr = buf, .len = n };
		slice->nseg++;
		*pos = rp_kring_next(k, *pos);
		--*room;
	}
	return true;
}

static unsigned rings_lease(struct rp_endpoint *ep, struct rp_lease *l, struct rp_endpoint *from,
			    const uint16_t *order, unsigned n)
{
	struct front_ring *r = of(ep);
	struct rp_ring_state *st = ep->state;
	const struct rp_batch *b = from->batch;
	uint32_t pos, room;
	unsigned i;

	l->n = l->nsegs = 0;
	l->bytes = 0;
	l->congested = false;
	rp_lock_take(&ep->lock);
	pos = st->reserved;
	room = r->k.slots - 1 - rp_kring_distance(&r->k, rp_load_acquire(&st->released), pos);
	for (i = 0; i < n; i++) {
		const struct rp_frame *f = &b->frame[order[i]];
		struct rp_slice *slice = &l->slice[l->n];

		if (f->vnet.flags || f->vnet.gso_type) {
			rp_drop(from, RP_DROP_OFFLOAD, 1);
			continue;
		}
		if ((f->len - 1) / r->k.buf_bytes >= NETMAP_MAX_FRAGS) {
			rp_drop(from, RP_DROP_MTU, 1);
			continue;
		}
		if (l->nsegs + NETMAP_MAX_FRAGS > RP_LEASE_SEGS)
			break;
		*slice = (struct rp_slice){ .frame = order[i], .seg = l->nsegs };
		if (!reserve(r, l, f, slice, &pos, &room)) {
			l->congested = true;
			break;
		}
		l->bytes += f->len;
		l->n++;
	}
	l->open = l->n > 0;
	if (l->open) {
		st->reserved = pos;
		l->ticket = rp_lease_open(st, pos);
		rp_endpoint_room(ep);
	}
	rp_lock_release(&ep->lock);
	return i;
}

static bool rings_publish(struct rp_endpoint *ep, struct rp_lease *l)
{
	rp_lock_take(&ep->lock);
	rp_lease_close(ep->state, l->ticket);
	rp_count(&ep->count->frames, l->n);
	rp_count(&ep->count->bytes, l->bytes);
	rp_count(&ep->count->batches, 1);
	rp_lock_release(&ep->lock);
	return false; /* whoever syncs this ring looks for itself */
}

static int rings_rxsync(struct rp_endpoint *ep)
{
	struct front_ring *r = of(ep);
	struct rp_ring_state *st = ep->state;
	uint32_t hwtail = rp_load_acquire(&st->published), head;

	if (!rp_kring_head(&r->k, st->released, r->k.ring_tail, &head)) {
		rp_port_break(ep->port,
			      "an rx ring's head is outside the slots that its user owns");
		return -1;
	}
	rp_store_release(&st->released, head);
	r->k.ring_tail = hwtail;
	rp_store_release(&r->k.ring->tail, hwtail);
	return 0;
}

static void rings_nothing(struct rp_endpoint *ep)
{
	(void)ep;
}

static void rings_free(struct rp_endpoint *ep)
{
	free(ep->batch);
	free(of(ep));
}

static const struct rp_endpoint_ops rings_ops = {
	.pull = rings_pull,
	.complete = rings_complete,
	.pending = rings_pending,
	.arm = rings_nothing,
	.disarm = rings_nothing,
	.lease = rings_lease,
	.publish = rings_publish,
	.notify = rings_nothing,
	.sync = rings_rxsync,
	.free = rings_free,
};

struct rp_endpoint *rp_front_rings_new(struct rp_port *p, int dir, uint32_t i,
				       struct rp_ring_state *state)
{
	const struct rp_region *region = p->region;
	struct front_ring *r = aligned_alloc(64, (sizeof(*r) + 63) / 64 * 64);

	if (!r)
		return NULL;
	*r = (struct front_ring){
		.ep = { .ops = &rings_ops,
			.port = p,
			.state = state,
			.live = 1,
			.ring = (uint16_t)i,
			.dir = (uint16_t)dir },
		.k = { .ring = rp_region_ring(region, dir, i),
		       .bufs = region->base + region->bufs_offset,
		       .slots = region->slots,
		       .buf_bytes = region->buf_bytes,
		       .buf_count = region->buf_count },
	};
	if (dir == NETMAP_DIR_TX && !(r->ep.batch = calloc(1, sizeof(*r->ep.batch)))) {
		free(r);
		return NULL;
	}
	rp_ring_state_reset(state, 0, 0);
	return &r->ep;
}
