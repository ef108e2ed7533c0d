/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_BENCH_SLOTS_H
#define RP_BENCH_SLOTS_H
/*
 * Frames that are slots and nothing else, for pipes: a length and, in ptr, their
 * number. No byte of a buffer is touched.
 */
#include "path.h"

/* A writer or a reader of slots; what it needs stays in registers. */
struct bench_slots {
	struct netmap_slot *slot;
	uint32_t slots;
	uint32_t at;
	uint32_t len;
	uint64_t next; /* number of the next frame */
	uint64_t bad;
};

/* bench_slots() - one that begins at the head of @ring */
static inline struct bench_slots bench_slots(struct netmap_ring *ring, uint32_t len)
{
	return (struct bench_slots){ ring->slot, ring->num_slots, ring->head, len, 0, 0 };
}

static inline void bench_slots_fill(struct bench_slots *slots, uint32_t n)
{
	struct bench_slots h = *slots;

	for (; n; n--) {
		struct netmap_slot *s = &h.slot[h.at];

		s->len = (uint16_t)h.len;
		s->flags = 0;
		s->ptr = h.next++;
		h.at = h.at + 1 == h.slots ? 0 : h.at + 1;
	}
	*slots = h;
}

static inline void bench_slots_check(struct bench_slots *slots, uint32_t n)
{
	struct bench_slots h = *slots;

	for (; n; n--) {
		const struct netmap_slot *s = &h.slot[h.at];

		h.bad += s->len != h.len || s->ptr != h.next;
		h.next++;
		h.at = h.at + 1 == h.slots ? 0 : h.at + 1;
	}
	*slots = h;
}

/* bench_slots_done() - let @ring's head be where the slots are */
static inline void bench_slots_done(const struct bench_slots *s, struct netmap_ring *ring)
{
	ring->cur = s->at;
	rp_store_release(&ring->head, s->at);
}

#endif
