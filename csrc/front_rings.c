/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: The ring front end: endpoints on netmap rings.
 *
 * Cursors travel in one of two ways. With a CSB (processes, guests) the user's
 * head is read from atok, and hwcur and hwtail go to ktoa as soon as they move;
 * notifications are asked for there, too. Without one (callers that embed the
 * backend) head and tail are the ring's own, and move at the caller's syncs.
 *
 * Security: slots, cursors and buffers are the peer's to write at any time. A
 * slot is read once; buffer index and length are checked before use. Payload
 * may change while it is copied, which harms nobody but its sender.
 */
#include "front_rings.h"

#include <stdlib.h>
#include <string.h>

#include "pipe.h"
#include "ring_end.h"
#include "zcopy.h"

/* Tell the user how far the ring went. In this order it never sees hwtail newer than hwcur. */
static void show(struct front_ring *r, uint32_t hwcur, uint32_t hwtail)
{
	rp_store(&r->ktoa->hwcur, hwcur);
	rp_store_release(&r->ktoa->hwtail, hwtail);
}

/* After show(): does its user sleep, or is it about to? Pairs with the fence between arm and recheck. */
static bool wants_call(const struct front_ring *r)
{
	rp_fence_full();
	return rp_load(&r->atok->appl_need_kick);
}

static void rings_complete(struct rp_endpoint *ep)
{
	struct front_ring *r = of(ep);
	uint32_t pos = ep->batch->next_pos;
	uint32_t taken = rp_kring_distance(&r->k, ep->state->published, pos);

	if (__builtin_expect(rp_load(&ep->port->shown), 0))
		rp_zcopy_give(&r->place, ep->state->published, taken, RP_ZCOPY_TRIES_BACKEND);
	ep->state->reserved = ep->state->published = pos;
	if (!r->ktoa) {
		rp_store_release(&r->k.ring->tail, rp_kring_prev(&r->k, pos));
		return;
	}
	show(r, pos, rp_kring_prev(&r->k, pos));
	if (ep->awaited || wants_call(r))
		ep->awaited += taken;
	if (ep->awaited >= r->k.slots / 2)
		rp_endpoint_call(ep);
}

static bool rings_pending(struct rp_endpoint *ep)
{
	return rp_load_acquire(of(ep)->k.head) != ep->state->reserved;
}

static void rings_arm(struct rp_endpoint *ep)
{
	if (of(ep)->ktoa)
		rp_store(&of(ep)->ktoa->kern_need_kick, 1);
}

static void rings_disarm(struct rp_endpoint *ep)
{
	if (of(ep)->ktoa)
		rp_store(&of(ep)->ktoa->kern_need_kick, 0);
}

static void rings_room(struct rp_endpoint *ep, struct rp_room *room)
{
	struct front_ring *r = of(ep);

	rp_lock_take(&ep->lock);
	room->slots = room_at(r, ep->state->reserved, r->k.slots);
	rp_lock_release(&ep->lock);
	room->slot_bytes = slot_bytes(&r->k);
	room->frame_slots = rp_min(NETMAP_MAX_FRAGS, r->k.slots - 1);
}

static void rings_mark(struct rp_endpoint *ep, const struct rp_lease *l, const struct rp_mark *m)
{
	const struct rp_kring *k = &of(ep)->k;
	uint32_t pos = l->first;

	for (unsigned i = 0; i < l->n; i++) {
		const struct rp_slice *slice = &l->slice[i];

		for (unsigned left = slice->nseg; left; left--) {
			struct netmap_slot *s = &k->ring->slot[pos];
			const uint32_t cut = left == 1 ? m->cut[slice->frame] : 0;
			const uint16_t more = left == 1 ? 0 : NS_MOREFRAG;

			if (!k->offset_mask)
				rp_store(&s->ptr, cut ? cut : m->now_ns);
			rp_store(&s->flags, m->flags | more | (cut ? NS_REPORT : 0));
			pos = rp_kring_next(k, pos);
		}
	}
}

static void rings_lost(struct rp_endpoint *ep, uint64_t frames)
{
	rp_store((uint64_t *)(void *)of(ep)->k.ring->sem, frames);
}

static bool rings_publish(struct rp_endpoint *ep, struct rp_lease *l)
{
	struct front_ring *r = of(ep);
	bool call = false;

	rp_lock_take(&ep->lock);
	if (rp_lease_close(ep->state, l->ticket) && r->ktoa) {
		show(r, ep->state->released, ep->state->published);
		call = wants_call(r);
	}
	rp_count(&ep->count->frames, l->n);
	rp_count(&ep->count->bytes, l->bytes);
	rp_count(&ep->count->batches, 1);
	if (call)
		rp_count(&ep->count->calls, 1);
	rp_lock_release(&ep->lock);
	return call; /* without a CSB, whoever syncs this ring looks for itself */
}

static void rings_notify(struct rp_endpoint *ep)
{
	rp_call_make(rp_load(&of(ep)->call));
}

/* In its region, wherever its cursors are: that memory is there, even if a guest's has gone. */
static void rings_broken(struct rp_endpoint *ep, bool is)
{
	struct front_ring *r = of(ep);

	if (!r->ktoa)
		return;
	rp_store_release(&r->place.csb->ktoa.broken, is);
	if (is)
		rings_notify(ep);
}

/* Apart from its caller, whose registers it would take. */
static __attribute__((noinline)) void show_released(const struct front_ring *r, uint32_t head)
{
	const uint32_t from = r->ep.state->released;

	rp_zcopy_give(&r->place, from, rp_kring_distance(&r->k, from, head),
		      RP_ZCOPY_TRIES_BACKEND);
}

static int rings_rxsync(struct rp_endpoint *ep)
{
	struct front_ring *r = of(ep);
	struct rp_ring_state *st = ep->state;
	uint32_t hwtail = rp_load_acquire(&st->published), head;

	if (r->ktoa) {
		struct rp_csb_ring tx;
		const bool pipe = rp_csb_ring_open(&tx, &ep->port->region->view,
						   rp_load(&r->place.csb->peer)) &&
				  tx.slots == r->place.slots;

		if (rp_pipe_rxsync(&r->place, pipe ? &tx : NULL) >= 0)
			return 0;
		rp_port_break(ep->port, RP_RINGS_OUTSIDE);
		return -1;
	}
	if (!rp_kring_head(&r->k, st->released, st->shown, &head)) {
		rp_port_break(ep->port, RP_RINGS_OUTSIDE);
		return -1;
	}
	/* Whoever polls must not take the cache line from the senders for nothing. */
	if (head != st->released) {
		if (__builtin_expect(rp_load(&ep->port->shown), 0))
			show_released(r, head);
		rp_store_release(&st->released, head);
	}
	if (hwtail != st->shown) {
		st->shown = hwtail;
		rp_store_release(&r->k.ring->tail, hwtail);
	}
	return 0;
}

static void rings_free(struct rp_endpoint *ep)
{
	rp_call_close(of(ep)->call);
	free(ep->batch);
	free(of(ep));
}

#define RINGS_OPS(pull_, lease_)                                                                 \
	{                                                                                        \
		.pull = (pull_), .complete = rings_complete, .pending = rings_pending,           \
		.arm = rings_arm, .disarm = rings_disarm, .lease = (lease_), .room = rings_room, \
		.mark = rings_mark, .lost = rings_lost, .publish = rings_publish,                \
		.notify = rings_notify, .broken = rings_broken, .sync = rings_rxsync,            \
		.free = rings_free,                                                              \
	}

static const struct rp_endpoint_ops plain_ops = RINGS_OPS(rp_rings_pull, rp_rings_lease);
static const struct rp_endpoint_ops headed_ops = RINGS_OPS(rp_headed_pull, rp_headed_lease);

struct rp_endpoint *rp_front_rings_new(struct rp_port *p, int dir, uint32_t i,
				       const struct rp_region_ring *in, bool csb,
				       struct rp_ring_state *state)
{
	const struct rp_region *region = p->region;
	struct netmap_ring *ring = rp_region_ring_at(region, in->obj);
	struct rp_csb *block = rp_region_csb_at(region, in->csb);
	struct front_ring *r = aligned_alloc(64, (sizeof(*r) + 63) / 64 * 64);

	if (!r)
		return NULL;
	*r = (struct front_ring){
		.ep = { .ops = &plain_ops,
			.port = p,
			.state = state,
			.live = rp_ring_in_use(p, dir, i),
			.ring = (uint16_t)i,
			.dir = (uint16_t)dir },
		.k = { .ring = ring,
		       .head = csb ? &block->atok.head : &ring->head,
		       .bufs = rp_region_bufs(region),
		       .slots = in->slots,
		       .buf_bytes = region->bufs.objsize,
		       .buf_count = region->bufs.total },
		.atok = csb ? &block->atok : NULL,
		.ktoa = csb ? &block->ktoa : NULL,
		.place = { ring, block, in->slots, &region->view },
		.call = RP_CALL_NONE,
	};
	if (dir == NETMAP_DIR_TX && !(r->ep.batch = calloc(1, sizeof(*r->ep.batch)))) {
		free(r);
		return NULL;
	}
	if (!in->resumed)
		rp_ring_state_reset(state, 0, 0);
	return &r->ep;
}

void rp_front_rings_csb(struct rp_endpoint *ep, struct nm_csb_atok *atok, struct nm_csb_ktoa *ktoa)
{
	struct front_ring *r = of(ep);

	r->atok = atok ? atok : &r->place.csb->atok;
	r->ktoa = ktoa ? ktoa : &r->place.csb->ktoa;
	r->k.head = &r->atok->head;
}

/* Begin with a ring whose slots from @at to @tail are its user's, who has not read them yet. */
static void begin(struct front_ring *r, uint32_t at, uint32_t tail)
{
	struct rp_endpoint *ep = &r->ep;

	if (ep->batch && ep->batch->held) {
		rp_drop(ep, RP_DROP_RESET, ep->batch->held);
		ep->batch->held = 0;
	}
	rp_ring_state_reset(ep->state, tail, tail);
	ep->state->released = r->released = at;
	ep->awaited = 0;
}

/* Its user goes on from its head, and may be about to read up to the tail that it was shown. */
static void begin_at_head(struct front_ring *r)
{
	const uint32_t head = rp_load_acquire(&r->atok->head);
	const uint32_t at = head < r->k.slots ? head : 0;
	uint32_t tail = at;

	if (r->ep.dir == NETMAP_DIR_RX) {
		tail = rp_load(&r->ktoa->hwtail);
		tail = tail < r->k.slots ? tail : at;
	}
	begin(r, at, tail);
}

void rp_front_rings_begin(struct rp_endpoint *ep, enum rp_begin how)
{
	struct front_ring *r = of(ep);
	const struct rp_ring_state *st = ep->state;

	if (how == RP_BEGIN_NEW) {
		begin(r, 0, 0);
		rp_store(&r->atok->head, 0);
		rp_store(&r->atok->cur, 0);
		rp_store(&r->atok->appl_need_kick, 1);
		rp_store(&r->atok->sync_flags, 1);
	} else if (how == RP_BEGIN_AT_HEAD) {
		begin_at_head(r);
	}
	rp_store(&r->ktoa->kern_need_kick, 1);
	show(r, st->released,
	     ep->dir == NETMAP_DIR_TX ? rp_kring_prev(&r->k, st->published) : st->published);
}

void rp_front_rings_resume(struct rp_endpoint *ep)
{
	struct front_ring *r = of(ep);
	struct rp_ring_state *st = ep->state;

	if (ep->port->ops->links && ep->port->worker < 0)
		return; /* an end of a pipe: the ends go on by themselves, and did meanwhile */
	if (ep->dir == NETMAP_DIR_TX) {
		const uint32_t lost = rp_kring_distance(&r->k, st->published, st->pulled);

		rp_count(&ep->count->frames, lost);
		rp_drop(ep, RP_DROP_RESTART, lost);
		rp_ring_state_reset(st, st->pulled, st->pulled);
		if (!r->ktoa)
			return;
		show(r, st->pulled, rp_kring_prev(&r->k, st->pulled));
	} else {
		/* What was reserved and not published never was: its sender counts it. */
		const uint32_t released = st->released;

		rp_ring_state_reset(st, st->published, st->published);
		st->released = r->released = released;
		if (r->ktoa)
			show(r, released, st->published);
	}
}

void rp_front_rings_restart(struct rp_endpoint *ep)
{
	rp_ring_state_reset(ep->state, 0, 0);
	of(ep)->released = 0;
	ep->awaited = 0;
}

void rp_front_rings_offsets(struct rp_endpoint *ep, uint64_t mask, uint32_t max, uint32_t initial)
{
	struct rp_kring *k = &of(ep)->k;

	k->offset_mask = mask;
	k->max_offset = max;
	k->ring->offset_mask = mask;
	for (uint32_t i = 0; i < k->slots; i++)
		k->ring->slot[i].ptr = initial;
}

uint32_t rp_front_rings_slot_bytes(const struct rp_endpoint *ep)
{
	return slot_bytes(&((const struct front_ring *)ep)->k);
}

void rp_front_rings_header(struct rp_endpoint *ep)
{
	struct rp_batch *b = ep->batch;

	ep->ops = ep->port->net_header ? &headed_ops : &plain_ops;
	if (!b)
		return;
	if (b->held) {
		rp_drop(ep, RP_DROP_RESET, b->held);
		b->held = 0;
		rings_complete(ep);
	}
	memset(b->frame, 0, sizeof(b->frame));
}

int rp_front_rings_call(struct rp_endpoint *ep, int fd, struct rp_err *err)
{
	return rp_call_open(&of(ep)->call, fd, err);
}

int rp_front_rings_set_call(struct rp_endpoint *ep, int fd, rp_call_t *old, struct rp_err *err)
{
	struct front_ring *r = of(ep);
	rp_call_t call;
	int ret = rp_call_open(&call, fd, err);

	if (ret < 0)
		return ret;
	*old = r->call;
	rp_store(&r->call, call);
	return 0;
}
