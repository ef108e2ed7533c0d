/* SPDX-License-Identifier: BSD-2-Clause */
/* The driver's side of a split virtqueue: VIRTIO 1.2, section 2.7. */
#include <string.h>

#include "abi/rp_barrier.h"
#include "fake_queue.h"

static uint16_t index_of(const struct fake_queue *q, struct fake_count count)
{
	return (uint16_t)(q->start + count.chains);
}

static void split_open(struct fake_queue *q)
{
	q->desc_addr = fake_ram_alloc(q->ram, q->size * sizeof(struct vring_desc), 16);
	q->driver_addr = fake_ram_alloc(q->ram, 6 + 2 * q->size, 2);
	q->device_addr = fake_ram_alloc(q->ram, 6 + 8 * q->size, 4);
	q->split.desc = fake_ram_at(q->ram, q->desc_addr);
	q->split.avail = fake_ram_at(q->ram, q->driver_addr);
	q->split.used = fake_ram_at(q->ram, q->device_addr);
}

static void split_reset(struct fake_queue *q)
{
	memset(q->split.desc, 0, q->size * sizeof(struct vring_desc));
	memset(q->split.avail, 0, 6 + 2 * q->size);
	memset(q->split.used, 0, 6 + 8 * q->size);
	q->split.avail->idx = q->split.used->idx = (uint16_t)q->start;
}

/* In order, descriptors are used as they lie in the table, from 0 on. */
static uint16_t nth_free(const struct fake_queue *q, unsigned i)
{
	if (q->in_order)
		return (uint16_t)((q->added.descriptors + i) % q->size);
	return q->free[q->nfree - 1 - i];
}

static int split_head(const struct fake_queue *q)
{
	return nth_free(q, 0);
}

static void split_put(struct fake_queue *q, uint16_t head, const struct fake_desc *d, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		q->split.desc[nth_free(q, i)] = (struct vring_desc){
			.addr = d[i].addr,
			.len = d[i].len,
			.flags = d[i].flags,
			.next = nth_free(q, i + 1 < n ? i + 1 : 0),
		};
	rp_store(&q->split.avail->ring[index_of(q, q->added) & (q->size - 1)], head);
}

static void split_table(void *table, const struct fake_desc *d, unsigned n)
{
	struct vring_desc *to = table;

	for (unsigned i = 0; i < n; i++)
		to[i] = (struct vring_desc){
			.addr = d[i].addr,
			.len = d[i].len,
			.flags = d[i].flags,
			.next = (uint16_t)(i + 1),
		};
}

static void split_publish(struct fake_queue *q)
{
	rp_store_release(&q->split.avail->idx, index_of(q, q->added));
}

static bool split_kick_wanted(const struct fake_queue *q)
{
	const struct vring_used *used = q->split.used;

	if (!q->event_idx)
		return !(rp_load(&used->flags) & VRING_USED_F_NO_NOTIFY);
	return vring_need_event(rp_load((const __virtio16 *)&used->ring[q->size]),
				index_of(q, q->published), index_of(q, q->kicked));
}

static bool split_used(const struct fake_queue *q, struct fake_count taken, uint16_t *head,
		       uint32_t *len)
{
	const struct vring_used *used = q->split.used;
	const uint16_t at = index_of(q, taken);
	const struct vring_used_elem *e = &used->ring[at & (q->size - 1)];
	const uint16_t there = (uint16_t)(rp_load_acquire(&used->idx) - at);

	if (!there)
		return false;
	EXPECT(there <= q->size);
	EXPECT(e->id < q->size);
	*head = (uint16_t)e->id;
	*len = e->len;
	return true;
}

static void split_give_back(struct fake_queue *q, uint16_t head)
{
	uint16_t at = head;

	for (uint16_t i = 0; i < q->chain[head].descriptors; i++) {
		q->free[q->nfree + i] = at;
		at = q->split.desc[at].next;
	}
}

static void split_arm(struct fake_queue *q)
{
	struct vring_avail *avail = q->split.avail;

	if (q->event_idx)
		rp_store(&avail->ring[q->size], index_of(q, q->taken));
	else
		rp_store(&avail->flags, 0);
}

static void split_disarm(struct fake_queue *q)
{
	struct vring_avail *avail = q->split.avail;

	if (q->event_idx)
		rp_store(&avail->ring[q->size], (uint16_t)(index_of(q, q->taken) - 1));
	else
		rp_store(&avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
}

/* The used index is in memory. */
static uint32_t split_base(const struct fake_queue *q, uint32_t avail, uint32_t used)
{
	(void)used;
	return (uint16_t)(q->start + avail);
}

const struct fake_ops fake_split = {
	.open = split_open,
	.reset = split_reset,
	.head = split_head,
	.put = split_put,
	.table = split_table,
	.publish = split_publish,
	.kick_wanted = split_kick_wanted,
	.used = split_used,
	.give_back = split_give_back,
	.arm = split_arm,
	.disarm = split_disarm,
	.base = split_base,
};
