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

/* What a run of slots was. */
struct moved {
	uint64_t bytes;
	uint64_t frames;
	uint32_t complete; /* slots up to the end of the last complete frame */
};

/*
 * Copy @n slots that do not wrap around. The receiver's slots are written and never
 * read: a load would wait for its core, a store does not.
 */
static void hand_over(const struct netmap_slot *from, struct netmap_slot *to, uint32_t n,
		      uint32_t before, struct moved *m)
{
	for (uint32_t i = 0; i < n; i++) {
		struct halves h;

		memcpy(&h, &from[i], sizeof(h));
		h.what &= ~CHANGED;
		memcpy(&to[i], &h, sizeof(h));
		m->bytes += length(h.what);
		if (!(h.what & MORE)) {
			m->frames++;
			m->complete = before + i + 1;
		}
	}
}

static void count(struct rp_csb *csb, const struct moved *m)
{
	rp_store(&csb->frames, csb->frames + m->frames);
	rp_store(&csb->bytes, csb->bytes + m->bytes);
	rp_store(&csb->batches, csb->batches + 1);
}

int rp_pipe_txsync(const struct rp_pipe *p)
{
	const uint32_t slots = p->tx.slots;
	struct nm_csb_ktoa *mine = &p->tx.csb->ktoa;
	struct moved m = { 0 };
	uint32_t released = rp_load_acquire(&p->rx.csb->atok.head);
	uint32_t visible = rp_load(&p->rx.csb->ktoa.hwtail);
	uint32_t hwcur = rp_load(&mine->hwcur), head = rp_load_acquire(&p->tx.ring->head);
	uint32_t free_end, n, first;

	if (released >= slots || visible >= slots || hwcur >= slots)
		return -1;
	free_end = rp_slot_prev(released, slots);
	if (!rp_slot_within(head, hwcur, free_end, slots))
		return -1;
	n = rp_slot_distance(hwcur, head, slots);
	if (n) {
		first = slots - hwcur < n ? slots - hwcur : n;
		hand_over(&p->tx.ring->slot[hwcur], &p->rx.ring->slot[hwcur], first, 0, &m);
		hand_over(p->tx.ring->slot, p->rx.ring->slot, n - first, first, &m);
		rp_store(&mine->hwcur, head);
		if (m.complete)
			rp_store_release(&p->rx.csb->ktoa.hwtail,
					 rp_slot_add(hwcur, m.complete, slots));
		count(p->tx.csb, &m);
	}
	rp_store(&mine->hwtail, free_end);
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
