/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: The vhost-user front end: endpoints on virtqueues in guest memory.
 *
 * Security: rings, descriptors and buffers are the guest's to write at any
 * time. virtq.c reads each word once and bounds it; a chain that breaks a rule
 * breaks this port. The virtio-net header is copied before it is checked.
 *
 * A transmit chain                    A receive chain, mergeable or not
 *   | net header | frame ....... |      | net header | room ... |  | room ... |
 * in any division into descriptors    one chain, or as many as the frame needs
 */
#include "front_vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "err.h"
#include "virtq.h"
#include "vnet.h"

struct front_vhost {
	struct rp_endpoint ep;
	struct rp_virtq q;
	struct rp_vring_config cfg;
	uint32_t net_header; /* bytes */
	bool mergeable;
	bool started;
	bool resumed;  /* it had moved frames before it was started */
	uint32_t base; /* where it was stopped */
	int kick_fd;
	rp_call_t call; /* may change while the ring is live */
};

static struct front_vhost *of(struct rp_endpoint *ep)
{
	return (struct front_vhost *)ep; /* ep is its first member */
}

static const struct front_vhost *of_const(const struct rp_endpoint *ep)
{
	return (const struct front_vhost *)ep;
}

uint64_t rp_front_vhost_features(void)
{
	return RP_VNET_FEATURES | RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
	       RP_FEATURE(VIRTIO_F_ANY_LAYOUT) | RP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
	       RP_FEATURE(VIRTIO_RING_F_EVENT_IDX) | RP_FEATURE(VIRTIO_F_VERSION_1) |
	       RP_FEATURE(VIRTIO_F_RING_PACKED) | RP_FEATURE(VIRTIO_F_IN_ORDER);
}

static void break_port(struct front_vhost *v)
{
	char text[sizeof(v->ep.port->reason)];

	snprintf(text, sizeof(text), "%s virtqueue %u: %s",
		 v->ep.dir == NETMAP_DIR_TX ? "transmit" : "receive", v->ep.ring, v->q.broken);
	rp_port_break(v->ep.port, text);
}

/* Cut @n bytes at most off the front of a piece list. Return: how many; @at: where they are */
static uint32_t cut_front(struct rp_seg **seg, uint16_t *nseg, uint32_t n, uint8_t **at)
{
	struct rp_seg *s = *seg;
	uint32_t part = s->len < n ? s->len : n;

	*at = s->addr;
	s->addr += part;
	s->len -= part;
	if (s->len == 0 && *nseg > 1) {
		++*seg;
		--*nseg;
	}
	return part;
}

static void skip_front(struct rp_seg *s, uint32_t n)
{
	s->addr += n;
	s->len -= n;
}

/* Cut the header, @n bytes, off the front of a transmit chain. */
static inline struct virtio_net_hdr read_header(struct rp_seg **seg, uint16_t *nseg, uint32_t n)
{
	struct virtio_net_hdr_mrg_rxbuf header;
	uint8_t *at;

	if ((*seg)->len > n) {
		memcpy(&header.hdr, (*seg)->addr, sizeof(header.hdr));
		skip_front(*seg, n);
	} else {
		for (uint32_t done = 0, part; done < n; done += part) {
			part = cut_front(seg, nseg, n - done, &at);
			memcpy((uint8_t *)&header + done, at, part);
		}
	}
	return header.hdr;
}

/* Put the header into the front of a frame's receive buffers, which lie in @mem. */
static inline void write_header(struct front_vhost *v, const struct rp_guestmem *mem,
				struct rp_seg **seg, uint16_t *nseg,
				const struct virtio_net_hdr *vnet, uint16_t buffers)
{
	const struct virtio_net_hdr_mrg_rxbuf header = { .hdr = *vnet, .num_buffers = buffers };
	const struct rp_dirty *log = rp_load_acquire(&v->ep.port->log);
	const uint32_t n = v->net_header;
	uint32_t hint = 0;
	uint8_t *at;

	if ((*seg)->len > n && n == sizeof(header) && !log) {
		memcpy((*seg)->addr, &header, sizeof(header));
		skip_front(*seg, n);
		return;
	}
	for (uint32_t done = 0, part; done < n; done += part) {
		part = cut_front(seg, nseg, n - done, &at);
		memcpy(at, (const uint8_t *)&header + done, part);
		if (log)
			rp_dirty_mark(log, rp_guestmem_addr(mem, &hint, at), part);
	}
}

/* Make a frame of a transmit chain. False: it is malformed, and counted. */
static inline bool make_frame(struct front_vhost *v, const struct rp_chain *chain,
			      struct rp_frame *f)
{
	struct rp_batch *b = v->ep.batch;
	struct rp_seg *seg = &b->seg[b->nsegs];
	uint16_t nseg = chain->nsegs;
	struct virtio_net_hdr header;

	if (chain->bytes < v->net_header + RP_ETH_MIN) {
		rp_refuse(&v->ep, RP_DROP_SHORT);
		return false;
	}
	if (chain->bytes - v->net_header > RP_FRAME_MAX) {
		rp_refuse(&v->ep, RP_DROP_MTU);
		return false;
	}
	header = read_header(&seg, &nseg, v->net_header);
	if (!rp_vnet_check(&header, v->ep.port->features, (uint32_t)chain->bytes - v->net_header)) {
		rp_refuse(&v->ep, RP_DROP_HEADER);
		return false;
	}
	*f = (struct rp_frame){
		.len = (uint32_t)chain->bytes - v->net_header,
		.seg = (uint16_t)(seg - b->seg),
		.nseg = nseg,
		.vnet = header,
	};
	return true;
}

static unsigned vhost_pull(struct rp_endpoint *ep)
{
	struct front_vhost *v = of(ep);
	struct rp_batch *b = ep->batch;
	uint16_t pos = (uint16_t)ep->state->reserved;
	const struct rp_guestmem *mem;
	uint32_t pieces = 0, weight = 0;
	struct rp_ahead ahead;

	b->nframes = b->nsegs = b->taken = b->held = 0;
	b->bytes = 0;
	ahead.at = ahead.n = 0;
	ahead.most = RP_BATCH;
	/* Read against the order of writing: pieces of an old table never count as of a new one. */
	b->mem_gen = rp_load_acquire(&ep->port->mem_gen);
	mem = rp_load_acquire(&ep->port->mem);
	/* Refused frames count, too: however many pieces a guest makes, others get their turn. */
	while (b->taken < RP_BATCH && pieces < RP_BATCH_SEGS && weight < RP_BATCH_BYTES) {
		struct rp_frame *f = &b->frame[b->nframes];
		struct rp_chain chain;
		enum rp_pop ret = rp_virtq_pop_ahead(&v->q, mem, pos, &ahead, &chain,
						     &b->seg[b->nsegs], RP_BATCH_SEGS - b->nsegs);

		if (ret == RP_POP_BROKEN)
			break_port(v);
		if (ret == RP_POP_NO_ROOM && b->nsegs == 0)
			rp_refuse(ep, RP_DROP_FRAGS); /* not even an empty batch has room */
		else if (ret != RP_POP_CHAIN)
			break;
		b->chain[b->taken++] = (struct rp_taken){ chain.id, chain.slots };
		pieces += chain.nsegs;
		pos += chain.slots;
		if (ret != RP_POP_CHAIN || !make_frame(v, &chain, f))
			continue;
		b->nsegs += chain.nsegs;
		b->bytes += f->len;
		weight += rp_frame_weight(f);
		b->nframes++;
	}
	ep->state->reserved = pos;
	return b->taken;
}

static void vhost_notify(struct rp_endpoint *ep)
{
	rp_call_make(rp_load(&of(ep)->call));
}

/* Write used entries for the batch's chains from @pos on. Return: the position behind them */
static uint16_t fill_taken(struct rp_virtq *q, const struct rp_batch *b, uint16_t pos)
{
	const uint16_t first = pos;

	for (uint16_t i = 0; i < b->taken; i++) {
		if (!q->in_order)
			rp_virtq_fill(q, pos, b->chain[i].id, b->chain[i].slots, 0);
		pos += b->chain[i].slots;
	}
	/* In order, one entry stands for all up to the chain that it names (VIRTIO 1.2, 2.7.9, 2.8.7). */
	if (q->in_order && pos != first)
		rp_virtq_fill(q, first, b->chain[b->taken - 1].id, (uint16_t)(pos - first), 0);
	return pos;
}

static void vhost_complete(struct rp_endpoint *ep)
{
	struct front_vhost *v = of(ep);
	struct rp_ring_state *st = ep->state;
	const uint16_t to = fill_taken(&v->q, ep->batch, (uint16_t)st->published);

	rp_virtq_flush(&v->q, to);
	st->published = to;
	if (ep->awaited || rp_virtq_notify(&v->q, (uint16_t)st->signalled, to))
		ep->awaited += ep->batch->taken;
	st->signalled = to;
	if (ep->awaited >= v->q.size / 2)
		rp_endpoint_call(ep);
}

static bool vhost_pending(struct rp_endpoint *ep)
{
	struct front_vhost *v = of(ep);

	return rp_virtq_ready(&v->q, (uint16_t)ep->state->reserved) || v->q.broken;
}

static void vhost_arm(struct rp_endpoint *ep)
{
	rp_virtq_arm(&of(ep)->q, (uint16_t)ep->state->reserved);
}

static void vhost_disarm(struct rp_endpoint *ep)
{
	rp_virtq_disarm(&of(ep)->q);
}

enum fit {
	FITS,
	FULL,	  /* not enough buffers */
	TOO_LONG, /* one buffer must take it, and can't */
	NO_PIECES /* the lease's list is full: go on with the next lease */
};

/* Where a lease goes on: the next chain to take, and the entry to use it with. */
struct cursor {
	uint16_t pos;
	uint16_t used;
	struct rp_ahead ahead;
};

/* Take one usual chain for one frame, as nearly all do. False: do what take_room() does. */
static inline bool take_usual(struct front_vhost *v, const struct rp_guestmem *mem,
			      struct rp_lease *l, const struct rp_frame *f, struct rp_slice *slice,
			      struct cursor *c)
{
	const uint32_t need = f->len + v->net_header;
	struct rp_ahead *ahead = &c->ahead;

	if (ahead->at == ahead->n)
		rp_virtq_look_ahead(&v->q, mem, c->pos, ahead);
	if (ahead->at == ahead->n || ahead->seg[ahead->at].len < need || l->nsegs == RP_LEASE_SEGS)
		return false;
	l->seg[l->nsegs++] = ahead->seg[ahead->at];
	rp_virtq_fill(&v->q, c->used++, ahead->id[ahead->at++], 1, need);
	c->pos++;
	slice->nseg = slice->chains = 1;
	return true;
}

/* Take the chains for one frame at @c; write their used entries. */
static enum fit take_room(struct front_vhost *v, const struct rp_guestmem *mem, struct rp_lease *l,
			  const struct rp_frame *f, struct rp_slice *slice, struct cursor *c)
{
	const uint64_t need = (uint64_t)f->len + v->net_header;
	struct rp_seg *seg = &l->seg[slice->seg];
	uint16_t nseg = 0, chains = 0, slots = 0;
	uint64_t room = 0;

	while (room < need) {
		struct rp_chain chain;
		uint64_t left = need - room;
		enum rp_pop ret = rp_virtq_pop_ahead(&v->q, mem, (uint16_t)(c->pos + slots),
						     &c->ahead, &chain, seg + nseg,
						     (uint32_t)(RP_LEASE_SEGS - slice->seg - nseg));

		if (ret == RP_POP_NO_ROOM && slice->seg == 0)
			v->q.broken = "receive buffers in more pieces than any frame needs";
		if (v->q.broken) {
			break_port(v);
			return FULL; /* not NO_PIECES: the next lease would get no further */
		}
		if (ret != RP_POP_CHAIN)
			return ret == RP_POP_NO_ROOM ? NO_PIECES : FULL;
		if (!v->mergeable && chain.bytes < need)
			return TOO_LONG;
		/* Not published yet: the driver sees nothing of a frame that does not fit after all. */
		rp_virtq_fill(&v->q, (uint16_t)(c->used + slots), chain.id, chain.slots,
			      (uint32_t)(chain.bytes < left ? chain.bytes : left));
		room += chain.bytes;
		nseg += chain.nsegs;
		slots += chain.slots;
		chains++;
	}
	l->nsegs = slice->seg + nseg;
	slice->nseg = nseg;
	slice->chains = chains;
	c->pos += slots;
	c->used += slots;
	return FITS;
}

/* Write the virtio-net headers of a lease's frames: their room begins behind them. */
static void write_headers(struct front_vhost *v, struct rp_lease *l, const struct rp_batch *b)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct rp_slice *slice = &l->slice[i];
		struct rp_seg *seg = &l->seg[slice->seg];

		write_header(v, l->mem, &seg, &slice->nseg, &b->frame[slice->frame].vnet,
			     slice->chains);
		slice->seg = (uint16_t)(seg - l->seg);
	}
}

/* Frames for segments and checksums are made only if there is room for one of them. */
static enum rp_lease_stop stop_for_offload(struct front_vhost *v, uint16_t pos)
{
	if (rp_virtq_ready(&v->q, pos))
		return RP_LEASE_OFFLOAD;
	if (v->q.broken)
		break_port(v);
	return RP_LEASE_FULL;
}

static unsigned vhost_lease(struct rp_endpoint *ep, struct rp_lease *l, struct rp_endpoint *from,
			    const struct rp_batch *b, const uint16_t *order, unsigned n)
{
	struct front_vhost *v = of(ep);
	const struct rp_guestmem *mem = rp_load_acquire(&ep->port->mem);
	const uint32_t longest = rp_load(&ep->port->longest);
	struct rp_ring_state *st = ep->state;
	struct cursor c;
	unsigned i;

	l->n = l->nsegs = 0;
	l->bytes = 0;
	l->mem = mem;
	rp_lock_take(&ep->lock);
	l->stopped = rp_lease_room(st) ? RP_LEASE_ALL : RP_LEASE_FULL;
	c.pos = (uint16_t)st->reserved;
	c.ahead.at = c.ahead.n = 0;
	c.ahead.most = n;
	/* Entries are used in the order in which they were made available. */
	c.used = (uint16_t)(st->lease_head == st->lease_tail ?
				    st->published :
				    st->lease[(st->lease_tail - 1) % RP_LEASES].end);
	for (i = 0; i < n && l->stopped == RP_LEASE_ALL; i++) {
		const struct rp_frame *f = &b->frame[order[i]];
		struct rp_slice *slice = &l->slice[l->n];
		enum rp_fit take = RP_FIT_AS_IT_IS;
		enum fit fit = TOO_LONG;

		if (f->len > longest || f->vnet.flags || f->vnet.gso_type)
			take = rp_port_fit(ep->port, f);
		if (take == RP_FIT_OFFLOAD) {
			l->stopped = stop_for_offload(v, c.pos);
			break;
		}
		*slice = (struct rp_slice){ .frame = order[i], .seg = l->nsegs, .len = f->len };
		if (take == RP_FIT_AS_IT_IS)
			fit = take_usual(v, mem, l, f, slice, &c) ?
				      FITS :
				      take_room(v, mem, l, f, slice, &c);
		if (fit == TOO_LONG) {
			rp_drop(from, RP_DROP_MTU, 1);
			if (take == RP_FIT_AS_IT_IS) /* a chain was popped, and stays */
				c.ahead.at = c.ahead.n = 0;
			continue;
		}
		if (fit != FITS) {
			l->stopped = fit == FULL ? RP_LEASE_FULL : RP_LEASE_PIECES;
			break;
		}
		l->bytes += f->len;
		l->n++;
	}
	l->open = l->n > 0;
	if (l->open) {
		st->reserved = c.pos;
		l->ticket = rp_lease_open(st, c.used);
		rp_endpoint_room(ep);
	}
	rp_lock_release(&ep->lock);
	write_headers(v, l, b);
	return i;
}

/* Mark the frames that were copied; used entries are marked when they are published. */
static void mark_frames(const struct rp_dirty *log, const struct rp_lease *l)
{
	uint32_t hint = 0;

	for (unsigned i = 0; i < l->n; i++) {
		const struct rp_slice *slice = &l->slice[i];
		const struct rp_seg *seg = &l->seg[slice->seg];

		for (uint32_t left = slice->len, n; left; left -= n, seg++) {
			n = seg->len < left ? seg->len : left;
			rp_dirty_mark(log, rp_guestmem_addr(l->mem, &hint, seg->addr), n);
		}
	}
}

static bool vhost_publish(struct rp_endpoint *ep, struct rp_lease *l)
{
	struct front_vhost *v = of(ep);
	struct rp_ring_state *st = ep->state;
	const struct rp_dirty *log = rp_load_acquire(&ep->port->log);
	bool call = false;

	if (log)
		mark_frames(log, l);
	rp_lock_take(&ep->lock);
	if (rp_lease_close(st, l->ticket)) {
		uint16_t to = (uint16_t)st->published;

		rp_virtq_flush(&v->q, to);
		call = rp_virtq_notify(&v->q, (uint16_t)st->signalled, to);
		st->signalled = to;
	}
	rp_count(&ep->count->frames, l->n);
	rp_count(&ep->count->bytes, l->bytes);
	rp_count(&ep->count->batches, 1);
	if (call)
		rp_count(&ep->count->calls, 1);
	rp_lock_release(&ep->lock);
	return call;
}

static void vhost_free(struct rp_endpoint *ep)
{
	if (of(ep)->started)
		rp_front_vhost_stop(ep);
	free(ep->batch);
	free(of(ep));
}

static const struct rp_endpoint_ops vhost_ops = {
	.pull = vhost_pull,
	.complete = vhost_complete,
	.pending = vhost_pending,
	.arm = vhost_arm,
	.disarm = vhost_disarm,
	.lease = vhost_lease,
	.publish = vhost_publish,
	.notify = vhost_notify,
	.free = vhost_free,
};

struct rp_endpoint *rp_front_vhost_new(struct rp_port *p, int dir, uint32_t i,
				       struct rp_ring_state *state)
{
	struct front_vhost *v = aligned_alloc(64, (sizeof(*v) + 63) / 64 * 64);

	if (!v)
		return NULL;
	*v = (struct front_vhost){
		.ep = { .ops = &vhost_ops,
			.port = p,
			.state = state,
			.ring = (uint16_t)i,
			.dir = (uint16_t)dir },
		.kick_fd = -1,
		.call = RP_CALL_NONE,
	};
	if (dir == NETMAP_DIR_TX && !(v->ep.batch = calloc(1, sizeof(*v->ep.batch)))) {
		free(v);
		return NULL;
	}
	rp_ring_state_reset(state, 0, 0);
	return &v->ep;
}

static int open_kick(struct front_vhost *v, int fd, struct rp_err *err)
{
	if (fd < 0)
		return 0;
	v->kick_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (v->kick_fd < 0)
		return rp_fail(err, EBADF, "kick descriptor %d: %s", fd, strerror(errno));
	return 0;
}

static void close_kick(struct front_vhost *v)
{
	if (v->kick_fd >= 0)
		close(v->kick_fd);
	v->kick_fd = -1;
}

/* A backend that was killed may have published without a call; one too many does no harm. */
static void call_resumed(struct front_vhost *v)
{
	if (v->resumed)
		rp_call_make(rp_load(&v->call));
}

int rp_front_vhost_start(struct rp_endpoint *ep, const struct rp_vring_config *cfg,
			 struct rp_err *err)
{
	struct front_vhost *v = of(ep);
	const uint64_t features = ep->port->features;
	int ret;

	if (v->started)
		return rp_fail(err, EBUSY, "the virtqueue runs already");
	ret = rp_virtq_open(&v->q, features, ep->dir == NETMAP_DIR_RX, ep->port->mem, cfg, err);
	if (ret < 0)
		return ret;
	if (open_kick(v, cfg->kick_fd, err) < 0 || rp_call_open(&v->call, cfg->call_fd, err) < 0) {
		close_kick(v);
		rp_virtq_close(&v->q);
		return -EBADF;
	}
	v->q.log = &ep->port->log;
	v->cfg = *cfg;
	v->mergeable = features & RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
	/* Before VERSION_1 the header had its last field only with mergeable buffers. */
	v->net_header = v->mergeable || (features & RP_FEATURE(VIRTIO_F_VERSION_1)) ?
				sizeof(struct virtio_net_hdr_mrg_rxbuf) :
				sizeof(struct virtio_net_hdr);
	rp_ring_state_reset(ep->state, v->q.packed ? v->q.used_pos : v->q.avail_idx, v->q.used_pos);
	ep->congestion = RP_FLOWING;
	ep->awaited = ep->empty_polls = 0;
	rp_virtq_disarm(&v->q);
	v->started = true;
	v->resumed = v->q.used_pos != 0;
	call_resumed(v);
	return 0;
}

int rp_front_vhost_remap(struct rp_endpoint *ep, const struct rp_guestmem *mem)
{
	struct rp_virtq moved = { .packed = of(ep)->q.packed };
	struct rp_err ignored;

	if (!of(ep)->started)
		return 0;
	if (rp_virtq_map(&moved, mem, &of(ep)->cfg, &ignored) < 0)
		return 1;
	return moved.desc != of(ep)->q.desc || moved.avail != of(ep)->q.avail ||
	       moved.used != of(ep)->q.used;
}

int rp_front_vhost_move(struct rp_endpoint *ep, const struct rp_guestmem *mem, struct rp_err *err)
{
	return rp_virtq_map(&of(ep)->q, mem, &of(ep)->cfg, err);
}

void rp_front_vhost_stop(struct rp_endpoint *ep)
{
	struct front_vhost *v = of(ep);

	if (ep->batch && ep->batch->held) {
		rp_drop(ep, RP_DROP_RESET, ep->batch->held);
		ep->batch->held = 0;
		vhost_complete(ep);
	}
	rp_endpoint_call(ep);
	close_kick(v);
	rp_call_close(v->call);
	v->call = RP_CALL_NONE;
	v->started = false;
	v->base = rp_virtq_base(&v->q, (uint16_t)ep->state->reserved);
	rp_virtq_close(&v->q);
}

uint32_t rp_front_vhost_base(const struct rp_endpoint *ep)
{
	return of_const(ep)->base;
}

bool rp_front_vhost_started(const struct rp_endpoint *ep)
{
	return of_const(ep)->started;
}

int rp_front_vhost_kick_fd(const struct rp_endpoint *ep)
{
	return of_const(ep)->kick_fd;
}

int rp_front_vhost_set_call(struct rp_endpoint *ep, int fd, rp_call_t *old, struct rp_err *err)
{
	struct front_vhost *v = of(ep);
	rp_call_t call;

	if (!v->started)
		return rp_fail(err, EINVAL, "the virtqueue does not run");
	if (rp_call_open(&call, fd, err) < 0)
		return -EBADF;
	*old = v->call;
	rp_store(&v->call, call);
	call_resumed(v);
	return 0;
}
