/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_CSB_H
#define RP_CSB_H
/*
 * DOC: A ring with its CSB, as whoever maps the region finds them.
 *
 * Backend and processes share this. The region is read as hostile memory even
 * by processes: what a record says is checked against the directory's numbers,
 * which were read once, so that a bad peer costs frames and never a crash.
 */
#include <stdbool.h>
#include <stdint.h>

#include "abi/rp_abi.h"
#include "abi/rp_barrier.h"

/* A mapped region; the pools are as the directory said when it was opened. */
struct rp_view {
	uint8_t *base;
	uint64_t bytes;
	struct rp_pool_info csbs;
	struct rp_pool_info rings;
	struct rp_pool_info bufs;
};

struct rp_csb_ring {
	struct netmap_ring *ring;
	struct rp_csb *csb;
	uint32_t slots;
	const struct rp_view *view; /* that they lie in */
};

/**
 * rp_view_open() - read and check the directory of a mapped region
 * Return: false when it is none, or its pools do not lie inside
 */
bool rp_view_open(struct rp_view *v, void *base, uint64_t bytes);

/**
 * rp_csb_ring_open() - find the ring of a CSB
 * @v:		stays where it is
 *
 * Return: false when there is no such record, or its ring is not where rings are
 */
bool rp_csb_ring_open(struct rp_csb_ring *r, const struct rp_view *v, uint32_t csb);

/* What a front end remembers of its last kick: where hwcur was; or that there was none. */
#define RP_NOT_KICKED UINT32_MAX

/**
 * rp_csb_send() - publish the slots before @head of a tx ring to the backend
 * @kicked_at:	RP_NOT_KICKED at first, then this function's own
 *
 * A kick for slots that were not taken is pending until hwcur moves: a worker that wakes
 * up looks at the ring before it sleeps again, and so at everything that was published
 * meanwhile. More kicks would only cost. Return: true to kick the backend
 */
static inline bool rp_csb_send(const struct rp_csb_ring *r, uint32_t head, uint32_t *kicked_at)
{
	uint32_t hwcur;

	rp_store(&r->csb->atok.cur, head);
	rp_store_release(&r->csb->atok.head, head);
	rp_fence_full();
	hwcur = rp_load(&r->csb->ktoa.hwcur);
	if (hwcur == head || !rp_load(&r->csb->ktoa.kern_need_kick)) {
		*kicked_at = RP_NOT_KICKED;
		return false;
	}
	if (hwcur == *kicked_at)
		return false;
	*kicked_at = hwcur;
	return true;
}

static inline uint32_t rp_slot_add(uint32_t i, uint32_t n, uint32_t slots)
{
	return i + n >= slots ? i + n - slots : i + n;
}

static inline uint32_t rp_slot_prev(uint32_t i, uint32_t slots)
{
	return i ? i - 1 : slots - 1;
}

/* rp_slot_distance() - slots from @from to @to, both below @slots */
static inline uint32_t rp_slot_distance(uint32_t from, uint32_t to, uint32_t slots)
{
	return to >= from ? to - from : to + slots - from;
}

/* rp_slot_within() - does @at lie in [@from, @to]? All but @at are below @slots. */
static inline bool rp_slot_within(uint32_t at, uint32_t from, uint32_t to, uint32_t slots)
{
	return at < slots && rp_slot_distance(from, at, slots) <= rp_slot_distance(from, to, slots);
}

#endif
