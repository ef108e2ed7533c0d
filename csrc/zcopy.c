/* SPDX-License-Identifier: BSD-2-Clause */
#include "zcopy.h"

#include <string.h>
#include <time.h>

/* The first half of a slot as one word: buf_idx, len, flags. */
#define BUF_IDX	 UINT64_C(0xffffffff)
#define LEN	 UINT64_C(0x0000ffff00000000)
#define FLAGS(f) ((uint64_t)(f) << 48)

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "buf_idx is the low word");

/* What was given. */
struct given {
	uint64_t frames;
	uint64_t bytes;
};

/* How slots look in the monitor's ring. */
struct look {
	uint64_t keep;	 /* bits of the slot's flags */
	uint64_t flip;	 /* and those that change, or are set */
	bool keep_ptr;	 /* it says where the frame begins, or has the time already */
	uint64_t now_ns; /* else the time */
	uint32_t bufs;	 /* indexes of the region's buffers end here */
};

static struct look look_of(const struct rp_csb_ring *from)
{
	const uint32_t mark = rp_load(&from->csb->mark);
	struct look look = {
		.keep = FLAGS(NS_MOREFRAG),
		.flip = FLAGS(mark & NS_TXMON),
		.keep_ptr = (mark & RP_ZCOPY_KEEP) || rp_load(&from->ring->offset_mask),
		.bufs = from->view->bufs.objtotal,
	};
	struct timespec t;

	if (mark & RP_ZCOPY_KEEP)
		look.keep |= FLAGS(NS_TXMON);
	if (!look.keep_ptr) {
		clock_gettime(CLOCK_REALTIME, &t);
		look.now_ns = (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
	}
	return look;
}

static inline uint64_t load(const void *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static inline void store(void *at, uint64_t word)
{
	memcpy(at, &word, sizeof(word));
}

static uint64_t frames_in(const struct netmap_slot *slot, uint32_t n)
{
	uint64_t frames = 0;

	for (uint32_t i = 0; i < n; i++)
		frames += !(rp_load(&slot[i].flags) & NS_MOREFRAG);
	return frames;
}

/* Swap @n slots that wrap around in neither ring. Return: how many; the next has no buffer */
static inline uint32_t swap_as(struct netmap_slot *from, struct netmap_slot *to, uint32_t n,
			       const struct look *look, bool keep_ptr, struct given *g)
{
	const uint64_t keep = look->keep | BUF_IDX | LEN, now_ns = look->now_ns;
	const uint64_t flip = look->flip | FLAGS(NS_BUF_CHANGED);
	const uint32_t most = look->bufs - NETMAP_BUF_RESERVED;
	uint64_t bytes = 0, any = 0;
	uint32_t i;

	for (i = 0; i < n; i++) {
		const uint64_t what = load(&from[i]);
		const uint32_t spare = (uint32_t)load(&to[i]);

		/* It would break the giver's port when that uses it. */
		if (spare - NETMAP_BUF_RESERVED >= most)
			break;
		store(&to[i], (what & keep) ^ flip);
		store(&to[i].ptr, keep_ptr ? load(&from[i].ptr) : now_ns);
		store(&from[i], (what & ~BUF_IDX) | FLAGS(NS_BUF_CHANGED) | spare);
		bytes += (uint16_t)(what >> 32);
		any |= what;
	}
	g->frames += any & FLAGS(NS_MOREFRAG) ? frames_in(to, i) : i;
	g->bytes += bytes;
	return i;
}

static uint32_t swap_run(struct netmap_slot *from, struct netmap_slot *to, uint32_t n,
			 const struct look *look, struct given *g)
{
	return look->keep_ptr ? swap_as(from, to, n, look, true, g) :
				swap_as(from, to, n, look, false, g);
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Swap @n slots. Return: how many */
static uint32_t swap_all(const struct rp_csb_ring *from, uint32_t at, const struct rp_csb_ring *to,
			 uint32_t to_at, uint32_t n, struct given *g)
{
	const struct look look = look_of(from);
	uint32_t done = 0, run, swapped;

	do {
		run = least(n - done, least(from->slots - at, to->slots - to_at));
		swapped = swap_run(&from->ring->slot[at], &to->ring->slot[to_at], run, &look, g);
		done += swapped;
		at = rp_slot_add(at, swapped, from->slots);
		to_at = rp_slot_add(to_at, swapped, to->slots);
	} while (swapped == run && done < n);
	return done;
}

static uint64_t frames_from(const struct rp_csb_ring *r, uint32_t at, uint32_t n)
{
	const uint32_t first = least(n, r->slots - at);

	return frames_in(&r->ring->slot[at], first) + frames_in(r->ring->slot, n - first);
}

/* Pass over slots so that at most @room are left, but not over a part of a frame. */
static uint32_t skip(const struct rp_csb_ring *from, uint32_t at, uint32_t n, uint32_t room)
{
	uint32_t i = n - room;

	while (i < n && (rp_load(&from->ring->slot[rp_slot_add(at, i - 1, from->slots)].flags) &
			 NS_MOREFRAG))
		i++;
	return i;
}

static void count_lost(const struct rp_csb_ring *to, uint64_t frames)
{
	if (frames)
		rp_add_fetch((uint64_t *)(void *)to->ring->sem, frames);
}

/* A frame of which its user gave back a part ends here: another ring's slots may follow. */
static void end_frame(const struct rp_csb_ring *to, uint32_t tail, struct given *g)
{
	struct netmap_slot *last = &to->ring->slot[rp_slot_prev(tail, to->slots)];
	const uint16_t flags = rp_load(&last->flags);

	if (flags & NS_MOREFRAG) {
		rp_store(&last->flags, flags & (uint16_t)~NS_MOREFRAG);
		g->frames++;
	}
}

static void give(const struct rp_csb_ring *from, uint32_t at, uint32_t n,
		 const struct rp_csb_ring *to)
{
	const uint32_t head = rp_load_acquire(&to->csb->atok.head);
	uint32_t tail = rp_load(&to->csb->ktoa.hwtail), room, skipped = 0, done;
	struct given g = { 0 };

	if (head >= to->slots || tail >= to->slots) {
		count_lost(to, frames_from(from, at, n));
		return;
	}
	room = to->slots - 1 - rp_slot_distance(head, tail, to->slots);
	if (n > room) {
		skipped = skip(from, at, n, room);
		count_lost(to, frames_from(from, at, skipped));
		at = rp_slot_add(at, skipped, from->slots);
		n -= skipped;
	}
	if (!n)
		return;
	done = swap_all(from, at, to, tail, n, &g);
	if (done < n)
		count_lost(to, frames_from(from, rp_slot_add(at, done, from->slots), n - done));
	if (!done)
		return;
	tail = rp_slot_add(tail, done, to->slots);
	end_frame(to, tail, &g);
	rp_store_release(&to->csb->ktoa.hwtail, tail);
	rp_store(&to->csb->frames, to->csb->frames + g.frames);
	rp_store(&to->csb->bytes, to->csb->bytes + g.bytes);
	rp_store(&to->csb->batches, to->csb->batches + 1);
}

bool rp_zcopy_take_lock(struct rp_csb *csb, unsigned tries)
{
	for (unsigned i = 0; i < tries; i++) {
		if (!rp_load(&csb->lock) && rp_claim(&csb->lock))
			return true;
		rp_cpu_relax();
	}
	return false;
}

void rp_zcopy_give(const struct rp_csb_ring *from, uint32_t at, uint32_t n, unsigned tries)
{
	const uint32_t monitor = rp_load(&from->csb->monitor);
	struct rp_csb_ring to;

	if (!n || !rp_csb_ring_open(&to, from->view, monitor) || to.ring == from->ring)
		return;
	if (!rp_zcopy_take_lock(to.csb, tries)) {
		count_lost(&to, frames_from(from, at, n));
		return;
	}
	/* Pairs with the fence of who detaches a monitor: it locks for ever what nobody points at. */
	rp_fence_full();
	if (rp_load(&from->csb->monitor) == monitor)
		give(from, at, n, &to);
	rp_store_release(&to.csb->lock, 0);
}
