/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_VIRTQ_H
#define RP_VIRTQ_H
/*
 * DOC: A split virtqueue, seen from the device (VIRTIO 1.2, section 2.7).
 *
 *   driver writes                        device writes
 *   desc[]   address, length, next       used.ring[]  which chains are done
 *   avail.ring[], avail.idx              used.idx
 *   avail.used_event: call me at ...     used.avail_event: kick me at ...
 *
 * Four verbs, in this order, are all that the front end needs:
 *
 *   pop      take the next chain, checked and translated
 *   fill     write a used entry for it
 *   flush    publish the used entries, in order
 *   notify   does the driver want a call for them?
 *
 * The driver is hostile. Each word that it can write is read once; lengths and
 * indexes are bounded by the queue's own size; a chain that breaks a rule
 * breaks the queue, with the rule's name.
 */
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "abi/rp_barrier.h"
#include "batch.h"
#include "guestmem.h"

struct rp_virtq {
	const struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint32_t size;
	uint16_t avail_idx; /* as last read */
	bool writable;	    /* chains are for the device to write: a receive queue */
	bool indirect;	    /* negotiated */
	bool event_idx;	    /* negotiated */
	uint32_t hint;	    /* for rp_guestmem_at() */
	const char *broken; /* which rule the driver broke; NULL: none */
};

struct rp_chain {
	uint16_t head;
	uint16_t nsegs;
	uint64_t bytes;
};

enum rp_pop {
	RP_POP_CHAIN,
	RP_POP_EMPTY,
	RP_POP_NO_ROOM, /* more pieces than @max */
	RP_POP_BROKEN
};

/**
 * rp_virtq_map() - find a queue's three areas in the guest's memory
 *
 * Return: 0, or -EINVAL with the reason in @err
 */
int rp_virtq_map(struct rp_virtq *q, const struct rp_guestmem *mem,
		 const struct rp_vring_config *cfg, struct rp_err *err);

/**
 * rp_virtq_ready() - chains that the driver made available behind @pos
 *
 * Return: their number; 0 as well when the index is a lie, with q->broken set
 */
uint32_t rp_virtq_ready(struct rp_virtq *q, uint16_t pos);

/**
 * rp_virtq_pop() - read the chain at avail position @pos
 * @seg:	gets its pieces
 * @max:	room in @seg
 *
 * Nothing is consumed: the caller moves its own position on.
 */
enum rp_pop rp_virtq_pop(struct rp_virtq *q, const struct rp_guestmem *mem, uint16_t pos,
			 struct rp_chain *chain, struct rp_seg *seg, uint32_t max);

/**
 * rp_virtq_fill() - write the used entry at used position @pos
 * @len:	bytes written into the chain
 */
static inline void rp_virtq_fill(struct rp_virtq *q, uint16_t pos, uint16_t head, uint32_t len)
{
	struct vring_used_elem *e = &q->used->ring[pos & (q->size - 1)];

	e->id = head;
	e->len = len;
}

/* rp_virtq_flush() - publish the used entries before @pos; pairs with the driver's read of idx */
static inline void rp_virtq_flush(struct rp_virtq *q, uint16_t pos)
{
	rp_store_release(&q->used->idx, pos);
}

/**
 * rp_virtq_notify() - must the driver be called for the used entries [@from, @to)?
 */
bool rp_virtq_notify(struct rp_virtq *q, uint16_t from, uint16_t to);

/**
 * rp_virtq_arm() - ask for a kick when the driver goes past @pos
 *
 * The caller fences and looks again, before it sleeps.
 */
void rp_virtq_arm(struct rp_virtq *q, uint16_t pos);
void rp_virtq_disarm(struct rp_virtq *q);

#endif
