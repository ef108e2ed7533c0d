// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Syncs with netmap's checks. rp_ring_sync() moves slots and knows whether head makes
 * sense; netmap also minds cur, and says what becomes of a ring whose indexes make none:
 * numbers beyond the ring, and slots that name no buffer, are set right, the rest is left
 * to the program, and nothing is synced until it makes sense again.
 */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/sched/signal.h>

#include "rp_netmap.h"

#define FLUSH_NAPS 50 /* of half a millisecond, without progress */
#define FLUSH_MOST HZ /* of all rings together, with progress */

/* How far the other side was told that the program is. */
static u32 accepted(const struct rp_seat *s)
{
	const struct rp_csb *csb = s->ring->at.csb;

	return rp_seat_is_tx(s) ? rp_load(&csb->ktoa.hwcur) : rp_load(&csb->atok.head);
}

struct rp_cursors rp_seat_cursors(const struct rp_seat *s)
{
	const struct netmap_ring *at = s->ring->at.ring;

	return (struct rp_cursors){
		.head = rp_load(&at->head),
		.cur = rp_load(&at->cur),
		.hwcur = accepted(s),
		.hwtail = rp_load_acquire(&s->ring->at.csb->ktoa.hwtail),
	};
}

/* Does cur lie in [head, hwtail]? What head may be, rp_ring_sync() knows. */
static bool cur_is_right(const struct rp_cursors *c, u32 slots)
{
	return c->head < slots && c->hwtail < slots &&
	       rp_slot_within(c->cur, c->head, c->hwtail, slots);
}

static bool repair_slot(const struct rp_device *d, struct netmap_slot *slot)
{
	const u32 buf = rp_load(&slot->buf_idx);

	if (!rp_buffer(d, buf)) {
		rp_store(&slot->buf_idx, 0);
		rp_store(&slot->len, 0);
		return buf != 0;
	}
	if (rp_load(&slot->len) <= d->view.bufs.objsize)
		return false;
	rp_store(&slot->len, 0);
	return true;
}

static void repair(const struct rp_seat *s)
{
	struct netmap_ring *at = s->ring->at.ring;
	const u32 slots = s->ring->at.slots;
	bool wrong = rp_load(&at->head) >= slots || rp_load(&at->cur) >= slots ||
		     rp_load(&at->tail) >= slots;

	for (u32 i = 0; i < slots; i++)
		wrong |= repair_slot(s->ring->open->dev, &at->slot[i]);
	if (wrong) {
		const struct rp_cursors c = rp_seat_cursors(s);

		rp_store(&at->head, c.hwcur);
		rp_store(&at->cur, c.hwcur);
		rp_store(&at->tail, c.hwtail);
	}
}

/* The backend takes frames from its own memory; a pipe passes slots as they are. */
static void take_indirect(const struct rp_ring *r)
{
	const u32 head = rp_load(&r->at.ring->head), sent = rp_load(&r->at.csb->atok.head);

	if (head < r->at.slots && sent < r->at.slots)
		rp_indirect_take(r, sent, head);
}

int rp_seat_sync(struct rp_seat *s)
{
	struct rp_ring *r = s->ring;
	struct rp_cursors c;
	int err;

	/* Its memory may be another device's by now. */
	if (READ_ONCE(r->open->dead))
		return -ENXIO;
	if (test_and_set_bit_lock(0, &s->busy))
		return 0;
	c = rp_seat_cursors(s);
	if (!cur_is_right(&c, r->at.slots)) {
		err = -EINVAL;
	} else {
		if (rp_seat_is_tx(s) && !r->peer.ring)
			take_indirect(r);
		err = rp_ring_sync(r);
	}
	if (err == -EINVAL)
		repair(s);
	clear_bit_unlock(0, &s->busy);
	return err;
}

bool rp_seat_pending(const struct rp_seat *s)
{
	return rp_load(&s->ring->at.ring->head) != accepted(s);
}

static int may_sync(const struct rp_file *f)
{
	if (!rp_file_bound(f))
		return -ENXIO;
	return rp_file_in_csb_mode(f) ? -EBUSY : 0;
}

/* Indexes that make no sense are not the ioctl's error. */
static int sync_seats(struct rp_seat *s, u32 n)
{
	int err = 0;

	while (n--) {
		if (rp_seat_sync(s++) == -ENXIO)
			err = -ENXIO;
	}
	return err;
}

int rp_file_txsync(struct rp_file *f)
{
	const int err = may_sync(f);

	if (err)
		return err;
	for (u32 i = 0; i < f->ntx; i++) {
		if (f->seat[i].ring->flags & RP_NM_MONITOR_RING)
			return -EIO;
	}
	return sync_seats(f->seat, f->ntx);
}

int rp_file_rxsync(struct rp_file *f)
{
	const int err = may_sync(f);

	return err ? err : sync_seats(f->seat + f->ntx, f->nseats - f->ntx);
}

static bool is_left_to_backend(const struct rp_seat *s)
{
	const struct rp_ring *r = s->ring;

	return !r->peer.ring && !(r->flags & RP_NM_MONITOR_RING);
}

static bool is_sent(const struct rp_seat *s)
{
	return accepted(s) == rp_load(&s->ring->at.csb->atok.head);
}

/* What one ring was given: until it is gone, or stays; not beyond @end, in jiffies. */
static void flush(const struct rp_seat *s, unsigned long end)
{
	u32 seen = accepted(s), naps = 0;

	while (!READ_ONCE(s->ring->open->dead) && !is_sent(s) && naps++ < FLUSH_NAPS &&
	       time_before(jiffies, end) && !fatal_signal_pending(current)) {
		usleep_range(500, 1000);
		if (accepted(s) != seen) {
			seen = accepted(s);
			naps = 0;
		}
	}
}

void rp_file_flush(struct rp_file *f)
{
	const unsigned long end = jiffies + FLUSH_MOST;

	for (u32 i = 0; i < f->ntx; i++) {
		if (is_left_to_backend(&f->seat[i]))
			flush(&f->seat[i], end);
	}
}
