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

#include "call.h"
#include "kring.h"
#include "pipe.h"
#include "zcopy.h"

struct front_ring {
	struct rp_endpoint ep;
	struct rp_kring k;
	struct rp_csb *csb;	  /* NULL: none */
	struct rp_csb_ring place; /* as its region has it */
	rp_call_t call;
	uint32_t released; /* rx, under the lock: state->released, as last read */
};

static const char OFFSET[] = "a slot's offset is larger than its user agreed to";
static const char OUTSIDE[] = "an rx ring's head is outside the slots that its user owns";

static struct front_ring *of(struct rp_endpoint *ep)
{
	return (struct front_ring *)ep; /* ep is its first member */
}

/* Tell the user how far the ring went. In this order it never sees hwtail newer than hwcur. */
static void show(struct front_ring *r, uint32_t hwcur, uint32_t hwtail)
{
	rp_store(&r->csb->ktoa.hwcur, hwcur);
	rp_store_release(&r->csb->ktoa.hwtail, hwtail);
}

/* After show(): does its user sleep, or is it about to? Pairs with the fence between arm and recheck. */
static bool wants_call(const struct front_ring *r)
{
	rp_fence_full();
	return rp_load(&r->csb->atok.appl_need_kick);
}

/* Why a frame can't be taken, or RP_DROP_REASONS. */
static enum rp_drop refusal(const struct rp_frame *f, bool too_many)
{
	if (too_many)
		return RP_DROP_FRAGS;
	if (f->len < RP_ETH_MIN)
		return RP_DROP_SHORT;
	return f->len > RP_FRAME_MAX ? RP_DROP_MTU : RP_DROP_REASONS;
}

/* Take the slots of one frame, from @pos on. Return: the slot behind them, or @head if it broke. */
static uint32_t take_frame(struct front_ring *r, struct rp_batch *b, uint32_t pos, uint32_t head)
{
	const struct rp_kring *k = &r->k;
	struct rp_frame f = { .seg = b->nsegs };
	bool too_many = false, more = true;
	enum rp_drop why;

	while (more && pos != head) {
		const struct netmap_slot *s = &k->ring->slot[pos];
		uint32_t len = rp_load(&s->len);
		uint32_t buf_idx = rp_load(&s->buf_idx), offset;

		more = rp_load(&s->flags) & NS_MOREFRAG;
		pos = rp_kring_next(k, pos);
		if (!rp_kring_offset(k, s, &offset)) {
			rp_port_break(r->ep.port, OFFSET);
			return head;
		}
		if (!rp_kring_has(k, buf_idx) || len > k->buf_bytes - offset) {
			rp_port_break(r->ep.port,
				      len > k->buf_bytes - offset ?
					      "a tx slot's length exceeds its buffer" :
					      "a tx slot's buffer index is not in the region");
			return head;
		}
		too_many |= f.nseg == NETMAP_MAX_FRAGS;
		if (too_many)
			continue;
		b->seg[b->nsegs + f.nseg++] =
			(struct rp_seg){ .addr = rp_kring_buf(k, buf_idx) + offset, .len = len };
		f.len += len;
	}
	why = refusal(&f, too_many);
	if (why != RP_DROP_REASONS) {
		rp_refuse(&r->ep, why);
		return pos;
	}
	b->nsegs += f.nseg;
	b->bytes += f.len;
	b->frame[b->nframes++] = f;
	return pos;
}

/*
 * Take frames of one slot, as nearly all are, up to the ring's end at most.
 * Return: the first slot that is not such a frame, or @head.
 */
static uint32_t take_plain(const struct rp_kring *ring, struct rp_batch *b, uint32_t pos,
			   uint32_t head)
{
	const struct rp_kring k = *ring; /* what the compiler may keep in registers */
	const uint32_t full = (RP_BATCH_BYTES - b->bytes + k.buf_bytes - 1) / k.buf_bytes;
	const uint32_t most =
		rp_min(rp_min(RP_BATCH - b->nframes, full), (head > pos ? head : k.slots) - pos);
	const struct netmap_slot *slot = &k.ring->slot[pos];
	struct rp_frame *frame = &b->frame[b->nframes];
	struct rp_seg *seg = &b->seg[b->nsegs];
	uint32_t bytes = 0, n;

	for (n = 0; n < most; n++) {
		uint32_t len = rp_load(&slot[n].len), buf_idx = rp_load(&slot[n].buf_idx);

		if (!rp_kring_has(&k, buf_idx) || len - RP_ETH_MIN > k.buf_bytes - RP_ETH_MIN ||
		    (rp_load(&slot[n].flags) & NS_MOREFRAG))
			break;
		seg[n].addr = rp_kring_buf(&k, buf_idx);
		seg[n].len = len;
		/* Its virtio-net header is zero: nobody ever writes one into this batch. */
		frame[n].len = len;
		frame[n].seg = (uint16_t)(b->nsegs + n);
		frame[n].nseg = 1;
		bytes += len;
	}
	b->nframes += (uint16_t)n;
	b->nsegs += (uint16_t)n;
	b->bytes += bytes;
	return rp_kring_add(&k, pos, n);
}

static unsigned rings_pull(struct rp_endpoint *ep)
{
	struct front_ring *r = of(ep);
	struct rp_batch *b = ep->batch;
	uint32_t start = ep->state->reserved, pos = start, head;

	b->nframes = b->nsegs = b->held = 0;
	b->bytes = 0;
	if (!rp_kring_head(&r->k, pos, rp_kring_prev(&r->k, pos), &head)) {
		rp_port_break(ep->port, "a tx ring's head is outside the slots that its user owns");
		return 0;
	}
	while (pos != head && b->nframes < RP_BATCH && b->bytes < RP_BATCH_BYTES &&
	       b->nsegs + RP_BATCH + NETMAP_MAX_FRAGS <= RP_BATCH_SEGS) {
		if (!r->k.offset_mask)
			pos = take_plain(&r->k, b, pos, head);
		if (pos != head && b->nframes < RP_BATCH && b->bytes < RP_BATCH_BYTES)
			pos = take_frame(r, b, pos, head);
	}
	b->next_pos = pos;
	/* Before a frame goes out: whoever finds this batch unfinished must not send it again. */
	rp_store(&ep->state->pulled, pos);
	return rp_kring_distance(&r->k, start, pos);
}

static void rings_complete(struct rp_endpoint *ep)
{
	struct front_ring *r = of(ep);
	uint32_t pos = ep->batch->next_pos;
	uint32_t taken = rp_kring_distance(&r->k, ep->state->published, pos);

	if (__builtin_expect(rp_load(&ep->port->shown), 0))
		rp_zcopy_give(&r->place, ep->state->published, taken, RP_ZCOPY_TRIES_BACKEND);
	ep->state->reserved = ep->state->published = pos;
	if (!r->csb) {
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
	if (of(ep)->csb)
		rp_store(&of(ep)->csb->ktoa.kern_need_kick, 1);
}

static void rings_disarm(struct rp_endpoint *ep)
{
	if (of(ep)->csb)
		rp_store(&of(ep)->csb->ktoa.kern_need_kick, 0);
}

/* Bytes that every slot has room for, whatever offset its user chose. */
static uint32_t slot_bytes(const struct rp_kring *k)
{
	return k->buf_bytes - k->max_offset;
}

static uint32_t slots_for(const struct rp_kring *k, uint32_t len)
{
	return (len + slot_bytes(k) - 1) / slot_bytes(k);
}

/* Take the slots for one frame, from *@pos on. False: the port broke. */
static bool take_room(struct rp_port *p, const struct rp_kring *k, struct rp_lease *l,
		      uint32_t left, uint32_t *pos)
{
	const uint32_t fragments = slots_for(k, left);
	const uint16_t fragment_flags =
		fragments > 1 ? (uint16_t)(fragments << NS_RFRAGS_SHIFT) : 0;
	struct rp_slice *slice = &l->slice[l->n];
	uint32_t at = *pos;

	while (left) {
		struct netmap_slot *s = &k->ring->slot[at];
		uint32_t buf_idx = rp_load(&s->buf_idx);
		uint32_t n = left < slot_bytes(k) ? left : slot_bytes(k), offset;

		if (!rp_kring_offset(k, s, &offset)) {
			rp_port_break(p, OFFSET);
			return false;
		}
		if (!rp_kring_has(k, buf_idx)) {
			rp_port_break(p, "an rx slot's buffer index is not in the region");
			return false;
		}
		left -= n;
		rp_store(&s->len, (uint16_t)n);
		rp_store(&s->flags, fragment_flags | (left ? NS_MOREFRAG : 0));
		l->seg[l->nsegs++] =
			(struct rp_seg){ .addr = rp_kring_buf(k, buf_idx) + offset, .len = n };
		slice->nseg++;
		at = rp_kring_next(k, at);
	}
	*pos = at;
	return true;
}

/* Can a frame go into this ring at all, and how? */
static enum rp_fit fit(const struct front_ring *r, const struct rp_frame *f)
{
	const uint64_t slots = rp_min(NETMAP_MAX_FRAGS, r->k.slots - 1);
	enum rp_fit fit = rp_port_fit(r->ep.port, f);

	return fit == RP_FIT_AS_IT_IS && f->len > slots * slot_bytes(&r->k) ? RP_FIT_TOO_LONG : fit;
}

/*
 * Reserve one slot each for the frames that need no more, as nearly all do, up
 * to the ring's end at most. Return: how many of @order; the next one needs a
 * closer look.
 */
static unsigned reserve_plain(const struct front_ring *r, struct rp_lease *l,
			      const struct rp_batch *b, const uint16_t *order, unsigned n,
			      uint32_t *pos, uint32_t *room)
{
	const struct rp_kring k = r->k; /* what the compiler may keep in registers */
	const uint32_t longest = rp_min(k.buf_bytes, rp_load(&r->ep.port->longest));
	uint32_t most = rp_min(rp_min(n, *room), rp_min(k.slots - *pos, RP_LEASE_SEGS - l->nsegs));
	struct netmap_slot *slot = &k.ring->slot[*pos];
	struct rp_slice *slice = &l->slice[l->n];
	struct rp_seg *seg = &l->seg[l->nsegs];
	uint64_t bytes = 0;
	unsigned i;

	for (i = 0; i < most; i++) {
		const struct rp_frame *f = &b->frame[order[i]];
		uint32_t buf_idx = rp_load(&slot[i].buf_idx);

		if (!rp_kring_has(&k, buf_idx) || f->len > longest || f->vnet.flags ||
		    f->vnet.gso_type)
			break;
		rp_store(&slot[i].len, (uint16_t)f->len);
		rp_store(&slot[i].flags, 0);
		slice[i] = (struct rp_slice){ order[i], (uint16_t)(l->nsegs + i), 1, 0, f->len };
		seg[i].addr = rp_kring_buf(&k, buf_idx);
		seg[i].len = f->len;
		bytes += f->len;
	}
	l->n += (uint16_t)i;
	l->nsegs += (uint16_t)i;
	l->bytes += bytes;
	*pos = rp_kring_add(&k, *pos, i);
	*room -= i;
	return i;
}

/* What the user gave back. With a CSB nobody syncs for it: look there. */
static uint32_t released(struct front_ring *r)
{
	struct rp_ring_state *st = r->ep.state;
	uint32_t head;

	if (!r->csb)
		return rp_load_acquire(&st->released);
	if (rp_kring_head(&r->k, st->released, st->published, &head))
		st->released = head;
	else
		rp_port_break(r->ep.port, OUTSIDE);
	return st->released;
}

/* Free slots from @pos on. Only for want of @want is the receiver's cache line fetched. */
static uint32_t room_at(struct front_ring *r, uint32_t pos, uint32_t want)
{
	uint32_t room = r->k.slots - 1 - rp_kring_distance(&r->k, r->released, pos);

	if (room < want) {
		r->released = released(r);
		room = r->k.slots - 1 - rp_kring_distance(&r->k, r->released, pos);
	}
	return room;
}

/* Reserve room for @order[0..n) from slot *@pos on; see rp_endpoint_ops.lease. */
static unsigned reserve(struct front_ring *r, struct rp_lease *l, struct rp_endpoint *from,
			const struct rp_batch *b, const uint16_t *order, unsigned n, uint32_t *pos)
{
	const struct rp_kring *k = &r->k;
	uint32_t room = room_at(r, *pos, n);
	unsigned i = 0;

	for (;;) {
		const struct rp_frame *f;
		enum rp_fit how;
		uint32_t slots;

		if (!k->offset_mask)
			i += reserve_plain(r, l, b, order + i, n - i, pos, &room);
		if (i == n)
			break;
		f = &b->frame[order[i]];
		how = fit(r, f);
		if (how == RP_FIT_TOO_LONG) {
			rp_drop(from, RP_DROP_MTU, 1);
			i++;
			continue;
		}
		slots = how == RP_FIT_OFFLOAD ? 1 : slots_for(k, f->len);
		room = room_at(r, *pos, slots);
		if (slots > room)
			l->stopped = RP_LEASE_FULL;
		else if (how == RP_FIT_OFFLOAD)
			l->stopped = RP_LEASE_OFFLOAD;
		else if (l->nsegs + slots > RP_LEASE_SEGS)
			l->stopped = RP_LEASE_PIECES;
		if (l->stopped != RP_LEASE_ALL)
			break;
		l->slice[l->n] =
			(struct rp_slice){ .frame = order[i], .seg = l->nsegs, .len = f->len };
		if (!take_room(r->ep.port, k, l, f->len, pos))
			break;
		room -= slots;
		l->bytes += f->len;
		l->n++;
		i++;
	}
	return i;
}

static unsigned rings_lease(struct rp_endpoint *ep, struct rp_lease *l, struct rp_endpoint *from,
			    const struct rp_batch *b, const uint16_t *order, unsigned n)
{
	struct rp_ring_state *st = ep->state;
	unsigned done = 0;
	uint32_t pos;

	l->n = l->nsegs = 0;
	l->bytes = 0;
	rp_lock_take(&ep->lock);
	l->stopped = rp_lease_room(st) ? RP_LEASE_ALL : RP_LEASE_FULL;
	l->first = pos = st->reserved;
	if (l->stopped == RP_LEASE_ALL)
		done = reserve(of(ep), l, from, b, order, n, &pos);
	l->open = l->n > 0;
	if (l->open) {
		st->reserved = pos;
		l->ticket = rp_lease_open(st, pos);
		rp_endpoint_room(ep);
	}
	rp_lock_release(&ep->lock);
	return done;
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
	if (rp_lease_close(ep->state, l->ticket) && r->csb) {
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

	if (r->csb) {
		struct rp_csb_ring tx;
		const bool pipe =
			rp_csb_ring_open(&tx, &ep->port->region->view, rp_load(&r->csb->peer)) &&
			tx.slots == r->place.slots;

		if (rp_pipe_rxsync(&r->place, pipe ? &tx : NULL) >= 0)
			return 0;
		rp_port_break(ep->port, OUTSIDE);
		return -1;
	}
	if (!rp_kring_head(&r->k, st->released, st->shown, &head)) {
		rp_port_break(ep->port, OUTSIDE);
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

static const struct rp_endpoint_ops rings_ops = {
	.pull = rings_pull,
	.complete = rings_complete,
	.pending = rings_pending,
	.arm = rings_arm,
	.disarm = rings_disarm,
	.lease = rings_lease,
	.room = rings_room,
	.mark = rings_mark,
	.lost = rings_lost,
	.publish = rings_publish,
	.notify = rings_notify,
	.sync = rings_rxsync,
	.free = rings_free,
};

struct rp_endpoint *rp_front_rings_new(struct rp_port *p, int dir, uint32_t i,
				       const struct rp_region_ring *in, bool csb,
				       struct rp_ring_state *state)
{
	const struct rp_region *region = p->region;
	struct netmap_ring *ring = rp_region_ring_at(region, in->obj);
	struct rp_csb *block = csb ? rp_region_csb_at(region, in->csb) : NULL;
	struct front_ring *r = aligned_alloc(64, (sizeof(*r) + 63) / 64 * 64);

	if (!r)
		return NULL;
	*r = (struct front_ring){
		.ep = { .ops = &rings_ops,
			.port = p,
			.state = state,
			.live = !csb || p->ops->links,
			.ring = (uint16_t)i,
			.dir = (uint16_t)dir },
		.k = { .ring = ring,
		       .head = block ? &block->atok.head : &ring->head,
		       .bufs = rp_region_bufs(region),
		       .slots = in->slots,
		       .buf_bytes = region->bufs.objsize,
		       .buf_count = region->bufs.total },
		.csb = block,
		.place = { ring, rp_region_csb_at(region, in->csb), in->slots, &region->view },
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
		if (!r->csb)
			return;
		show(r, st->pulled, rp_kring_prev(&r->k, st->pulled));
	} else {
		/* What was reserved and not published never was: its sender counts it. */
		const uint32_t released = st->released;

		rp_ring_state_reset(st, st->published, st->published);
		st->released = r->released = released;
		if (r->csb)
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
