/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_KRING_H
#define RP_KRING_H
/*
 * DOC: The backend's private view of one netmap ring.
 *
 * The ring itself lies in memory that the user writes. Geometry and the
 * backend's own cursors are kept here and in the state memfd; from the ring
 * only head is read, once a sync, and it must lie where the user may move it:
 *
 *    tx:  [hwcur, hwtail]    the slots that the user could fill
 *    rx:  [hwcur, hwtail]    the slots that it was given
 */
#include <stdbool.h>
#include <stdint.h>

#include "abi/rp_abi.h"
#include "abi/rp_barrier.h"

struct rp_kring {
	struct netmap_ring *ring;
	const uint32_t *head; /* the user's: in the ring, or in its CSB */
	uint8_t *bufs;	      /* buffer 0 */
	uint32_t slots;
	uint32_t buf_bytes;
	uint32_t buf_count;
	uint64_t
		offset_mask; /* of a slot's ptr: where its frame begins; 0: at the buffer's start */
	uint32_t max_offset; /* that its user may choose */
};

static inline uint32_t rp_min(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static inline uint32_t rp_kring_next(const struct rp_kring *k, uint32_t i)
{
	return i + 1 == k->slots ? 0 : i + 1;
}

static inline uint32_t rp_kring_prev(const struct rp_kring *k, uint32_t i)
{
	return i == 0 ? k->slots - 1 : i - 1;
}

/* rp_kring_distance() - slots from @from up to @to */
static inline uint32_t rp_kring_distance(const struct rp_kring *k, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : to + k->slots - from;
}

static inline uint32_t rp_kring_add(const struct rp_kring *k, uint32_t i, uint32_t n)
{
	i += n;
	return i >= k->slots ? i - k->slots : i;
}

/**
 * rp_kring_head() - read the user's head
 * @hwcur:	first slot that is the user's
 * @hwtail:	first slot behind them
 * @head:	the head, only if it is valid
 *
 * Pairs with the user's barrier between filling slots and moving head.
 * Return: true when it lies in [@hwcur, @hwtail]
 */
static inline bool rp_kring_head(const struct rp_kring *k, uint32_t hwcur, uint32_t hwtail,
				 uint32_t *head)
{
	uint32_t h = rp_load_acquire(k->head);

	if (h >= k->slots || rp_kring_distance(k, hwcur, h) > rp_kring_distance(k, hwcur, hwtail))
		return false;
	*head = h;
	return true;
}

/* rp_kring_has() - is there a buffer of this index in the region, for users to use? */
static inline bool rp_kring_has(const struct rp_kring *k, uint32_t buf_idx)
{
	return buf_idx - NETMAP_BUF_RESERVED < k->buf_count - NETMAP_BUF_RESERVED;
}

/* rp_kring_offset() - where in its buffer a slot's frame begins. False: further on than agreed */
static inline bool rp_kring_offset(const struct rp_kring *k, const struct netmap_slot *s,
				   uint32_t *offset)
{
	const uint64_t at = k->offset_mask ? rp_load(&s->ptr) & k->offset_mask : 0;

	*offset = (uint32_t)at;
	return at <= k->max_offset;
}

/* rp_kring_buf() - the buffer of an index that is there */
static inline uint8_t *rp_kring_buf(const struct rp_kring *k, uint32_t buf_idx)
{
	return k->bufs + (uint64_t)buf_idx * k->buf_bytes;
}

#endif
