/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: The rings of a session: syncing them, with netmap's checks.
 *
 * rp_client moves slots and knows whether head makes sense; netmap also minds
 * cur, and says what becomes of a ring whose indexes make none: numbers beyond
 * the ring, and slots that name no buffer, are set right, the rest is left to
 * the program, and nothing is synced until it makes sense again.
 */
#include "rings.h"

#include <errno.h>

#include "abi/rp_abi.h"
#include "csb.h"
#include "rp_barrier.h"

bool rp_ring_is_tx(const struct rp_session *s, unsigned ring)
{
	return ring < s->ntx;
}

/* Where the backend was told that the program is. */
static uint32_t accepted(const struct rp_session *s, unsigned ring)
{
	const struct rp_csb *csb = s->ring[ring].csb;

	return rp_ring_is_tx(s, ring) ? rp_load(&csb->ktoa.hwcur) : rp_load(&csb->atok.head);
}

struct rp_cursors rp_session_cursors(const struct rp_session *s, unsigned ring)
{
	const struct netmap_ring *at = s->ring[ring].at;

	return (struct rp_cursors){
		.head = rp_load(&at->head),
		.cur = rp_load(&at->cur),
		.hwcur = accepted(s, ring),
		.hwtail = rp_load_acquire(&s->ring[ring].csb->ktoa.hwtail),
	};
}

/* Does cur lie in [head, hwtail]? What head may be, rp_client knows. */
static bool cur_is_right(const struct rp_cursors *c, uint32_t slots)
{
	return c->head < slots && c->hwtail < slots &&
	       rp_slot_within(c->cur, c->head, c->hwtail, slots);
}

/* Numbers that cannot be meant are set right. */
static void repair(struct rp_session *s, unsigned ring)
{
	struct netmap_ring *at = s->ring[ring].at;
	const uint32_t slots = s->ring[ring].slots;
	bool wrong = rp_load(&at->head) >= slots || rp_load(&at->cur) >= slots ||
		     rp_load(&at->tail) >= slots;

	for (uint32_t i = 0; i < slots; i++) {
		struct netmap_slot *slot = &at->slot[i];

		if (slot->buf_idx < NETMAP_BUF_RESERVED || slot->buf_idx >= s->bufs) {
			wrong |= slot->buf_idx != 0;
			slot->buf_idx = 0;
			slot->len = 0;
		} else if (slot->len > s->buf_bytes) {
			wrong = true;
			slot->len = 0;
		}
	}
	if (wrong) {
		struct rp_cursors c = rp_session_cursors(s, ring);

		rp_store(&at->head, c.hwcur);
		rp_store(&at->cur, c.hwcur);
		rp_store(&at->tail, c.hwtail);
	}
}

int rp_ring_sync(struct rp_session *s, unsigned ring)
{
	struct rp_session_ring *r = &s->ring[ring];
	struct rp_cursors c;
	int error;

	if (!rp_claim(&r->busy))
		return 0; /* another thread is at it */
	c = rp_session_cursors(s, ring);
	error = cur_is_right(&c, r->slots) ? -rp_client_sync(s->client, r->number) : EINVAL;
	if (error == EINVAL)
		repair(s, ring);
	rp_store_release(&r->busy, 0);
	return error;
}

bool rp_ring_ready(const struct rp_session *s, unsigned ring)
{
	const struct netmap_ring *at = s->ring[ring].at;

	return rp_load(&at->cur) != rp_load(&at->tail);
}

bool rp_ring_pending(const struct rp_session *s, unsigned ring)
{
	return rp_load(&s->ring[ring].at->head) != accepted(s, ring);
}

int rp_session_txsync(struct rp_session *s, int fd)
{
	bool broken = false;

	if (!rp_session_bound(s, fd))
		return ENXIO;
	if (rp_load(&s->atok))
		return EBUSY;
	for (unsigned i = 0; i < s->ntx; i++) {
		if (s->ring[i].flags & RP_NM_MONITOR_RING)
			return EIO;
		broken |= rp_ring_sync(s, i) == EIO;
	}
	return broken ? rp_session_broken(s, fd) : 0;
}

int rp_session_rxsync(struct rp_session *s, int fd)
{
	bool broken = false, ready = false;

	if (!rp_session_bound(s, fd))
		return ENXIO;
	if (rp_load(&s->atok))
		return EBUSY;
	for (unsigned i = s->ntx; i < s->nrings; i++) {
		broken |= rp_ring_sync(s, i) == EIO;
		ready |= rp_ring_ready(s, i);
	}
	return broken && !ready ? rp_session_broken(s, fd) : 0;
}

void rp_session_sync_at(struct rp_session *s, unsigned ring, uint32_t head, uint32_t cur)
{
	struct netmap_ring *at = s->ring[ring].at;

	rp_store(&at->cur, cur);
	rp_store_release(&at->head, head);
	rp_ring_sync(s, ring);
}

int rp_session_arm(struct rp_session *s, unsigned ring)
{
	rp_client_arm(s->client, s->ring[ring].number);
	return rp_client_call_fd(s->client, s->ring[ring].number);
}

void rp_session_disarm(struct rp_session *s, unsigned ring)
{
	rp_client_disarm(s->client, s->ring[ring].number);
}

uint64_t rp_session_mark(const struct rp_session *s)
{
	uint64_t mark = 0;

	for (unsigned i = 0; i < s->nrings; i++)
		mark = mark * 65537 + rp_load(&s->ring[i].at->tail);
	return mark;
}
