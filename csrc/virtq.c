/* SPDX-License-Identifier: BSD-2-Clause */
#include "virtq.h"

#include <errno.h>
#include <inttypes.h>

#include "err.h"

/* Where descriptors are read from: the queue's own table, or an indirect one. */
struct table {
	const struct vring_desc *direct; /* NULL: not in one piece, read by address */
	uint64_t guest_addr;
	uint32_t n;
};

static int map_area(void **area, const struct rp_guestmem *mem, const char *name, uint64_t addr,
		    uint64_t bytes, uint64_t align, struct rp_err *err)
{
	*area = rp_guestmem_user(mem, addr, bytes);
	if (!*area)
		return rp_fail(err, EINVAL,
			       "the %s at %#" PRIx64 " (%" PRIu64
			       " bytes) does not lie in one region of the guest's memory",
			       name, addr, bytes);
	/* Also where we mapped it: a region may begin at any offset of its file. */
	if (addr % align || (uintptr_t)*area % align)
		return rp_fail(err, EINVAL,
			       "the %s at %#" PRIx64 " is not aligned to %" PRIu64 " bytes", name,
			       addr, align);
	return 0;
}

int rp_virtq_map(struct rp_virtq *q, const struct rp_guestmem *mem,
		 const struct rp_vring_config *cfg, struct rp_err *err)
{
	const uint64_t n = cfg->size;
	void *desc = NULL, *avail = NULL, *used = NULL;

	if (n == 0 || n > RP_MAX_VRING || (n & (n - 1)))
		return rp_fail(err, EINVAL,
			       "a virtqueue of %u entries; a power of two up to %d is allowed",
			       cfg->size, RP_MAX_VRING);
	if (map_area(&desc, mem, "descriptor table", cfg->desc_user_addr,
		     n * sizeof(struct vring_desc), VRING_DESC_ALIGN_SIZE, err) < 0 ||
	    map_area(&avail, mem, "avail ring", cfg->avail_user_addr, 6 + 2 * n,
		     VRING_AVAIL_ALIGN_SIZE, err) < 0 ||
	    map_area(&used, mem, "used ring", cfg->used_user_addr, 6 + 8 * n, VRING_USED_ALIGN_SIZE,
		     err) < 0)
		return -EINVAL;
	q->desc = desc;
	q->avail = avail;
	q->used = used;
	q->size = cfg->size;
	return 0;
}

uint32_t rp_virtq_ready(struct rp_virtq *q, uint16_t pos)
{
	uint16_t ready = (uint16_t)(q->avail_idx - pos);

	if (ready)
		return ready;
	/* Pairs with the driver's barrier before it writes idx. */
	q->avail_idx = rp_load_acquire(&q->avail->idx);
	ready = (uint16_t)(q->avail_idx - pos);
	if (ready > q->size) {
		q->broken = "the avail index runs backwards or more than the queue's size ahead";
		q->avail_idx = pos;
		return 0;
	}
	return ready;
}

static bool read_desc(struct rp_virtq *q, const struct rp_guestmem *mem, const struct table *t,
		      uint32_t i, struct vring_desc *d)
{
	const struct vring_desc *at = t->direct ? t->direct + i : NULL;
	uint8_t *to = (uint8_t *)d;

	if (at) {
		d->addr = rp_load(&at->addr);
		d->len = rp_load(&at->len);
		d->flags = rp_load(&at->flags);
		d->next = rp_load(&at->next);
		return true;
	}
	for (uint32_t done = 0, n; done < sizeof(*d); done += n) {
		const volatile uint8_t *from;

		n = sizeof(*d) - done;
		from = rp_guestmem_at(mem, &q->hint, t->guest_addr + i * sizeof(*d) + done, &n);
		if (!from)
			return false;
		for (uint32_t k = 0; k < n; k++)
			to[done + k] = from[k];
	}
	return true;
}

static const char *enter_indirect(struct rp_virtq *q, const struct rp_guestmem *mem,
				  const struct vring_desc *d, struct table *t)
{
	uint32_t bytes = d->len;
	uint8_t *at;

	if (!q->indirect)
		return "an indirect descriptor, which was not negotiated";
	if (d->flags & VRING_DESC_F_NEXT)
		return "an indirect descriptor with a next one";
	if (bytes == 0 || bytes % sizeof(struct vring_desc))
		return "an indirect table whose length is not a multiple of 16";
	at = rp_guestmem_at(mem, &q->hint, d->addr, &bytes);
	if (!at)
		return "an indirect table outside the guest's memory";
	t->guest_addr = d->addr;
	t->n = d->len / sizeof(struct vring_desc);
	t->direct =
		bytes == d->len && (uintptr_t)at % 8 == 0 ? (const struct vring_desc *)at : NULL;
	return NULL;
}

/* A descriptor's memory may span regions that are neighbours for the guest only. */
static enum rp_pop add_pieces(struct rp_virtq *q, const struct rp_guestmem *mem,
			      const struct vring_desc *d, struct rp_chain *chain,
			      struct rp_seg *seg, uint32_t max)
{
	uint64_t addr = d->addr;
	uint32_t left = d->len;

	do {
		uint32_t n = left ? left : 1;
		uint8_t *at = rp_guestmem_at(mem, &q->hint, addr, &n);

		if (!at || d->addr + d->len < d->addr) {
			q->broken = "a descriptor outside the guest's memory";
			return RP_POP_BROKEN;
		}
		if (chain->nsegs == max)
			return RP_POP_NO_ROOM;
		if (n > left)
			n = left;
		seg[chain->nsegs++] = (struct rp_seg){ .addr = at, .len = n };
		addr += n;
		left -= n;
	} while (left);
	chain->bytes += d->len;
	return RP_POP_CHAIN;
}

enum rp_pop rp_virtq_pop(struct rp_virtq *q, const struct rp_guestmem *mem, uint16_t pos,
			 struct rp_chain *chain, struct rp_seg *seg, uint32_t max)
{
	struct table table = { .direct = q->desc, .n = q->size };
	bool in_indirect = false;
	uint32_t left = q->size;
	struct vring_desc d;
	uint32_t i;

	if (!rp_virtq_ready(q, pos))
		return q->broken ? RP_POP_BROKEN : RP_POP_EMPTY;
	i = rp_load(&q->avail->ring[pos & (q->size - 1)]);
	*chain = (struct rp_chain){ .head = (uint16_t)i };
	for (;;) {
		enum rp_pop ret;

		if (i >= table.n) {
			q->broken = "a descriptor index beyond its table";
			return RP_POP_BROKEN;
		}
		if (left-- == 0) {
			q->broken = "a descriptor chain that is a loop, or longer than its table";
			return RP_POP_BROKEN;
		}
		if (!read_desc(q, mem, &table, i, &d)) {
			q->broken = "an indirect table outside the guest's memory";
			return RP_POP_BROKEN;
		}
		if (d.flags & VRING_DESC_F_INDIRECT) {
			q->broken = in_indirect ? "an indirect descriptor in an indirect table" :
						  enter_indirect(q, mem, &d, &table);
			if (q->broken)
				return RP_POP_BROKEN;
			in_indirect = true;
			left = table.n; /* huge, maybe: each one needs a piece, and they are few */
			i = 0;
			continue;
		}
		if (!(d.flags & VRING_DESC_F_WRITE) == q->writable) {
			q->broken = q->writable ?
					    "a receive buffer that the device may not write" :
					    "a transmit buffer that the device may write only";
			return RP_POP_BROKEN;
		}
		ret = add_pieces(q, mem, &d, chain, seg, max);
		if (ret != RP_POP_CHAIN)
			return ret;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return RP_POP_CHAIN;
		i = d.next;
	}
}

bool rp_virtq_notify(struct rp_virtq *q, uint16_t from, uint16_t to)
{
	/* Pairs with the driver's: it arms, fences, looks at used.idx again. */
	rp_fence_full();
	if (q->event_idx)
		return vring_need_event(rp_load(&q->avail->ring[q->size]), to, from);
	return !(rp_load(&q->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

void rp_virtq_arm(struct rp_virtq *q, uint16_t pos)
{
	if (q->event_idx)
		rp_store((uint16_t *)&q->used->ring[q->size], pos);
	else
		rp_store(&q->used->flags, 0);
}

void rp_virtq_disarm(struct rp_virtq *q)
{
	/* With event indexes nothing is to be done: an old one asks for no kick. */
	if (!q->event_idx)
		rp_store(&q->used->flags, VRING_USED_F_NO_NOTIFY);
}
