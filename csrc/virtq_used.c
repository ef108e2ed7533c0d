/* SPDX-License-Identifier: BSD-2-Clause */
/* Virtqueues, from the device to the driver: chains that were used, and who wants to be told. */
#include "virtq.h"

#include <stddef.h>

enum { WRAP = 1 << VRING_PACKED_EVENT_F_WRAP_CTR };

/* A position, as packed rings and their event structures name it. */
static uint16_t index_and_wrap(const struct rp_virtq *q, uint16_t pos)
{
	return (uint16_t)((pos & (q->size - 1)) | (pos & q->size ? 0 : WRAP));
}

uint32_t rp_virtq_base(const struct rp_virtq *q, uint16_t pos)
{
	const uint32_t at = index_and_wrap(q, pos);

	return q->packed ? at | at << 16 : pos;
}

/* Mark what was written @offset bytes into the device area, a word or two. */
static void mark_event(const struct rp_virtq *q, uint64_t offset)
{
	const struct rp_dirty *log = rp_load_acquire(q->log);

	if (log)
		rp_dirty_mark(log, q->device_addr + offset, sizeof(struct vring_packed_desc_event));
}

/* Keep @pos, which the ring does not tell, for a backend after this one; see virtq_resume.c. */
static void leave_position(struct rp_virtq *q, uint16_t pos)
{
	/* While the device waits for kicks, the driver goes by this word. */
	if (rp_load(&q->device->flags) == VRING_PACKED_EVENT_FLAG_DESC)
		return;
	rp_store(&q->device->off_wrap, index_and_wrap(q, pos));
	mark_event(q, 0);
}

/*
 * The driver looks at the first entry; when it sees that one, it may see all:
 *
 *   1. id, length and flags of all entries but the first
 *   2. id and length of the first
 *   3. its flags, with release
 */
void rp_virtq_flush_packed(struct rp_virtq *q, uint16_t pos)
{
	const uint32_t mask = q->size - 1;
	const uint16_t first = q->used_pos;
	uint16_t first_flags = 0, slots = 0;

	for (uint16_t at = first; at != pos;) {
		const struct rp_used *u = &q->filled[at & mask];
		struct vring_packed_desc *d = &q->ring[at & mask];
		const uint16_t flags =
			(uint16_t)(rp_packed_used(q, at) | (u->len ? VRING_DESC_F_WRITE : 0));

		d->id = u->id;
		d->len = u->len;
		if (at == first)
			first_flags = flags;
		else
			rp_store_release(&d->flags,
					 flags); /* behind the first one's id and length */
		slots = u->slots;
		at += slots;
	}
	if (slots > 1)
		leave_position(q, pos);
	if (pos != first)
		rp_store_release(&q->ring[first & mask].flags, first_flags);
}

void rp_virtq_mark_used(const struct rp_virtq *q, const struct rp_dirty *log, uint16_t pos)
{
	const uint64_t entry =
		q->packed ? sizeof(struct vring_packed_desc) : sizeof(struct vring_used_elem);
	const uint32_t first = q->used_pos & (q->size - 1), n = (uint16_t)(pos - q->used_pos);
	const uint32_t to_end = n < q->size - first ? n : q->size - first;

	rp_dirty_mark(log, q->entries_addr + first * entry, to_end * entry);
	rp_dirty_mark(log, q->entries_addr, (n - to_end) * entry);
	if (!q->packed)
		rp_dirty_mark(log, q->device_addr + offsetof(struct vring_used, idx),
			      sizeof(q->used->idx));
}

static bool notify_packed(const struct rp_virtq *q, uint16_t from, uint16_t to)
{
	/* Pairs with the driver, which writes the position first. */
	const uint16_t flags = rp_load_acquire(&q->driver->flags);
	const uint32_t two_laps = 2 * q->size - 1;
	uint32_t event;

	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !q->event_idx)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	event = rp_virtq_position(q, rp_load(&q->driver->off_wrap));
	return ((to - event - 1) & two_laps) < (uint16_t)(to - from);
}

bool rp_virtq_notify(struct rp_virtq *q, uint16_t from, uint16_t to)
{
	/* Pairs with the driver's: it arms, fences, looks for used entries again. */
	rp_fence_full();
	if (q->packed)
		return notify_packed(q, from, to);
	if (q->event_idx)
		return vring_need_event(rp_load(&q->avail->ring[q->size]), to, from);
	return !(rp_load(&q->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

void rp_virtq_arm(struct rp_virtq *q, uint16_t pos)
{
	if (q->packed) {
		rp_store(&q->device->off_wrap, index_and_wrap(q, pos));
		rp_store_release(&q->device->flags, q->event_idx ? VRING_PACKED_EVENT_FLAG_DESC :
								   VRING_PACKED_EVENT_FLAG_ENABLE);
		mark_event(q, 0);
	} else if (q->event_idx) {
		rp_store((uint16_t *)&q->used->ring[q->size], pos);
		mark_event(q, offsetof(struct vring_used, ring[q->size]));
	} else {
		rp_store(&q->used->flags, 0);
		mark_event(q, offsetof(struct vring_used, flags));
	}
}

void rp_virtq_disarm(struct rp_virtq *q)
{
	if (!q->packed && q->event_idx)
		return; /* an old index asks for no kick */
	if (q->packed)
		rp_store(&q->device->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	else
		rp_store(&q->used->flags, VRING_USED_F_NO_NOTIFY);
	mark_event(q, 0);
}
