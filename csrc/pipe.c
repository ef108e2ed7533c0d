/* SPDX-License-Identifier: BSD-2-Clause */
#include "pipe.h"

#include <string.h>

#include "zcopy.h"

bool rp_pipe_open(struct rp_pipe *p, const struct rp_view *v, uint32_t csb)
{
	return rp_csb_ring_open(&p->tx, v, csb) &&
	       rp_csb_ring_open(&p->rx, v, rp_load(&p->tx.csb->peer)) && p->tx.slots == p->rx.slots;
}

/* A slot as two words; buf_idx is the low half of the first, flags are its highest 16 bits. */
struct halves {
	uint64_t what;
	uint64_t ptr;
};

static_assert(sizeof(struct halves) == sizeof(struct netmap_slot), "two words are a slot");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "buf_idx is the low word");

#define CHANGED ((uint64_t)NS_BUF_CHANGED << 48)
#define MORE	((uint64_t)NS_MOREFRAG << 48)

static inline uint64_t length(uint64_t what)
{
	return what >> 32 & UINT16_MAX;
}

/* What was moved. */
struct moved {
	uint64_t bytes;
	uint64_t any; /* bits that some slot has in its first word */
};

/*
 * Copy @n slots that do not wrap around. The receiver's slots are written and never read: a
 * load would wait for its core, a store does not. Nor may another store come between those:
 * processors fetch the lines that a run of stores needs at the same time, but not a mixture's.
 * So this loop has few variables, all in registers.
 */
static inline void hand_over(const struct netmap_slot *from, struct netmap_slot *to, uint32_t n,
			     struct moved *m)
{
	uint64_t bytes = 0, any = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct halves h;

		memcpy(&h, &from[i], sizeof(h));
		h.what &= ~CHANGED;
		memcpy(&to[i], &h, sizeof(h));
		bytes += length(h.what);
		any |= h.what;
	}
	m->bytes += bytes;
	m->any |= any;
}

/* Frames that end in @n slots from @at on; *@complete: the slots up to the end of the last one. */
static uint32_t frames_in(const struct rp_csb_ring *r, uint32_t at, uint32_t n, uint32_t *complete)
{
	uint32_t frames = 0;

	*complete = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (!(rp_load(&r->ring->slot[rp_slot_add(at, i, r->slots)].flags) & NS_MOREFRAG)) {
			frames++;
			*complete = i + 1;
		}
	}
	return frames;
}

static void count(struct rp_csb *csb, uint32_t frames, uint64_t bytes)
{
	rp_store(&csb->frames, csb->frames + frames);
	rp_store(&csb->bytes, csb->bytes + bytes);
	rp_store(&csb->batches, csb->batches + 1);
}

/*
 * Must a sender of @n slots, with @room behind them, look what the receiver gave back? That word
 * changes with each batch that is taken, and comes from another core: it costs as much as all else
 * here. Who waits for room looks, so nobody waits for what is there already.
 */
static bool must_look(const struct rp_pipe *p, uint32_t n, uint32_t room)
{
	return n == 0 || room < p->tx.slots / 2 || rp_load(&p->tx.csb->atok.appl_need_kick);
}

int rp_pipe_txsync(const struct rp_pipe *p)
{
	const uint32_t slots = p->tx.slots;
	struct nm_csb_ktoa *mine = &p->tx.csb->ktoa;
	struct moved m = { 0 };
	uint32_t hwcur = rp_load(&mine->hwcur), head = rp_load_acquire(&p->tx.ring->head);
	uint32_t free_end = rp_load(&mine->hwtail), released, n;

	if (hwcur >= slots || head >= slots)
		return -1;
	n = rp_slot_distance(hwcur, head, slots);
	if (free_end >= slots || !rp_slot_within(head, hwcur, free_end, slots) ||
	    must_look(p, n, rp_slot_distance(head, free_end, slots))) {
		released = rp_load_acquire(&p->rx.csb->atok.head);
		if (released >= slots)
			return -1;
		free_end = rp_slot_prev(released, slots);
		if (!rp_slot_within(head, hwcur, free_end, slots))
			return -1;
		rp_store(&mine->hwtail, free_end);
	}
	if (n) {
		uint32_t first = slots - hwcur < n ? slots - hwcur : n, frames = n, complete = n;

		hand_over(&p->tx.ring->slot[hwcur], &p->rx.ring->slot[hwcur], first, &m);
		hand_over(p->tx.ring->slot, p->rx.ring->slot, n - first, &m);
		if (m.any & MORE)
			frames = frames_in(&p->tx, hwcur, n, &complete);
		rp_store(&mine->hwcur, head);
		if (complete)
			rp_store_release(&p->rx.csb->ktoa.hwtail,
					 rp_slot_add(hwcur, complete, slots));
		count(p->tx.csb, frames, m.bytes);
	}
	rp_store(&p->tx.ring->tail, free_end);
	return (int)n;
}

/* Buffers that the receiver put into @n slots that do not wrap around: the sender gets them. */
static void hand_back(struct netmap_slot *from, struct netmap_slot *to, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const uint16_t flags = rp_load(&from[i].flags);

		if (__builtin_expect(flags & NS_BUF_CHANGED, 0)) {
			rp_store(&from[i].flags, (uint16_t)(flags & ~NS_BUF_CHANGED));
			rp_store(&to[i].buf_idx, rp_load(&from[i].buf_idx));
			rp_store(&to[i].flags, NS_BUF_CHANGED);
		}
	}
}

int rp_pipe_rxsync(const struct rp_csb_ring *rx, const struct rp_csb_ring *tx)
{
	uint32_t hwtail = rp_load_acquire(&rx->csb->ktoa.hwtail);
	uint32_t released = rp_load(&rx->csb->atok.head), head = rp_load(&rx->ring->head);
	uint32_t n, first;

	if (hwtail >= rx->slots || released >= rx->slots ||
	    !rp_slot_within(head, released, hwtail, rx->slots))
		return -1;
	n = rp_slot_distance(released, head, rx->slots);
	if (n) {
		/* First, for a monitor's buffers are to go to the sender, too. */
		rp_zcopy_done(rx, released, n);
		if (tx) {
			first = rx->slots - released < n ? rx->slots - released : n;
			hand_back(&rx->ring->slot[released], &tx->ring->slot[released], first);
			hand_back(rx->ring->slot, tx->ring->slot, n - first);
		}
		rp_store_release(&rx->csb->atok.head, head);
	}
	if (hwtail == rp_load(&rx->ring->tail)) /* a frame to come: let its slot be here by then */
		__builtin_prefetch(&rx->ring->slot[hwtail]);
	else
		rp_store(&rx->ring->tail, hwtail);
	return (int)n;
}
