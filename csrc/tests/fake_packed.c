/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: The driver's side of a packed virtqueue: VIRTIO 1.2, section 2.8.
 *
 *   position  0      ...     size - 1  size     ...  2 * size - 1  (0 again)
 *   slot      0      ...     size - 1  0        ...  size - 1
 *   wrap      1      ...     1         0        ...  0
 */
#include <string.h>

#include "abi/rp_barrier.h"
#include "fake_queue.h"

enum {
	AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
	USED = 1 << VRING_PACKED_DESC_F_USED,
	WRAP = 1 << VRING_PACKED_EVENT_F_WRAP_CTR
};

/* Heads and ids belong together one to one: odd factors can be undone, modulo 2^16. */
static uint16_t id_of(uint16_t head)
{
	return (uint16_t)(head * 40503u + 4711);
}

static uint16_t head_of(uint16_t id)
{
	return (uint16_t)((uint16_t)(id - 4711) * 30599u);
}

static uint32_t position(const struct fake_queue *q, struct fake_count count)
{
	return (q->start + count.descriptors) % (2 * q->size);
}

static bool wrap_at(const struct fake_queue *q, uint32_t pos)
{
	return pos < q->size;
}

static struct vring_packed_desc *desc_at(const struct fake_queue *q, uint32_t pos)
{
	return &q->packed.desc[pos % q->size];
}

/* As in event suppression and in SET_VRING_BASE. */
static uint16_t off_wrap(const struct fake_queue *q, uint32_t pos)
{
	return (uint16_t)(pos % q->size | (wrap_at(q, pos) ? WRAP : 0));
}

static void packed_open(struct fake_queue *q)
{
	q->desc_addr = fake_ram_alloc(q->ram, q->size * sizeof(struct vring_packed_desc), 16);
	q->driver_addr = fake_ram_alloc(q->ram, sizeof(*q->packed.driver), 4);
	q->device_addr = fake_ram_alloc(q->ram, sizeof(*q->packed.device), 4);
	q->packed.desc = fake_ram_at(q->ram, q->desc_addr);
	q->packed.driver = fake_ram_at(q->ram, q->driver_addr);
	q->packed.device = fake_ram_at(q->ram, q->device_addr);
}

/* Behind the start lies what the lap before left used; in the first lap, zeros are that. */
static void packed_reset(struct fake_queue *q)
{
	const uint32_t pos = q->start % (2 * q->size);

	memset(q->packed.driver, 0, sizeof(*q->packed.driver));
	memset(q->packed.device, 0, sizeof(*q->packed.device));
	for (uint32_t i = 0; i < q->size; i++) {
		const bool wrap = wrap_at(q, pos) == (i < pos % q->size);

		q->packed.desc[i] = (struct vring_packed_desc){ .flags = wrap ? AVAIL | USED : 0 };
	}
	q->packed.first_flags = 0;
}

static int packed_head(const struct fake_queue *q)
{
	return q->free[q->size - (q->added.chains - q->taken.chains) - 1];
}

static void packed_put(struct fake_queue *q, uint16_t head, const struct fake_desc *d, unsigned n)
{
	struct fake_count at = q->added;

	for (unsigned i = 0; i < n; i++, at.descriptors++) {
		const uint32_t pos = position(q, at);
		const uint16_t flags = d[i].flags | (wrap_at(q, pos) ? AVAIL : USED);
		struct vring_packed_desc *to = desc_at(q, pos);

		to->addr = d[i].addr;
		to->len = d[i].len;
		/* The id is the last one's. */
		to->id = i + 1 < n ? (uint16_t)~id_of(head) : id_of(head);
		if (at.descriptors == q->published.descriptors)
			q->packed.first_flags = flags; /* all that follows waits for it */
		else
			rp_store(&to->flags, flags);
	}
}

/* Entries follow each other without being told; ids are reserved. */
static void packed_table(void *table, const struct fake_desc *d, unsigned n)
{
	struct vring_packed_desc *to = table;

	for (unsigned i = 0; i < n; i++)
		to[i] = (struct vring_packed_desc){
			.addr = d[i].addr,
			.len = d[i].len,
			.id = 0xdead,
			.flags = d[i].flags & (uint16_t)~VRING_DESC_F_NEXT,
		};
}

static void packed_publish(struct fake_queue *q)
{
	if (q->added.descriptors != q->published.descriptors)
		rp_store_release(&desc_at(q, position(q, q->published))->flags,
				 q->packed.first_flags);
}

/* Is @event among the descriptors [@from, @from + @n)? */
static bool passed(const struct fake_queue *q, uint16_t event, uint32_t from, uint32_t n)
{
	const uint32_t laps = 2 * q->size;
	const uint32_t pos = (event & (WRAP - 1)) + (event & WRAP ? 0 : q->size);

	return (pos + laps - from) % laps < n;
}

static bool packed_kick_wanted(const struct fake_queue *q)
{
	const struct vring_packed_desc_event *device = q->packed.device;
	const uint16_t flags = rp_load_acquire(&device->flags);

	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
	EXPECT(q->event_idx);
	return passed(q, rp_load(&device->off_wrap), position(q, q->kicked),
		      q->published.descriptors - q->kicked.descriptors);
}

static bool packed_used(const struct fake_queue *q, struct fake_count taken, uint16_t *head,
			uint32_t *len)
{
	const uint32_t pos = position(q, taken);
	const struct vring_packed_desc *d = desc_at(q, pos);
	const uint16_t flags = rp_load_acquire(&d->flags);

	if ((flags & (AVAIL | USED)) != (wrap_at(q, pos) ? AVAIL | USED : 0))
		return false;
	*head = head_of(d->id);
	*len = flags & VRING_DESC_F_WRITE ? d->len : 0; /* reserved where nothing was written */
	return true;
}

static void packed_give_back(struct fake_queue *q, uint16_t head)
{
	q->free[q->size - (q->added.chains - q->taken.chains) - 1] = head;
}

static void packed_arm(struct fake_queue *q)
{
	struct vring_packed_desc_event *driver = q->packed.driver;

	rp_store(&driver->off_wrap, off_wrap(q, position(q, q->taken)));
	rp_store_release(&driver->flags, q->event_idx ? VRING_PACKED_EVENT_FLAG_DESC :
							VRING_PACKED_EVENT_FLAG_ENABLE);
}

static void packed_disarm(struct fake_queue *q)
{
	rp_store(&q->packed.driver->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
}

static uint32_t packed_base(const struct fake_queue *q, uint32_t avail, uint32_t used)
{
	const uint32_t laps = 2 * q->size;

	return off_wrap(q, (q->start + avail) % laps) |
	       (uint32_t)off_wrap(q, (q->start + used) % laps) << 16;
}

const struct fake_ops fake_packed = {
	.open = packed_open,
	.reset = packed_reset,
	.head = packed_head,
	.put = packed_put,
	.table = packed_table,
	.publish = packed_publish,
	.kick_wanted = packed_kick_wanted,
	.used = packed_used,
	.give_back = packed_give_back,
	.arm = packed_arm,
	.disarm = packed_disarm,
	.base = packed_base,
};
