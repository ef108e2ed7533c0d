/* SPDX-License-Identifier: BSD-2-Clause */
/* Virtqueues, from the driver to the device: areas, and chains that became available. */
#include "virtq.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#include "err.h"
#include "vnet.h"

/* A descriptor of either format, once it was read. */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t link; /* split: the next one; packed: the buffer's id */
};

/* As it lies in memory: split has flags and next in the end, packed has id and flags. */
struct raw_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t end[2];
};

static_assert(sizeof(struct raw_desc) == sizeof(struct vring_desc), "split");
static_assert(sizeof(struct raw_desc) == sizeof(struct vring_packed_desc), "packed");

/* Where descriptors are read from: the queue's own table, or an indirect one. */
struct table {
	const struct raw_desc *direct; /* NULL: not in one piece, read by address */
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
	enum { EVENT = sizeof(struct vring_packed_desc_event) };
	const uint64_t n = cfg->size, descs = n * sizeof(struct vring_desc);
	void *desc = NULL, *driver = NULL, *device = NULL;
	const bool p = q->packed;

	if (n == 0 || n > RP_MAX_VRING || (n & (n - 1)))
		return rp_fail(err, EINVAL,
			       "a virtqueue of %u entries; a power of two up to %d is allowed",
			       cfg->size, RP_MAX_VRING);
	if (map_area(&desc, mem, p ? "descriptor ring" : "descriptor table", cfg->desc_user_addr,
		     descs, VRING_DESC_ALIGN_SIZE, err) < 0 ||
	    map_area(&driver, mem, p ? "driver's event structure" : "avail ring",
		     cfg->avail_user_addr, p ? EVENT : 6 + 2 * n,
		     p ? EVENT : VRING_AVAIL_ALIGN_SIZE, err) < 0 ||
	    map_area(&device, mem, p ? "device's event structure" : "used ring",
		     cfg->used_user_addr, p ? EVENT : 6 + 8 * n, p ? EVENT : VRING_USED_ALIGN_SIZE,
		     err) < 0)
		return -EINVAL;
	q->desc = desc;
	q->avail = driver;
	q->used = device;
	q->size = cfg->size;
	q->device_addr = rp_guestmem_addr(mem, &q->hint, device);
	q->entries_addr = p ? rp_guestmem_addr(mem, &q->hint, desc) :
			      q->device_addr + offsetof(struct vring_used, ring);
	return 0;
}

/* Where to go on: what SET_VRING_BASE says, unless the queue's memory knows better. */
static int set_position(struct rp_virtq *q, uint32_t base, struct rp_err *err)
{
	const uint16_t index = base & 0x7fff;

	if (!q->packed) {
		q->avail_idx = (uint16_t)base;
		q->used_pos = rp_load_acquire(&q->used->idx);
		if ((uint16_t)(q->avail_idx - q->used_pos) > q->size)
			q->avail_idx = q->used_pos;
		return 0;
	}
	if (index >= q->size)
		return rp_fail(err, EINVAL, "it is to begin at index %u of %u", index, q->size);
	q->used_pos = rp_virtq_resume_packed(q, rp_virtq_position(q, (uint16_t)base));
	return 0;
}

int rp_virtq_open(struct rp_virtq *q, uint64_t features, bool writable,
		  const struct rp_guestmem *mem, const struct rp_vring_config *cfg,
		  struct rp_err *err)
{
	static struct rp_dirty *no_log;

	*q = (struct rp_virtq){
		.log = &no_log,
		.packed = features & RP_FEATURE(VIRTIO_F_RING_PACKED),
		.in_order = features & RP_FEATURE(VIRTIO_F_IN_ORDER),
		.indirect = features & RP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC),
		.event_idx = features & RP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
		.writable = writable,
	};
	if (rp_virtq_map(q, mem, cfg, err) < 0 || set_position(q, cfg->base, err) < 0)
		return -EINVAL;
	if (!q->packed)
		return 0;
	q->filled = calloc(q->size, sizeof(*q->filled));
	return q->filled ? 0 : rp_fail(err, ENOMEM, "no memory for %u used entries", q->size);
}

void rp_virtq_close(struct rp_virtq *q)
{
	free(q->filled);
	q->filled = NULL;
}

static bool ready_split(struct rp_virtq *q, uint16_t pos)
{
	if (q->avail_idx != pos)
		return true;
	/* Pairs with the driver's barrier before it writes idx. */
	q->avail_idx = rp_load_acquire(&q->avail->idx);
	if ((uint16_t)(q->avail_idx - pos) > q->size) {
		q->broken = "the avail index runs backwards or more than the queue's size ahead";
		q->avail_idx = pos;
	}
	return q->avail_idx != pos;
}

static bool ready_packed(struct rp_virtq *q, uint16_t pos)
{
	/* Pairs with the driver's barrier before it writes the flags. */
	const uint16_t flags = rp_load_acquire(&q->ring[pos & (q->size - 1)].flags);

	if ((flags & RP_PACKED_FLAGS) != rp_packed_available(q, pos))
		return false;
	if ((uint16_t)(pos - q->used_pos) >= q->size)
		q->broken = "more descriptors are available than the ring has";
	return !q->broken;
}

bool rp_virtq_ready(struct rp_virtq *q, uint16_t pos)
{
	return q->packed ? ready_packed(q, pos) : ready_split(q, pos);
}

static bool read_desc(struct rp_virtq *q, const struct rp_guestmem *mem, const struct table *t,
		      uint32_t i, struct desc *d)
{
	const struct raw_desc *at = t->direct ? t->direct + i : NULL;
	struct raw_desc raw;
	uint8_t *to = (uint8_t *)&raw;

	if (at) {
		raw.addr = rp_load(&at->addr);
		raw.len = rp_load(&at->len);
		raw.end[0] = rp_load(&at->end[0]);
		raw.end[1] = rp_load(&at->end[1]);
	}
	for (uint32_t done = 0, n; !at && done < sizeof(raw); done += n) {
		const volatile uint8_t *from;

		n = sizeof(raw) - done;
		from = rp_guestmem_at(mem, &q->hint, t->guest_addr + i * sizeof(raw) + done, &n);
		if (!from)
			return false;
		for (uint32_t k = 0; k < n; k++)
			to[done + k] = from[k];
	}
	*d = (struct desc){ raw.addr, raw.len, raw.end[q->packed], raw.end[!q->packed] };
	return true;
}

static const char *enter_indirect(struct rp_virtq *q, const struct rp_guestmem *mem,
				  const struct desc *d, struct table *t)
{
	uint32_t bytes = d->len;
	uint8_t *at;

	if (!q->indirect)
		return "an indirect descriptor, which was not negotiated";
	if (d->flags & VRING_DESC_F_NEXT)
		return "an indirect descriptor with a next one";
	if (bytes == 0 || bytes % sizeof(struct raw_desc))
		return "an indirect table whose length is not a multiple of 16";
	at = rp_guestmem_at(mem, &q->hint, d->addr, &bytes);
	if (!at)
		return "an indirect table outside the guest's memory";
	t->guest_addr = d->addr;
	t->n = d->len / sizeof(struct raw_desc);
	t->direct = bytes == d->len && (uintptr_t)at % 8 == 0 ? (const struct raw_desc *)at : NULL;
	return NULL;
}

/* A descriptor's memory may span regions that are neighbours for the guest only. */
static enum rp_pop add_pieces(struct rp_virtq *q, const struct rp_guestmem *mem,
			      const struct desc *d, struct rp_chain *chain, struct rp_seg *seg,
			      uint32_t max)
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

/* The descriptor after @d, which is at *@i: false when it is the last one. */
static bool follow(const struct rp_virtq *q, const struct desc *d, const struct table *t,
		   bool in_indirect, struct rp_chain *chain, uint32_t *i)
{
	if (q->packed && in_indirect)
		return ++*i < t->n;
	if (!(d->flags & VRING_DESC_F_NEXT))
		return false;
	chain->slots += q->packed;
	*i = q->packed ? (*i + 1) & (q->size - 1) : d->link;
	return true;
}

enum rp_pop rp_virtq_pop_any(struct rp_virtq *q, const struct rp_guestmem *mem, uint16_t pos,
			     struct rp_chain *chain, struct rp_seg *seg, uint32_t max)
{
	struct table table = { .direct = (const struct raw_desc *)q->desc, .n = q->size };
	uint32_t i = pos & (q->size - 1), left = q->size;
	enum rp_pop ret = RP_POP_CHAIN;
	bool in_indirect = false;
	struct desc d;

	if (!rp_virtq_ready(q, pos))
		return q->broken ? RP_POP_BROKEN : RP_POP_EMPTY;
	if (q->packed)
		left -= (uint16_t)(pos - q->used_pos); /* others of the ring are ours already */
	else
		i = rp_load(&q->avail->ring[i]);
	*chain = (struct rp_chain){ .id = (uint16_t)i, .slots = 1 };
	for (;;) {
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
		if (q->packed && !in_indirect)
			chain->id = d.link;
		if (d.flags & VRING_DESC_F_INDIRECT) {
			q->broken = in_indirect ? "an indirect descriptor in an indirect table" :
						  enter_indirect(q, mem, &d, &table);
			if (q->broken)
				return RP_POP_BROKEN;
			if (ret == RP_POP_NO_ROOM)
				return ret;
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
		if (ret == RP_POP_CHAIN)
			ret = add_pieces(q, mem, &d, chain, seg, max);
		/* Without room for more, only where a packed chain ends is still to be known. */
		if (ret == RP_POP_BROKEN || (ret == RP_POP_NO_ROOM && (in_indirect || !q->packed)))
			return ret;
		if (!follow(q, &d, &table, in_indirect, chain, &i))
			return ret;
	}
}

void rp_virtq_look_ahead(struct rp_virtq *q, const struct rp_guestmem *mem, uint16_t pos,
			 struct rp_ahead *ahead)
{
	enum { LINE = 64 };
	const uint32_t most = ahead->most < RP_AHEAD ? ahead->most : RP_AHEAD;
	struct rp_chain chain;
	uint32_t n;

	for (n = 0; n < most; n++) {
		struct rp_seg *seg = &ahead->seg[n];

		if (!rp_virtq_pop_usual(q, mem, (uint16_t)(pos + n), &chain, seg))
			break;
		ahead->id[n] = chain.id;
		/* Where the virtio-net header and the addresses are; the rest follows by itself. */
		if (q->writable) {
			rp_prefetch_write(seg->addr);
			rp_prefetch_write(seg->addr + LINE);
		} else {
			__builtin_prefetch(seg->addr);
			__builtin_prefetch(seg->addr + LINE);
		}
	}
	ahead->at = 0;
	ahead->n = n;
	ahead->most -= n;
}
