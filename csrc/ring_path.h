/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Frames out of the slots of a netmap ring, and room for frames in them.
 *
 * To be included where HEADER(ring) says how many bytes of virtio-net header are
 * before each frame. Rings whose frames have none are compiled apart from the
 * others: they don't even ask.
 *
 *   | net header | frame ... |    | ... frame |      one slot, or several (NS_MOREFRAG)
 *
 * Security: a header is copied before it is checked, and only the copy is used.
 */
#include <string.h>

#include "ring_end.h"
#include "vnet.h"

/* Copy the header at @at of a frame of @len bytes. False: it breaks a rule. */
static inline bool read_header(const struct front_ring *r, const uint8_t *at, uint32_t len,
			       struct virtio_net_hdr *vnet)
{
	memcpy(vnet, at, sizeof(*vnet));
	return rp_vnet_check(vnet, r->ep.port->features, len);
}

/* Cut the header off the front of a frame. Return: why it can't be taken, or RP_DROP_REASONS */
static enum rp_drop cut_header(const struct front_ring *r, struct rp_seg *first, struct rp_frame *f)
{
	const uint32_t n = HEADER(r);

	if (first->len < n || !read_header(r, first->addr, f->len, &f->vnet))
		return RP_DROP_HEADER;
	first->addr += n;
	first->len -= n;
	if (first->len == 0) {
		f->seg++;
		f->nseg--;
	}
	return RP_DROP_REASONS;
}

/* Why a frame, as taken from its slots, can't be sent, or RP_DROP_REASONS. */
static enum rp_drop refusal(const struct front_ring *r, struct rp_seg *first, struct rp_frame *f,
			    bool too_many)
{
	const uint32_t header = HEADER(r);

	if (too_many)
		return RP_DROP_FRAGS;
	if (f->len < header + RP_ETH_MIN)
		return RP_DROP_SHORT;
	f->len -= header;
	if (f->len > RP_FRAME_MAX)
		return RP_DROP_MTU;
	return header ? cut_header(r, first, f) : RP_DROP_REASONS;
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
			rp_port_break(r->ep.port, RP_RINGS_OFFSET);
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
	why = refusal(r, &b->seg[f.seg], &f, too_many);
	if (why != RP_DROP_REASONS) {
		rp_refuse(&r->ep, why);
		return pos;
	}
	b->nsegs = f.seg + f.nseg;
	b->bytes += f.len;
	b->frame[b->nframes++] = f;
	return pos;
}

/*
 * Take frames of one slot, as nearly all are, up to the ring's end at most; none
 * that is to be cut into segments. Return: the first slot that is not such a
 * frame, or @head.
 */
static uint32_t take_plain(const struct front_ring *r, struct rp_batch *b, uint32_t pos,
			   uint32_t head)
{
	const struct rp_kring k = r->k; /* what the compiler may keep in registers */
	const uint32_t header = HEADER(r), least = header + RP_ETH_MIN;
	const uint32_t full = (RP_BATCH_BYTES - b->bytes + k.buf_bytes - 1) / k.buf_bytes;
	const uint32_t most =
		rp_min(rp_min(RP_BATCH - b->nframes, full), (head > pos ? head : k.slots) - pos);
	const struct netmap_slot *slot = &k.ring->slot[pos];
	struct rp_frame *frame = &b->frame[b->nframes];
	struct rp_seg *seg = &b->seg[b->nsegs];
	uint32_t bytes = 0, n;

	for (n = 0; n < most; n++) {
		uint32_t len = rp_load(&slot[n].len), buf_idx = rp_load(&slot[n].buf_idx);

		if (!rp_kring_has(&k, buf_idx) || len - least > k.buf_bytes - least ||
		    (rp_load(&slot[n].flags) & NS_MOREFRAG))
			break;
		seg[n].addr = rp_kring_buf(&k, buf_idx) + header;
		len -= header;
		if (header) {
			if (!read_header(r, seg[n].addr - header, len, &frame[n].vnet) ||
			    frame[n].vnet.gso_type)
				break;
			frame[n].segment = 0;
		}
		seg[n].len = len;
		/* Without a header it is zero: nobody writes one into this batch. */
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

/* What it costs to cut the frame @first, if it is there, beside its bytes. */
static uint32_t cutting(uint32_t header, const struct rp_batch *b, unsigned first)
{
	if (!header || first == b->nframes)
		return 0;
	return rp_frame_weight(&b->frame[first]) - b->frame[first].len;
}

static unsigned pull(struct rp_endpoint *ep)
{
	struct front_ring *r = of(ep);
	struct rp_batch *b = ep->batch;
	uint32_t start = ep->state->reserved, pos = start, head, weight = 0;

	b->nframes = b->nsegs = b->held = 0;
	b->bytes = 0;
	if (!rp_kring_head(&r->k, pos, rp_kring_prev(&r->k, pos), &head)) {
		rp_port_break(ep->port, "a tx ring's head is outside the slots that its user owns");
		return 0;
	}
	while (pos != head && b->nframes < RP_BATCH && b->bytes + weight < RP_BATCH_BYTES &&
	       b->nsegs + RP_BATCH + NETMAP_MAX_FRAGS <= RP_BATCH_SEGS) {
		unsigned plain;

		if (!r->k.offset_mask)
			pos = take_plain(r, b, pos, head);
		plain = b->nframes;
		if (pos != head && b->nframes < RP_BATCH && b->bytes < RP_BATCH_BYTES)
			pos = take_frame(r, b, pos, head);
		weight += cutting(HEADER(r), b, plain);
	}
	b->next_pos = pos;
	/* Before a frame goes out: whoever finds this batch unfinished must not send it again. */
	rp_store(&ep->state->pulled, pos);
	return rp_kring_distance(&r->k, start, pos);
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
			rp_port_break(p, RP_RINGS_OFFSET);
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

	return fit == RP_FIT_AS_IT_IS && f->len + HEADER(r) > slots * slot_bytes(&r->k) ?
		       RP_FIT_TOO_LONG :
		       fit;
}

static bool takes(const struct front_ring *r, const struct rp_frame *f)
{
	return rp_port_fit(r->ep.port, f) == RP_FIT_AS_IT_IS;
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
	const uint32_t header = HEADER(r);
	const uint32_t longest = rp_min(k.buf_bytes - header, rp_load(&r->ep.port->longest));
	uint32_t most = rp_min(rp_min(n, *room), rp_min(k.slots - *pos, RP_LEASE_SEGS - l->nsegs));
	struct netmap_slot *slot = &k.ring->slot[*pos];
	struct rp_slice *slice = &l->slice[l->n];
	struct rp_seg *seg = &l->seg[l->nsegs];
	uint64_t bytes = 0;
	unsigned i;

	for (i = 0; i < most; i++) {
		const struct rp_frame *f = &b->frame[order[i]];
		uint32_t buf_idx = rp_load(&slot[i].buf_idx);

		if (!rp_kring_has(&k, buf_idx) || f->len > longest ||
		    ((f->vnet.flags || f->vnet.gso_type) && !(header && takes(r, f))))
			break;
		rp_store(&slot[i].len, (uint16_t)(f->len + header));
		rp_store(&slot[i].flags, 0);
		slice[i] = (struct rp_slice){ order[i], (uint16_t)(l->nsegs + i), 1, 0, f->len };
		seg[i].addr = rp_kring_buf(&k, buf_idx);
		seg[i].len = f->len + header;
		bytes += f->len;
	}
	l->n += (uint16_t)i;
	l->nsegs += (uint16_t)i;
	l->bytes += bytes;
	*pos = rp_kring_add(&k, *pos, i);
	*room -= i;
	return i;
}

/* Reserve room for @order[0..n) from slot *@pos on; see rp_endpoint_ops.lease. */
static unsigned reserve(struct front_ring *r, struct rp_lease *l, struct rp_endpoint *from,
			const struct rp_batch *b, const uint16_t *order, unsigned n, uint32_t *pos)
{
	const struct rp_kring *k = &r->k;
	const uint32_t header = HEADER(r);
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
		slots = how == RP_FIT_OFFLOAD ? 1 : slots_for(k, f->len + header);
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
		if (!take_room(r->ep.port, k, l, f->len + header, pos))
			break;
		room -= slots;
		l->bytes += f->len;
		l->n++;
		i++;
	}
	return i;
}

/* Write the virtio-net headers of a lease's frames: their room begins behind them. */
static void write_headers(struct rp_lease *l, const struct rp_batch *b, uint32_t n)
{
	struct virtio_net_hdr_mrg_rxbuf header = { .num_buffers = 1 }; /* none is merged */

	for (unsigned i = 0; i < l->n; i++) {
		struct rp_seg *first = &l->seg[l->slice[i].seg];

		header.hdr = b->frame[l->slice[i].frame].vnet;
		memcpy(first->addr, &header, n);
		first->addr += n;
		first->len -= n;
	}
}

static unsigned lease(struct rp_endpoint *ep, struct rp_lease *l, struct rp_endpoint *from,
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
	if (HEADER(of(ep)))
		write_headers(l, b, HEADER(of(ep)));
	return done;
}
