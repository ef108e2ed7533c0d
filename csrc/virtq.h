/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_VIRTQ_H
#define RP_VIRTQ_H
/*
 * DOC: A virtqueue, split or packed, seen from the device (VIRTIO 1.2, 2.7 and 2.8).
 *
 *                      split                          packed
 *   descriptor area    desc[]: what chains are        ring[]: what is available,
 *                      made of                        and what was used
 *   driver area        avail: which chains there      driver: call me at ...
 *                      are; call me at ...
 *   device area        used: which chains are done;   device: kick me at ...
 *                      kick me at ...
 *
 * Four verbs, in this order, are all that the front end needs, and none of
 * them tells the formats apart:
 *
 *   pop      take the next chain, checked and translated
 *   fill     write a used entry for it, which the driver can't see yet
 *   flush    publish the used entries, in order
 *   notify   does the driver want a call for them?
 *
 * Positions run freely through 16 bits in both formats. A packed ring stores
 * an index and a wrap counter, which starts as 1 and is inverted each lap:
 *
 *   position   0 .. size-1   size .. 2*size-1   2*size ..
 *   index      0 .. size-1   0    .. size-1     0 ..        position % size
 *   wrap       1             0                  1           !(position & size)
 *
 * A chain takes as many positions of a packed ring as it has descriptors there,
 * and one of a split ring. Chains are used in the order in which they became
 * available, so in a packed ring a used entry goes where its chain was.
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
#include "dirty.h"
#include "guestmem.h"

enum { RP_AHEAD = 32 };

/* An entry of a packed ring that is written when it is published, not before. */
struct rp_used {
	uint32_t len;
	uint16_t id;
	uint16_t slots;
};

struct rp_virtq {
	union {
		const struct vring_desc *desc;
		struct vring_packed_desc *ring;
	};
	union {
		struct vring_avail *avail;
		const struct vring_packed_desc_event *driver;
	};
	union {
		struct vring_used *used;
		struct vring_packed_desc_event *device;
	};
	struct rp_used *filled; /* packed: by index */
	/* While the guest migrates, what is written in the areas is marked there; *log NULL: not. */
	struct rp_dirty *const *log;
	uint64_t entries_addr; /* guest address of used entries: split: of the used ring's */
	uint64_t device_addr;  /* and of the device area */
	uint32_t size;
	uint32_t hint;	    /* for rp_guestmem_at() */
	uint16_t avail_idx; /* split: as last read */
	uint16_t used_pos;  /* as last published */
	bool packed;	    /* negotiated */
	bool in_order;	    /* negotiated */
	bool indirect;	    /* negotiated */
	bool event_idx;	    /* negotiated */
	bool writable;	    /* chains are for the device to write: a receive queue */
	const char *broken; /* which rule the driver broke; NULL: none */
};

/* Flags of a packed ring's descriptors: for whom they are, this lap. */
enum {
	RP_PACKED_AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
	RP_PACKED_USED = 1 << VRING_PACKED_DESC_F_USED,
	RP_PACKED_FLAGS = RP_PACKED_AVAIL | RP_PACKED_USED
};

/* rp_packed_available() - the flags of a descriptor at @pos that is available, not used */
static inline uint16_t rp_packed_available(const struct rp_virtq *q, uint16_t pos)
{
	return pos & q->size ? RP_PACKED_USED : RP_PACKED_AVAIL;
}

/* rp_packed_used() - and of one that was used */
static inline uint16_t rp_packed_used(const struct rp_virtq *q, uint16_t pos)
{
	return pos & q->size ? 0 : RP_PACKED_FLAGS;
}

struct rp_chain {
	uint16_t id;	/* what the driver knows it by */
	uint16_t slots; /* positions that it takes */
	uint16_t nsegs;
	uint64_t bytes;
};

/*
 * Usual chains, see rp_virtq_pop_usual(), that were read together, so that the
 * caches fetch together what they point to. For one pull or one lease: it must
 * not outlive the table of guest memory.
 */
struct rp_ahead {
	uint32_t at; /* those before it were taken */
	uint32_t n;
	uint32_t most; /* to read from now on: whoever wants one chain does not pay for many */
	uint16_t id[RP_AHEAD];
	struct rp_seg seg[RP_AHEAD];
};

enum rp_pop {
	RP_POP_CHAIN,
	RP_POP_EMPTY,
	RP_POP_NO_ROOM, /* more pieces than @max; all but nsegs and bytes of the chain is known */
	RP_POP_BROKEN
};

/**
 * rp_virtq_open() - set a queue up
 * @features:	negotiated
 * @writable:	it is a receive queue
 *
 * Return: 0, or a negative errno with the reason in @err
 */
int rp_virtq_open(struct rp_virtq *q, uint64_t features, bool writable,
		  const struct rp_guestmem *mem, const struct rp_vring_config *cfg,
		  struct rp_err *err);
void rp_virtq_close(struct rp_virtq *q);

/**
 * rp_virtq_map() - find the three areas of an open queue in the guest's memory
 *
 * Return: 0, or -EINVAL with the reason in @err
 */
int rp_virtq_map(struct rp_virtq *q, const struct rp_guestmem *mem,
		 const struct rp_vring_config *cfg, struct rp_err *err);

/**
 * rp_virtq_resume_packed() - where a packed ring goes on
 * @base:	the position that the front end says, a guess if its backend crashed
 *
 * Finishes what a backend was publishing when it was killed.
 */
uint16_t rp_virtq_resume_packed(struct rp_virtq *q, uint16_t base);

/* rp_virtq_position() - the position that index and wrap counter name, modulo two laps */
static inline uint16_t rp_virtq_position(const struct rp_virtq *q, uint16_t index_and_wrap)
{
	const uint16_t wrap = 1 << VRING_PACKED_EVENT_F_WRAP_CTR;

	return (uint16_t)((index_and_wrap & (wrap - 1)) + (index_and_wrap & wrap ? 0 : q->size));
}

/**
 * rp_virtq_base() - positions, as GET_VRING_BASE and SET_VRING_BASE write them
 *
 * Split: the next avail index. Packed: index and wrap counter of the next
 * descriptor, and the same of the next used one in the high half. Whoever
 * stops a queue gave all chains back before, so the two halves are equal.
 */
uint32_t rp_virtq_base(const struct rp_virtq *q, uint16_t pos);

/* rp_virtq_ready() - is there a chain at @pos? No as well when the driver lies: see q->broken. */
bool rp_virtq_ready(struct rp_virtq *q, uint16_t pos);

/* rp_virtq_pop_any() - rp_virtq_pop() for every chain there may be */
enum rp_pop rp_virtq_pop_any(struct rp_virtq *q, const struct rp_guestmem *mem, uint16_t pos,
			     struct rp_chain *chain, struct rp_seg *seg, uint32_t max);

/*
 * The usual chain: one descriptor, in one piece, in the region of the one
 * before. False says no more than that it is none; nothing was taken.
 */
static inline bool rp_virtq_pop_usual(struct rp_virtq *q, const struct rp_guestmem *mem,
				      uint16_t pos, struct rp_chain *chain, struct rp_seg *seg)
{
	enum { OTHER = VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE };
	const uint32_t mask = q->size - 1, direction = q->writable ? VRING_DESC_F_WRITE : 0;
	const struct rp_mem_region *r = &mem->region[q->hint];
	uint32_t i = pos & mask, len;
	uint64_t addr, offset;

	if (q->packed) {
		const struct vring_packed_desc *d = &q->ring[i];

		if ((rp_load_acquire(&d->flags) & (OTHER | RP_PACKED_FLAGS)) !=
			    (rp_packed_available(q, pos) | direction) ||
		    (uint16_t)(pos - q->used_pos) > mask)
			return false;
		chain->id = rp_load(&d->id);
		addr = rp_load(&d->addr);
		len = rp_load(&d->len);
	} else {
		const struct vring_desc *d = q->desc;

		if (q->avail_idx == pos && !rp_virtq_ready(q, pos))
			return false;
		i = rp_load(&q->avail->ring[i]);
		if (i > mask || (rp_load(&d[i].flags) & OTHER) != direction)
			return false;
		chain->id = (uint16_t)i;
		addr = rp_load(&d[i].addr);
		len = rp_load(&d[i].len);
	}
	if (q->hint >= mem->n)
		return false;
	offset = addr - r->guest_addr;
	if (offset >= r->bytes || len > r->bytes - offset)
		return false;
	chain->slots = chain->nsegs = 1;
	chain->bytes = len;
	*seg = (struct rp_seg){ .addr = r->host + offset, .len = len };
	return true;
}

/**
 * rp_virtq_pop() - read the chain at position @pos
 * @seg:	gets its pieces
 * @max:	room in @seg
 *
 * Nothing is consumed: the caller moves its own position on, by chain->slots.
 */
static inline enum rp_pop rp_virtq_pop(struct rp_virtq *q, const struct rp_guestmem *mem,
				       uint16_t pos, struct rp_chain *chain, struct rp_seg *seg,
				       uint32_t max)
{
	if (__builtin_expect(max && rp_virtq_pop_usual(q, mem, pos, chain, seg), 1))
		return RP_POP_CHAIN;
	return rp_virtq_pop_any(q, mem, pos, chain, seg, max);
}

/* rp_virtq_look_ahead() - read the usual chains from @pos on; there may be none */
void rp_virtq_look_ahead(struct rp_virtq *q, const struct rp_guestmem *mem, uint16_t pos,
			 struct rp_ahead *ahead);

/**
 * rp_virtq_pop_ahead() - rp_virtq_pop() of many chains in a row
 * @ahead:	empty in the beginning, with the number of chains that are wanted;
 *		to be emptied by a caller that does not move on by a chain that
 *		it popped
 */
static inline enum rp_pop rp_virtq_pop_ahead(struct rp_virtq *q, const struct rp_guestmem *mem,
					     uint16_t pos, struct rp_ahead *ahead,
					     struct rp_chain *chain, struct rp_seg *seg,
					     uint32_t max)
{
	if (ahead->at == ahead->n && ahead->most) {
		rp_virtq_look_ahead(q, mem, pos, ahead);
		if (ahead->at == ahead->n) /* nothing usual is here */
			return rp_virtq_pop_any(q, mem, pos, chain, seg, max);
	}
	if (ahead->at == ahead->n || max == 0)
		return rp_virtq_pop(q, mem, pos, chain, seg, max);
	*seg = ahead->seg[ahead->at];
	chain->id = ahead->id[ahead->at++];
	chain->slots = chain->nsegs = 1;
	chain->bytes = seg->len;
	return RP_POP_CHAIN;
}

/**
 * rp_virtq_fill() - write the used entry at position @pos
 * @slots:	positions that it gives back, in a packed ring
 * @len:	bytes written into the chain
 */
static inline void rp_virtq_fill(struct rp_virtq *q, uint16_t pos, uint16_t id, uint16_t slots,
				 uint32_t len)
{
	const uint32_t at = pos & (q->size - 1);

	if (q->packed)
		q->filled[at] = (struct rp_used){ len, id, slots };
	else
		q->used->ring[at] = (struct vring_used_elem){ id, len };
}

void rp_virtq_flush_packed(struct rp_virtq *q, uint16_t pos);
void rp_virtq_mark_used(const struct rp_virtq *q, const struct rp_dirty *log, uint16_t pos);

/* rp_virtq_flush() - publish the used entries before @pos, all at once */
static inline void rp_virtq_flush(struct rp_virtq *q, uint16_t pos)
{
	const struct rp_dirty *log;

	if (q->packed)
		rp_virtq_flush_packed(q, pos);
	else
		rp_store_release(&q->used->idx, pos); /* pairs with the driver's read of idx */
	log = rp_load_acquire(q->log);
	if (log)
		rp_virtq_mark_used(q, log, pos);
	q->used_pos = pos;
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
