/* SPDX-License-Identifier: BSD-2-Clause */
/* What only a packed virtqueue has: flags that say whose a descriptor is, ids, and events in laps. */
#include <errno.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "one_queue.h"
#include "vnet.h"

enum {
	BASE = FAKE_RAM_BASE,
	NEXT = VRING_DESC_F_NEXT,
	WRITE = VRING_DESC_F_WRITE,
	INDIRECT = VRING_DESC_F_INDIRECT,
	AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
	USED = 1 << VRING_PACKED_DESC_F_USED,
	WRAP = 1 << VRING_PACKED_EVENT_F_WRAP_CTR,
	DESC = VRING_PACKED_EVENT_FLAG_DESC,
	DISABLE = VRING_PACKED_EVENT_FLAG_DISABLE,
	ENABLE = VRING_PACKED_EVENT_FLAG_ENABLE
};

static struct one_queue o;
static struct vring_packed_desc *ring;

static void open_queue_at(bool writable, uint32_t start)
{
	fake_choose_format(1);
	one_queue_open_at(&o, fake_features(), writable, ONE_SIZE, start);
	ring = o.driver.packed.desc;
}

static void open_queue(void)
{
	open_queue_at(false, 0);
}

static enum rp_pop pop_at(uint16_t pos)
{
	return rp_virtq_pop(&o.q, o.mem, pos, &o.chain, o.seg, ONE_PIECES);
}

TEST(a_descriptor_is_available_when_its_flags_are_of_this_lap)
{
	static const struct {
		uint16_t flags;
		bool lap_of_1, lap_of_0;
	} cases[] = {
		{ 0, false, false },
		{ AVAIL, true, false },
		{ USED, false, true },
		{ AVAIL | USED, false, false },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (uint32_t pos = 0; pos < 4 * ONE_SIZE; pos++) {
			open_queue_at(false, pos);
			ring[pos % ONE_SIZE] =
				(struct vring_packed_desc){ BASE, 60, 9, cases[i].flags };
			EXPECT_EQ(rp_virtq_ready(&o.q, o.q.used_pos),
				  pos / ONE_SIZE % 2 ? cases[i].lap_of_0 : cases[i].lap_of_1);
			EXPECT(!o.q.broken);
			one_queue_close(&o);
		}
	}
}

/* Not an index: the driver may choose anything, also twice. */
TEST(an_id_is_given_back_as_it_came)
{
	static const uint16_t ids[] = {
		0, 1, ONE_SIZE, ONE_SIZE - 1, 0x7fff, 0x8000, 65535, 65535
	};
	enum { N = sizeof(ids) / sizeof(ids[0]) };

	open_queue();
	for (unsigned i = 0; i < N; i++) {
		ring[i] = (struct vring_packed_desc){ BASE, 60, ids[i], AVAIL };
		EXPECT_EQ(pop_at((uint16_t)i), RP_POP_CHAIN);
		EXPECT_EQ(o.chain.id, ids[i]);
		rp_virtq_fill(&o.q, (uint16_t)i, o.chain.id, o.chain.slots, 0);
	}
	rp_virtq_flush(&o.q, N);
	for (unsigned i = 0; i < N; i++) {
		EXPECT_EQ(ring[i].id, ids[i]);
		EXPECT_EQ(ring[i].flags, AVAIL | USED); /* no WRITE: nothing was written */
	}
	one_queue_close(&o);
}

TEST(a_chains_id_is_that_of_its_last_descriptor)
{
	open_queue();
	ring[0] = (struct vring_packed_desc){ BASE, 60, 111, NEXT | USED };
	ring[1] = (struct vring_packed_desc){ BASE, 60, 222, NEXT | AVAIL };
	ring[2] = (struct vring_packed_desc){ BASE, 60, 333, AVAIL };
	ring[0].flags = NEXT | AVAIL;
	EXPECT_EQ(pop_at(0), RP_POP_CHAIN);
	EXPECT_EQ(o.chain.id, 333);
	EXPECT_EQ(o.chain.slots, 3);
	one_queue_close(&o);
}

TEST(a_chain_may_go_on_at_the_beginning_of_the_ring)
{
	open_queue_at(false, ONE_SIZE - 1);
	ring[0] = (struct vring_packed_desc){ BASE + 9, 8, 333, USED };
	ring[ONE_SIZE - 1] = (struct vring_packed_desc){ BASE, 60, 222, NEXT | AVAIL };
	EXPECT_EQ(pop_at(ONE_SIZE - 1), RP_POP_CHAIN);
	EXPECT_EQ(o.chain.id, 333);
	EXPECT_EQ(o.chain.slots, 2);
	EXPECT_EQ(o.chain.bytes, 68);
	rp_virtq_fill(&o.q, ONE_SIZE - 1, o.chain.id, o.chain.slots, 0);
	rp_virtq_flush(&o.q, ONE_SIZE + 1);
	EXPECT_EQ(ring[ONE_SIZE - 1].flags, AVAIL | USED);
	EXPECT_EQ(ring[ONE_SIZE - 1].id, 333);
	EXPECT_EQ(ring[0].flags, USED); /* as the driver left it */
	one_queue_close(&o);
}

/* In a table WRITE is the only flag, and the ids mean nothing (2.8.8). */
TEST(reserved_fields_of_an_indirect_table_are_ignored)
{
	const struct vring_packed_desc table[] = {
		{ BASE, 12, 7, AVAIL },
		{ BASE + 64, 20, 8, USED | NEXT },
		{ BASE + 128, 30, 9, AVAIL | USED | NEXT },
	};

	open_queue();
	memcpy(fake_ram_at(&o.ram, ONE_FAR), table, sizeof(table));
	ring[0] = (struct vring_packed_desc){ ONE_FAR, sizeof(table), 4711, INDIRECT | AVAIL };
	EXPECT_EQ(pop_at(0), RP_POP_CHAIN);
	EXPECT_EQ(o.chain.id, 4711);
	EXPECT_EQ(o.chain.slots, 1);
	EXPECT_EQ(o.chain.nsegs, 3);
	EXPECT_EQ(o.chain.bytes, 62);
	one_queue_close(&o);
}

TEST(the_write_flag_of_an_indirect_descriptor_is_ignored)
{
	for (unsigned writable = 0; writable < 2; writable++) {
		const struct vring_packed_desc table = { BASE, 12, 0, writable ? WRITE : 0 };

		open_queue_at(writable, 0);
		memcpy(fake_ram_at(&o.ram, ONE_FAR), &table, sizeof(table));
		ring[0] = (struct vring_packed_desc){ ONE_FAR, 16, 5,
						      INDIRECT | AVAIL | (writable ? 0 : WRITE) };
		EXPECT_EQ(pop_at(0), RP_POP_CHAIN);
		EXPECT_EQ(o.chain.bytes, 12);
		one_queue_close(&o);
	}
}

/* All of the ring is taken; then its first descriptor is made available once more. */
TEST(more_available_descriptors_than_the_ring_has_break_it)
{
	for (uint32_t start = 0; start <= 3 * ONE_SIZE; start += ONE_SIZE / 2) {
		const struct fake_desc desc = { BASE, 1, 0 };
		uint16_t first, pos;

		open_queue_at(false, start);
		first = pos = o.q.used_pos;
		for (unsigned i = 0; i < ONE_SIZE; i++)
			one_queue_offer(&o, &desc, 1);
		for (unsigned i = 0; i < ONE_SIZE; i++)
			EXPECT_EQ(pop_at(pos++), RP_POP_CHAIN);
		EXPECT_EQ(pop_at(pos), RP_POP_EMPTY);
		ring[first % ONE_SIZE].flags ^= AVAIL | USED;
		EXPECT_EQ(pop_at(pos), RP_POP_BROKEN);
		EXPECT_TEXT(o.q.broken, "more descriptors are available than the ring has");
		one_queue_close(&o);
	}
}

/* One that was taken is not part of another chain before it was given back. */
TEST(a_chain_that_runs_into_taken_descriptors_breaks_the_queue)
{
	struct fake_desc rest[ONE_SIZE - 1];
	const struct fake_desc desc = { BASE, 1, 0 };

	open_queue();
	one_queue_offer(&o, &desc, 1);
	EXPECT_EQ(pop_at(0), RP_POP_CHAIN);
	for (unsigned i = 0; i < ONE_SIZE - 1; i++)
		rest[i] = (struct fake_desc){ BASE, 1, NEXT };
	one_queue_offer(&o, rest, ONE_SIZE - 1);
	EXPECT_EQ(pop_at(1), RP_POP_BROKEN);
	EXPECT_TEXT(o.q.broken, "longer than its table");
	one_queue_close(&o);
}

TEST(used_entries_appear_all_at_once_with_the_flags_of_their_lap)
{
	const uint16_t start = ONE_SIZE - 3;

	open_queue_at(true, start);
	for (uint16_t i = 0; i < 6; i += 2) /* each takes two descriptors */
		rp_virtq_fill(&o.q, (uint16_t)(start + i), (uint16_t)(100 + i), 2, i ? 64 : 0);
	EXPECT_EQ(ring[start].flags, 0);
	EXPECT_EQ(ring[1].flags, AVAIL | USED); /* of the lap before */
	rp_virtq_flush(&o.q, start + 6);
	EXPECT_EQ(ring[start].flags, AVAIL | USED);
	EXPECT_EQ(ring[start].id, 100);
	EXPECT_EQ(ring[start + 1].flags, 0);
	EXPECT_EQ(ring[start + 2].flags, AVAIL | USED | WRITE);
	EXPECT_EQ(ring[start + 2].id, 102);
	EXPECT_EQ(ring[start + 2].len, 64);
	EXPECT_EQ(ring[1].flags, WRITE);
	EXPECT_EQ(ring[1].id, 104);
	EXPECT_EQ(ring[1].len, 64);
	one_queue_close(&o);
}

TEST(a_call_is_due_when_the_descriptor_of_the_event_is_used)
{
	enum { S = ONE_SIZE };

	static const struct {
		uint16_t flags, off_wrap, from, to;
		bool call;
	} cases[] = {
		{ ENABLE, 0, 0, 1, true },
		{ DISABLE, 0, 0, 1, false },
		{ DESC, 0 | WRAP, 0, 1, true },
		{ DESC, 1 | WRAP, 0, 1, false },
		{ DESC, 1 | WRAP, 0, 2, true },
		{ DESC, 1 | WRAP, 1, 2, true },
		{ DESC, 1 | WRAP, 2, 3, false },
		{ DESC, 0, 0, 1, false }, /* the next lap */
		{ DESC, 0, S, S + 1, true },
		{ DESC, 0 | WRAP, S, S + 1, false },
		{ DESC, 3, S - 2, S + 4, true },
		{ DESC, 3, S - 2, S + 3, false },
		{ DESC, (S - 1) | WRAP, S - 1, S + 3, true },
		{ DESC, S - 1, 2 * S - 1, 2 * S, true },
		{ DESC, S - 1, 65535, 3, true },
		{ DESC, 2 | WRAP, 65535, 3, true },
		{ DESC, 3 | WRAP, 65535, 3, false },
		{ DESC, 7 | WRAP, 7, 7, false },
		{ DESC, 5 | WRAP, 5, S + 5, true },
	};

	open_queue();
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		o.driver.packed.driver->flags = cases[i].flags;
		o.driver.packed.driver->off_wrap = cases[i].off_wrap;
		EXPECT_EQ(rp_virtq_notify(&o.q, cases[i].from, cases[i].to), cases[i].call);
	}
	one_queue_close(&o);
}

/* An event that no descriptor has, and one that was not negotiated, cost calls only. */
TEST(events_that_make_no_sense_do_no_harm)
{
	open_queue();
	for (uint32_t off = 0; off < 65536; off++) {
		o.driver.packed.driver->off_wrap = (uint16_t)off;
		for (uint16_t flags = 0; flags < 4; flags++) {
			o.driver.packed.driver->flags = flags;
			rp_virtq_notify(&o.q, (uint16_t)off, (uint16_t)(off + 3));
		}
	}
	o.q.event_idx = false;
	o.driver.packed.driver->flags = DESC;
	o.driver.packed.driver->off_wrap = 3;
	EXPECT(rp_virtq_notify(&o.q, 0, 1));
	EXPECT(!o.q.broken);
	one_queue_close(&o);
}

TEST(kicks_are_asked_for_in_the_way_that_was_agreed)
{
	const struct vring_packed_desc_event *device;

	open_queue();
	device = o.driver.packed.device;
	rp_virtq_disarm(&o.q);
	EXPECT_EQ(device->flags, DISABLE);
	rp_virtq_arm(&o.q, 7);
	EXPECT_EQ(device->flags, DESC);
	EXPECT_EQ(device->off_wrap, 7 | WRAP);
	rp_virtq_arm(&o.q, ONE_SIZE + 7);
	EXPECT_EQ(device->off_wrap, 7);
	rp_virtq_arm(&o.q, 65535);
	EXPECT_EQ(device->off_wrap, ONE_SIZE - 1);
	o.q.event_idx = false;
	rp_virtq_disarm(&o.q);
	EXPECT_EQ(device->flags, DISABLE);
	rp_virtq_arm(&o.q, 8);
	EXPECT_EQ(device->flags, ENABLE);
	one_queue_close(&o);
}

TEST(a_base_has_index_and_wrap_counter_twice)
{
	open_queue();
	EXPECT_EQ(rp_virtq_base(&o.q, 0), 0x80008000);
	EXPECT_EQ(rp_virtq_base(&o.q, ONE_SIZE - 1), 0x800f800f);
	EXPECT_EQ(rp_virtq_base(&o.q, ONE_SIZE), 0);
	EXPECT_EQ(rp_virtq_base(&o.q, 2 * ONE_SIZE - 1), 0x000f000f);
	EXPECT_EQ(rp_virtq_base(&o.q, 2 * ONE_SIZE), 0x80008000);
	one_queue_close(&o);
	for (uint32_t start = 0; start < 2 * ONE_SIZE; start++) {
		open_queue_at(false, start);
		EXPECT_EQ(rp_virtq_base(&o.q, o.q.used_pos), o.cfg.base);
		one_queue_close(&o);
	}
}

TEST(a_base_beyond_the_ring_is_refused)
{
	static const uint32_t bases[] = { ONE_SIZE, 0x8000 | ONE_SIZE, 0x7fff, 0xffff };
	struct rp_virtq q;
	struct rp_err err;

	open_queue();
	for (unsigned i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		struct rp_vring_config cfg = o.cfg;

		cfg.base = bases[i];
		EXPECT_EQ(rp_virtq_open(&q, fake_features(), false, o.mem, &cfg, &err), -EINVAL);
		EXPECT_TEXT(err.text, "of 16");
	}
	one_queue_close(&o);
}
