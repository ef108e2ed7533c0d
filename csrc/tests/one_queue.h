/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_ONE_QUEUE_H
#define RP_ONE_QUEUE_H
/*
 * DOC: One virtqueue, both of its sides, and nothing around it.
 *
 *   FAKE_RAM_BASE   + HALF            BEHIND   hole   FAR           + HALF
 *   | region 0      | region 1        |               | region 2    |
 *     the queue       a neighbour for the guest only
 */
#include "fake_queue.h"
#include "fake_ram.h"
#include "virtq.h"

enum {
	ONE_SIZE = 16,
	ONE_PIECES = 64, /* room for them */
	ONE_HALF = 0x20000,
	ONE_BEHIND = FAKE_RAM_BASE + 2 * ONE_HALF,
	ONE_FAR = FAKE_RAM_BASE + 4 * ONE_HALF
};

struct one_queue {
	struct fake_ram ram;
	struct fake_queue driver;
	struct rp_guestmem *mem;
	struct rp_vring_config cfg;
	struct rp_virtq q;
	/* What the last pop found. */
	struct rp_chain chain;
	struct rp_seg seg[ONE_PIECES];
};

/**
 * one_queue_open() - of ONE_SIZE entries, with nothing in it
 * @features:	negotiated
 * @writable:	a receive queue
 */
void one_queue_open(struct one_queue *o, uint64_t features, bool writable);
/* one_queue_open_at() - of @size entries, of which @start have passed through the ring before */
void one_queue_open_at(struct one_queue *o, uint64_t features, bool writable, uint32_t size,
		       uint32_t start);
void one_queue_close(struct one_queue *o);

/* one_queue_pop() - the chain at the device's first position */
enum rp_pop one_queue_pop(struct one_queue *o);

/* one_queue_offer() - publish a chain of descriptors as they are */
void one_queue_offer(struct one_queue *o, const struct fake_desc *d, unsigned n);
/* one_queue_offer_table() - the same as an indirect table */
void one_queue_offer_table(struct one_queue *o, const struct fake_desc *d, unsigned n);

/* one_queue_expect_broken() - the next chain breaks the rule that @why names */
void one_queue_expect_broken(struct one_queue *o, const char *why);

#endif
