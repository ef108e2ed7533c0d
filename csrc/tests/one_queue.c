/* SPDX-License-Identifier: BSD-2-Clause */
#include "one_queue.h"

#include "check.h"

static void lost(void *owner)
{
	(void)owner;
}

void one_queue_open(struct one_queue *o, uint64_t features, bool writable)
{
	one_queue_open_at(o, features, writable, ONE_SIZE, 0);
}

void one_queue_open_at(struct one_queue *o, uint64_t features, bool writable, uint32_t size,
		       uint32_t start)
{
	/* The queue, its buffers, and an indirect table for each. */
	const uint64_t room = (uint64_t)size * (FAKE_TABLE * 16 + 128) + 4096;
	const uint64_t first = room > ONE_HALF ? (room + 4095) / 4096 * 4096 : ONE_HALF;
	struct rp_mem_slot slots[FAKE_REGIONS];
	int32_t fds[FAKE_REGIONS];
	struct rp_err err;

	fake_ram_open(&o->ram, first > ONE_HALF ? first : ONE_FAR + ONE_HALF - FAKE_RAM_BASE);
	fake_ram_plug(&o->ram, FAKE_RAM_BASE, first, 0);
	if (first == ONE_HALF) {
		fake_ram_plug(&o->ram, FAKE_RAM_BASE + ONE_HALF, ONE_HALF, 8192);
		fake_ram_plug(&o->ram, ONE_FAR, ONE_HALF, 0);
	}
	for (uint32_t i = 0; i < o->ram.n; i++) {
		slots[i] = o->ram.region[i].slot;
		fds[i] = o->ram.region[i].fd;
	}
	o->mem = rp_guestmem_new(NULL, slots, fds, o->ram.n, lost, NULL, &err);
	EXPECT(o->mem);
	fake_queue_open(&o->driver, &o->ram, size, 64, features);
	fake_queue_reset(&o->driver, start);
	o->cfg = fake_queue_config(&o->driver);
	EXPECT_OK(rp_virtq_open(&o->q, features, writable, o->mem, &o->cfg, &err), err);
}

void one_queue_close(struct one_queue *o)
{
	rp_virtq_close(&o->q);
	rp_guestmem_free(o->mem);
	fake_queue_close(&o->driver);
	fake_ram_close(&o->ram);
}

enum rp_pop one_queue_pop(struct one_queue *o)
{
	return rp_virtq_pop(&o->q, o->mem, o->q.used_pos, &o->chain, o->seg, ONE_PIECES);
}

void one_queue_offer(struct one_queue *o, const struct fake_desc *d, unsigned n)
{
	EXPECT(fake_queue_add_raw(&o->driver, d, n) >= 0);
	fake_queue_publish(&o->driver);
}

void one_queue_offer_table(struct one_queue *o, const struct fake_desc *d, unsigned n)
{
	EXPECT(fake_queue_add_table(&o->driver, d, n) >= 0);
	fake_queue_publish(&o->driver);
}

void one_queue_expect_broken(struct one_queue *o, const char *why)
{
	EXPECT_EQ(one_queue_pop(o), RP_POP_BROKEN);
	EXPECT(o->q.broken);
	EXPECT_TEXT(o->q.broken, why);
}
