/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor.h"

#include <time.h>

#include "caller.h"
#include "copy.h"
#include "port.h"

/* What is shown: scratch.batch.frame[0..n), whose pieces lie in @seg. */
struct view {
	const struct rp_seg *seg;
	unsigned n;
	uint16_t flags; /* of their slots */
	uint64_t now_ns;
};

/* What became of it at one monitor. */
struct shown {
	unsigned lost;
	unsigned cut;
	uint64_t copied;
};

void rp_monitor_init(struct rp_monitor_scratch *s)
{
	for (unsigned i = 0; i < RP_BATCH; i++)
		s->order[i] = (uint16_t)i;
}

static uint64_t realtime_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/*
 * Cut what is too long for any monitor, and leave out the oldest frames for which
 * this one has no room now. Return: the first frame to show
 */
static unsigned choose(struct rp_monitor_scratch *s, struct rp_endpoint *to, unsigned n)
{
	struct rp_room room = { .slots = UINT32_MAX, .slot_bytes = RP_FRAME_MAX, .frame_slots = 1 };
	uint64_t longest;

	if (to->ops->room)
		to->ops->room(to, &room);
	longest = (uint64_t)room.slot_bytes * room.frame_slots;
	for (; n; n--) {
		struct rp_frame *f = &s->batch.frame[n - 1];
		uint32_t slots;

		s->cut[n - 1] = f->len > longest ? f->len : 0;
		if (s->cut[n - 1])
			f->len = (uint32_t)longest;
		slots = (f->len + room.slot_bytes - 1) / room.slot_bytes;
		if (slots > room.slots)
			break;
		room.slots -= slots;
	}
	return n;
}

static void copy_slices(const struct rp_monitor_scratch *s, const struct rp_seg *seg,
			struct shown *shown)
{
	const struct rp_lease *l = &s->lease;

	for (unsigned i = 0; i < l->n; i++) {
		const struct rp_slice *slice = &l->slice[i];
		const struct rp_frame *f = &s->batch.frame[slice->frame];

		rp_copy_frame(&shown->copied, &l->seg[slice->seg], slice->nseg, &seg[f->seg],
			      f->nseg, f->len);
		shown->cut += s->cut[slice->frame] > 0;
	}
}

/* Lease, copy, publish, as for any receiver, but that nobody waits. */
static struct shown show_frames(struct rp_monitor_scratch *s, struct rp_endpoint *to,
				const struct view *v)
{
	struct rp_lease *l = &s->lease;
	const struct rp_mark mark = { .flags = v->flags, .now_ns = v->now_ns, .cut = s->cut };
	struct shown shown = { .lost = choose(s, to, v->n) };
	unsigned at = shown.lost;
	bool call = false;

	while (at < v->n) {
		at += to->ops->lease(to, l, to, &s->batch, s->order + at, v->n - at);
		if (l->open) {
			copy_slices(s, v->seg, &shown);
			if (to->ops->mark)
				to->ops->mark(to, l, &mark);
			call |= to->ops->publish(to, l);
		}
		if (l->stopped != RP_LEASE_PIECES)
			break;
	}
	if (call)
		to->ops->notify(to);
	shown.lost += v->n - at; /* somebody else took the room meanwhile */
	return shown;
}

static void show(struct rp_monitor_scratch *s, struct rp_endpoint *to, const struct view *v)
{
	struct shown shown = { .lost = v->n };
	enum rp_drop why = rp_port_broken(to->port) ? RP_DROP_BROKEN : RP_DROP_DOWN;

	if (rp_endpoint_live(to)) {
		shown = show_frames(s, to, v);
		why = RP_DROP_FULL;
	}
	rp_lock_take(&to->lock);
	rp_drop(to, why, shown.lost);
	if (shown.lost && to->ops->lost)
		to->ops->lost(to, to->count->drops[RP_DROP_FULL]);
	rp_count(&to->count->truncated, shown.cut);
	rp_count(&to->count->copied, shown.copied);
	rp_lock_release(&to->lock);
}

/* A frame as a monitor gets it: without virtio-net header, so that nobody segments it. */
static struct rp_frame bare_frame(uint32_t len, uint16_t seg, uint16_t nseg)
{
	return (struct rp_frame){ .len = len, .seg = seg, .nseg = nseg };
}

void rp_monitor_sent(struct rp_caller *c, const struct rp_monitors *monitors,
		     const struct rp_batch *b)
{
	struct rp_monitor_scratch *s = &c->monitor;
	const struct view v = { b->seg, b->nframes, NS_TXMON, realtime_ns() };

	for (uint32_t m = 0; m < monitors->n; m++) {
		for (unsigned i = 0; i < v.n; i++) {
			const struct rp_frame *f = &b->frame[i];

			s->batch.frame[i] = bare_frame(f->len, f->seg, f->nseg);
		}
		show(s, monitors->ring[m], &v);
	}
}

void rp_monitor_delivered(struct rp_caller *c, const struct rp_monitors *monitors,
			  const struct rp_lease *l)
{
	struct rp_monitor_scratch *s = &c->monitor;
	const struct view v = { l->seg, l->n, 0, realtime_ns() };

	for (uint32_t m = 0; m < monitors->n; m++) {
		for (unsigned i = 0; i < v.n; i++) {
			const struct rp_slice *slice = &l->slice[i];

			s->batch.frame[i] = bare_frame(slice->len, slice->seg, slice->nseg);
		}
		show(s, monitors->ring[m], &v);
	}
}
