/* SPDX-License-Identifier: BSD-2-Clause */
#include "deliver.h"

#include <sched.h>
#include <stdbool.h>

#include "caller.h"
#include "copy.h"
#include "monitor.h"
#include "port.h"

enum { PREFETCH_ABOVE = 256 }; /* bytes; below, the hardware is as fast */

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
 * Is the receiver full of frames that others have not copied yet? One of them may
 * have been interrupted: give it the processor, if this thread is in its place.
 * Else all that senders bring would be dropped until its turn comes again.
 */
static bool let_others_finish(struct rp_endpoint *to)
{
	bool open;

	rp_lock_take(&to->lock);
	open = to->state->lease_head != to->state->lease_tail;
	rp_lock_release(&to->lock);
	if (open)
		sched_yield();
	return open;
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

	if (from->ops->retry)
		from->ops->retry(from);
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

void rp_unreachable(struct rp_endpoint *from, const struct rp_port *to, unsigned n)
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

void rp_deliver(struct rp_caller *c, struct rp_endpoint *from, struct rp_endpoint *to,
		const uint16_t *order, unsigned n)
{
	struct rest r = { .order = order, .n = n };
	bool call = false, yielded = false;

	while (r.n) {
		unsigned done = fill(c, from, to, from->batch, r.order, r.n, &call);

		go_on(&r, (struct rp_offload_place){ .i = (uint16_t)done });
		if (r.n && c->lease.stopped == RP_LEASE_OFFLOAD)
			fill_made(c, from, to, &r, &call);
		if (r.n && !rp_endpoint_live(to)) {
			rp_unreachable(from, to->port, r.n);
			break;
		}
		if (r.n && c->lease.stopped == RP_LEASE_FULL) {
			if (!yielded && let_others_finish(to)) {
				yielded = true;
				continue;
			}
			congested(c, from, to, &r);
			break;
		}
	}
	if (call)
		to->ops->notify(to);
}

uint16_t rp_deliver_kept(struct rp_forward *fw, struct rp_batch *b, uint16_t nframes)
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

void rp_deliver_all(struct rp_caller *c, struct rp_endpoint *from, struct rp_endpoint *to)
{
	struct rp_forward *fw = &c->forward;
	struct rp_batch *b = from->batch;
	uint16_t n = b->held ? b->held : b->nframes;

	if (!b->held)
		b->stuck_since_ns = 0;
	fw->run[0] = (struct rp_run){ .n = n, .next = RP_NO_RUN };
	fw->nruns = 1;
	rp_deliver(c, from, to, fw->in_order, n);
	b->held = rp_deliver_kept(fw, b, n);
	if (b->held < n)
		b->stuck_since_ns = 0;
}
