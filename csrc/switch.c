/* SPDX-License-Identifier: BSD-2-Clause */
#include "switch.h"

#include <stdbool.h>
#include <string.h>

#include "caller.h"
#include "copy.h"
#include "logic.h"
#include "monitor.h"
#include "port.h"

enum { PREFETCH_ABOVE = 256 }; /* bytes; below, the hardware is as fast */

/*
 * The two addresses that a frame begins with, as they lie in memory:
 *
 *    first:  dst dst dst dst dst dst src src     last:  src src src src
 */
struct flow {
	uint64_t first;
	uint32_t last;
};

enum { ADDRESSES = 12 };

static inline struct flow load_flow(const uint8_t *at)
{
	struct flow f;

	memcpy(&f.first, at, sizeof(f.first));
	memcpy(&f.last, at + sizeof(f.first), sizeof(f.last));
	return f;
}

static uint64_t flow_dst(struct flow f)
{
	return f.first & RP_MAC_MASK;
}

static uint64_t flow_src(struct flow f)
{
	return f.first >> 48 | (uint64_t)f.last << 16;
}

/* A frame whose first piece does not even hold both addresses. */
static struct flow gather_flow(const struct rp_seg *s)
{
	uint8_t both[ADDRESSES] = { 0 };

	for (unsigned i = 0, at = 0; i < sizeof(both); i++, at++) {
		while (at >= s->len) {
			s++;
			at = 0;
		}
		both[i] = s->addr[at];
	}
	return load_flow(both);
}

static inline struct flow frame_flow(const struct rp_batch *b, const struct rp_frame *f)
{
	const struct rp_seg *s = &b->seg[f->seg];

	return __builtin_expect(s->len < ADDRESSES, 0) ? gather_flow(s) : load_flow(s->addr);
}

void rp_forward_init(struct rp_forward *fw)
{
	for (unsigned i = 0; i < RP_BATCH; i++)
		fw->in_order[i] = (uint16_t)i;
}

static unsigned lookup(const struct rp_switch *sw, const struct rp_members *members, uint64_t mac,
		       uint32_t now_s)
{
	int port = RP_FDB_UNKNOWN;

	if (!(mac & RP_MAC_MULTICAST))
		port = rp_fdb_lookup(&sw->fdb, mac, now_s);
	return port >= 0 && port < RP_MAX_PORTS && members->by_number[port] ? (unsigned)port :
									      RP_FLOOD;
}

static inline void classify(struct rp_switch *sw, struct rp_caller *c, struct rp_endpoint *from,
			    const struct rp_members *members, uint16_t i, uint16_t end)
{
	uint32_t now_s = c->now_s;
	const struct rp_batch *b = from->batch;
	struct rp_forward *fw = &c->forward;

	while (i < end) {
		struct flow flow = frame_flow(b, &b->frame[i]), next;
		uint16_t first = i;
		unsigned dest;

		do {
			if (++i == end)
				break;
			next = frame_flow(b, &b->frame[i]);
		} while (next.first == flow.first && next.last == flow.last);
		rp_fdb_learn(&sw->fdb, flow_src(flow), from->port->sw_port, now_s);
		dest = lookup(sw, members, flow_dst(flow), now_s);
		rp_forward_add(fw, first, i - first, dest, dest);
	}
}

void rp_bridge_classify(struct rp_switch *sw, struct rp_caller *c, struct rp_endpoint *from,
			const struct rp_members *members, uint16_t i, uint16_t end)
{
	classify(sw, c, from, members, i, end);
}

static const uint16_t *unicast_order(struct rp_forward *fw, const struct rp_dest *d)
{
	unsigned n = 0;

	if (d->head == d->tail)
		return &fw->in_order[fw->run[d->head].first];
	for (uint16_t r = d->head; r != RP_NO_RUN; r = fw->run[r].next) {
		for (uint16_t i = 0; i < fw->run[r].n; i++)
			fw->order[n++] = fw->run[r].first + i;
	}
	return fw->order;
}

static bool goes_to(const struct rp_forward *fw, const struct rp_run *run, uint16_t port)
{
	if (run->dest <= RP_FLOOD)
		return run->dest == port || run->dest == RP_FLOOD;
	return rp_load(&fw->set[run->dest - RP_FIRST_SET].bit[port / 64]) >> port % 64 & 1;
}

/* The frames for one port and those for several with it, in the order of the batch. */
static unsigned flooded_order(struct rp_forward *fw, uint16_t port)
{
	unsigned n = 0;

	for (uint16_t r = 0; r < fw->nruns; r++) {
		if (!goes_to(fw, &fw->run[r], port))
			continue;
		fw->reached[r] = 1;
		for (uint16_t i = 0; i < fw->run[r].n; i++)
			fw->order[n++] = fw->run[r].first + i;
	}
	return n;
}

/* Bring the start of a frame and of its room near, while the one before it is copied. */
static inline void prefetch_slice(const struct rp_lease *l, unsigned i, const struct rp_batch *b)
{
	enum { LINE = 64, LINES = 4 };
	const struct rp_slice *s = &l->slice[i];
	const uint8_t *from = b->seg[b->frame[s->frame].seg].addr;
	const uint8_t *to = l->seg[s->seg].addr;

	for (unsigned line = 0; line < LINES * LINE; line += LINE) {
		__builtin_prefetch(from + line);
		rp_prefetch_write(to + line);
	}
}

static void copy_slices(const struct rp_lease *l, struct rp_endpoint *from,
			const struct rp_batch *b)
{
	uint64_t copied = 0;

	for (unsigned i = 0; i < l->n; i++) {
		const struct rp_slice *s = &l->slice[i];
		const struct rp_frame *f = &b->frame[s->frame];

		if (f->len > PREFETCH_ABOVE && i + 1 < l->n)
			prefetch_slice(l, i + 1, b);
		rp_copy_frame(&copied, &l->seg[s->seg], s->nseg, &b->seg[f->seg], f->nseg, f->len);
	}
	rp_count(&from->count->copied, copied);
}

static bool flooded(const struct rp_forward *fw, uint16_t frame)
{
	const struct rp_run *run = fw->run;

	while (frame >= run->first + run->n)
		run++;
	return run->dest >= RP_FLOOD;
}

/* What is still to be delivered: frames of the sender's batch. */
struct rest {
	const uint16_t *order;
	unsigned n;
	uint16_t segment; /* of the first one; those before it were delivered */
};

static void go_on(struct rest *r, struct rp_offload_place at)
{
	*r = (struct rest){ .order = r->order + at.i, .n = r->n - at.i, .segment = at.segment };
}

/* Software delivered some segments of the first frame that is left: go on behind them. */
static void keep_segments(struct rp_batch *b, const struct rest *r)
{
	struct rp_frame *f = &b->frame[r->order[0]];

	if (f->segment != r->segment)
		b->stuck_since_ns = 0;
	f->segment = r->segment;
}

/*
 * Has the sender of @b waited for @hold_ns? A receiver that frees slots again and
 * again, all of them for other senders, is never full for so long.
 */
static bool waited(struct rp_batch *b, uint64_t now_ns, uint64_t hold_ns)
{
	if (!b->stuck_since_ns)
		b->stuck_since_ns = now_ns;
	return now_ns - b->stuck_since_ns >= hold_ns;
}

/* Does the receiver hold its senders back, and has this one not waited enough? */
static bool may_wait(struct rp_batch *b, struct rp_endpoint *to)
{
	const uint64_t now_ns = rp_now_ns(), hold_ns = rp_load(&to->port->hold_ns);
	const bool patient = rp_endpoint_hold(to, now_ns, hold_ns);

	return !waited(b, now_ns, hold_ns) && patient;
}

static bool all_flooded(const struct rp_forward *fw, const struct rest *r)
{
	for (unsigned i = 0; i < r->n; i++)
		if (!flooded(fw, r->order[i]))
			return false;
	return true;
}

/*
 * The receiver is full: if it wants senders held back, keep what only it gets;
 * a flooded frame that waited for one port would reach the others twice.
 */
static void congested(struct rp_caller *c, struct rp_endpoint *from, struct rp_endpoint *to,
		      const struct rest *r)
{
	struct rp_forward *fw = &c->forward;
	const bool hold = !all_flooded(fw, r) && may_wait(from->batch, to);
	unsigned drops = 0;

	for (unsigned i = 0; i < r->n; i++) {
		if (hold && !flooded(fw, r->order[i])) {
			fw->kept[r->order[i]] = 1;
			fw->nkept++;
			if (i == 0 && r->segment)
				keep_segments(from->batch, r);
		} else {
			drops++;
		}
	}
	if (drops) {
		rp_lock_take(&to->lock);
		rp_drop(to, RP_DROP_FULL, drops);
		rp_lock_release(&to->lock);
	}
}

/* The receiver's rings are stopped. A flooded frame is no loss there: it was not for this port. */
static void unreachable(struct rp_endpoint *from, const struct rp_port *to, unsigned n)
{
	rp_drop(from, rp_port_broken(to) ? RP_DROP_BROKEN : RP_DROP_DOWN, n);
}

/* Lease, copy, publish: once. Return: how many of order[0..@n), frames of @b, are dealt with */
static unsigned fill(struct rp_caller *c, struct rp_endpoint *from, struct rp_endpoint *to,
		     const struct rp_batch *b, const uint16_t *order, unsigned n, bool *call)
{
	struct rp_lease *l = &c->lease;
	unsigned taken = to->ops->lease(to, l, from, b, order, n);

	if (l->open) {
		copy_slices(l, from, b);
		*call |= rp_endpoint_publish(c, to, l);
	}
	return taken;
}

/*
 * The receiver does not take the next frame as it is: deliver what software
 * makes of it and of those behind it. @r is what the receiver had no room for.
 */
static void fill_made(struct rp_caller *c, struct rp_endpoint *from, struct rp_endpoint *to,
		      struct rest *r, bool *call)
{
	struct rp_offload *o = &c->offload;
	const struct rp_batch *made = &o->batch;
	const uint16_t *order = c->forward.in_order;
	bool stuck = false;

	rp_offload_from(o, from->batch, r->order, r->n, 0);
	while (o->next.i < r->n && !stuck) {
		unsigned at = 0;

		rp_offload_make(o, from, r->order, r->n, rp_load(&to->port->features));
		do
			at += fill(c, from, to, made, order + at, made->nframes - at, call);
		while (at < made->nframes && c->lease.stopped == RP_LEASE_PIECES);
		stuck = c->lease.stopped == RP_LEASE_FULL || !rp_endpoint_live(to);
		/* The receiver may also have changed its features since: make them again. */
		if (at < made->nframes)
			o->next = o->made_of[at];
	}
	go_on(r, o->next);
}

static void deliver(struct rp_caller *c, struct rp_endpoint *from, struct rp_endpoint *to,
		    const uint16_t *order, unsigned n)
{
	struct rest r = { .order = order, .n = n };
	bool call = false;

	while (r.n) {
		unsigned done = fill(c, from, to, from->batch, r.order, r.n, &call);

		go_on(&r, (struct rp_offload_place){ .i = (uint16_t)done });
		if (r.n && c->lease.stopped == RP_LEASE_OFFLOAD)
			fill_made(c, from, to, &r, &call);
		if (r.n && !rp_endpoint_live(to)) {
			unreachable(from, to->port, r.n);
			break;
		}
		if (r.n && c->lease.stopped == RP_LEASE_FULL) {
			congested(c, from, to, &r);
			break;
		}
	}
	if (call)
		to->ops->notify(to);
}

/* Frames for several ports, none of which was there. */
static unsigned unreached(const struct rp_forward *fw)
{
	unsigned n = 0;

	for (uint16_t r = 0; r < fw->nruns; r++) {
		if (fw->run[r].dest >= RP_FLOOD && !fw->reached[r])
			n += fw->run[r].n;
	}
	return n;
}

/* To every other port: what is for several, and what is for that port alone. */
static void deliver_flood(struct rp_caller *c, struct rp_endpoint *from,
			  const struct rp_members *members)
{
	struct rp_forward *fw = &c->forward;

	memset(fw->reached, 0, fw->nruns);
	for (uint32_t i = 0; i < members->n; i++) {
		struct rp_port *p = members->list[i];
		struct rp_endpoint *to = rp_port_receiver(p, from->ring);

		if (p == from->port)
			continue;
		if (to)
			deliver(c, from, to, fw->order, flooded_order(fw, p->sw_port));
		else
			unreachable(from, p, fw->dest[p->sw_port].n);
	}
	rp_drop(from, RP_DROP_NOBODY, unreached(fw));
}

static void deliver_unicast(struct rp_caller *c, struct rp_endpoint *from, struct rp_port *p,
			    const struct rp_dest *d)
{
	struct rp_endpoint *to = rp_port_receiver(p, from->ring);

	if (to)
		deliver(c, from, to, unicast_order(&c->forward, d), d->n);
	else
		unreachable(from, p, d->n);
}

static void deliver_all(struct rp_caller *c, struct rp_endpoint *from,
			const struct rp_members *members)
{
	uint16_t self = from->port->sw_port;
	struct rp_forward *fw = &c->forward;
	bool flood = fw->dest[RP_FLOOD].n > 0;

	if (flood)
		deliver_flood(c, from, members);
	for (unsigned i = 0; i < fw->ntouched; i++) {
		uint16_t dest = fw->touched[i];
		struct rp_dest *d = &fw->dest[dest];

		if (dest == self)
			rp_drop(from, RP_DROP_SELF, d->n);
		else if (!flood)
			deliver_unicast(c, from, members->by_number[dest], d);
		d->n = 0;
	}
}

/* Move the frames that were kept to the front, in order. */
static uint16_t keep(struct rp_forward *fw, struct rp_batch *b, uint16_t nframes)
{
	uint16_t n = 0;

	for (uint16_t i = 0; fw->nkept && i < nframes; i++) {
		if (!fw->kept[i])
			continue;
		fw->kept[i] = 0;
		fw->nkept--;
		b->frame[n++] = b->frame[i];
	}
	return n;
}

void rp_switch_forward(struct rp_switch *sw, struct rp_caller *c, struct rp_endpoint *from)
{
	const struct rp_switch_logic *logic = rp_load_acquire(&sw->logic);
	const struct rp_members *members;
	struct rp_batch *b = from->batch;
	uint16_t n = b->held ? b->held : b->nframes;

	if (!b->held)
		b->stuck_since_ns = 0;
	if (logic) {
		members = rp_logic_classify(logic, sw, c, from, n);
	} else {
		members = rp_load_acquire(&sw->members);
		rp_forward_begin(&c->forward);
		classify(sw, c, from, members, 0, n);
	}
	deliver_all(c, from, members);
	b->held = keep(&c->forward, b, n);
	if (b->held < n)
		b->stuck_since_ns = 0;
}
