/* SPDX-License-Identifier: BSD-2-Clause */
/* The device's side of a virtqueue, against drivers that lie in every word they can write. */
#include <errno.h>

#include "check.h"
#include "one_queue.h"
#include "vnet.h"

enum {
	BASE = FAKE_RAM_BASE,
	HALF = ONE_HALF,
	BEHIND = ONE_BEHIND,
	FAR = ONE_FAR,
	NEXT = VRING_DESC_F_NEXT,
	WRITE = VRING_DESC_F_WRITE,
	INDIRECT = VRING_DESC_F_INDIRECT,
	DESC_BYTES = 16 * ONE_SIZE
};

static struct one_queue o;

static void open_queue(void)
{
	one_queue_open(&o, fake_features(), false);
}

TEST_FORMATS(an_empty_queue_has_nothing)
{
	open_queue();
	EXPECT(!rp_virtq_ready(&o.q, 0));
	EXPECT_EQ(one_queue_pop(&o), RP_POP_EMPTY);
	EXPECT(!o.q.broken);
	one_queue_close(&o);
}

TEST_FORMATS(a_chain_is_its_descriptors_in_order)
{
	static const struct fake_desc desc[] = {
		{ BASE, 12, NEXT },
		{ BASE + 100, 1, NEXT },
		{ BASE + 300, 30, 0 },
	};

	open_queue();
	one_queue_offer(&o, desc, 3);
	EXPECT_EQ(one_queue_pop(&o), RP_POP_CHAIN);
	EXPECT_EQ(o.chain.nsegs, 3);
	EXPECT_EQ(o.chain.bytes, 43);
	EXPECT_EQ(o.chain.slots, o.q.packed ? 3 : 1);
	EXPECT_EQ(o.seg[1].len, 1);
	EXPECT_EQ(o.seg[1].addr - o.seg[0].addr, 100);
	EXPECT_EQ(o.seg[2].addr - o.seg[0].addr, 300);
	one_queue_close(&o);
}

struct bad_chain {
	const char *why;
	bool indirect; /* it is an indirect table */
	unsigned n;
	struct fake_desc desc[2];
};

static const struct bad_chain bad[] = {
	{ "an indirect descriptor in an indirect table", true, 1, { { BASE, 16, INDIRECT } } },
	{ "an indirect descriptor in an indirect table",
	  true,
	  2,
	  { { BASE, 16, NEXT }, { BASE, 16, INDIRECT } } },
	{ "with a next one", false, 2, { { BASE, 16, INDIRECT | NEXT }, { BASE, 16, 0 } } },
	{ "not a multiple of 16", false, 1, { { BASE, 0, INDIRECT } } },
	{ "not a multiple of 16", false, 1, { { BASE, 15, INDIRECT } } },
	{ "not a multiple of 16", false, 1, { { BASE, 24, INDIRECT } } },
	{ "not a multiple of 16", false, 1, { { BASE, UINT32_MAX, INDIRECT } } },
	{ "table outside", false, 1, { { 0, 16, INDIRECT } } },
	{ "table outside", false, 1, { { BASE - 16, 16, INDIRECT } } },
	{ "table outside", false, 1, { { BEHIND, 16, INDIRECT } } },
	{ "table outside", false, 1, { { BEHIND - 8, 16, INDIRECT } } },
	{ "table outside", false, 1, { { FAR + HALF - 1, 16, INDIRECT } } },
	{ "table outside", false, 1, { { UINT64_MAX - 15, UINT32_MAX - 15, INDIRECT } } },
	{ "descriptor outside", false, 1, { { 0, 1, 0 } } },
	{ "descriptor outside", false, 1, { { BASE - 1, 2, 0 } } },
	{ "descriptor outside", false, 1, { { BEHIND, 1, 0 } } },
	{ "descriptor outside", false, 1, { { BEHIND, 0, 0 } } },
	{ "descriptor outside", false, 1, { { BEHIND - 1, 2, 0 } } },
	{ "descriptor outside", false, 1, { { BEHIND - 1, UINT32_MAX, 0 } } },
	{ "descriptor outside", false, 1, { { BEHIND - 1, FAR - BEHIND + 2, 0 } } }, /* a hole */
	{ "descriptor outside", false, 1, { { BASE, UINT32_MAX, 0 } } },
	{ "descriptor outside", false, 1, { { UINT64_MAX, 1, 0 } } },
	{ "descriptor outside", false, 1, { { UINT64_MAX, 2, 0 } } },
	{ "descriptor outside", false, 1, { { UINT64_MAX - 100, UINT32_MAX, 0 } } },
	{ "descriptor outside", false, 1, { { FAR + HALF - 1, 2, 0 } } },
	{ "descriptor outside", false, 2, { { BASE, 64, NEXT }, { 0, 1, 0 } } },
	{ "descriptor outside", true, 1, { { 0, 1, 0 } } },
	{ "descriptor outside", true, 2, { { BASE, 64, NEXT }, { UINT64_MAX - 1, 4, 0 } } },
	{ "write only", false, 1, { { BASE, 1, WRITE } } },
	{ "write only", false, 2, { { BASE, 1, NEXT }, { BASE, 1, WRITE } } },
	{ "write only", true, 2, { { BASE, 1, NEXT }, { BASE, 1, WRITE } } },
};

TEST_FORMATS(a_chain_that_breaks_a_rule_breaks_the_queue_with_the_rules_name)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		open_queue();
		(bad[i].indirect ? one_queue_offer_table : one_queue_offer)(&o, bad[i].desc,
									    bad[i].n);
		one_queue_expect_broken(&o, bad[i].why);
		one_queue_close(&o);
	}
}

/* Loops, in a split ring; a packed one has none, but it has an end. */
TEST_FORMATS(a_chain_of_more_descriptors_than_the_queue_breaks_it)
{
	struct fake_desc desc[ONE_SIZE];

	for (unsigned i = 0; i < ONE_SIZE; i++)
		desc[i] = (struct fake_desc){ BASE, i % 2, NEXT };
	open_queue();
	one_queue_offer(&o, desc, ONE_SIZE);
	one_queue_expect_broken(&o, "loop, or longer than its table");
	one_queue_close(&o);
}

TEST_FORMATS(a_buffer_that_may_not_be_written_breaks_a_receive_queue)
{
	static const struct fake_desc desc[] = { { BASE, 100, WRITE | NEXT }, { BASE, 100, 0 } };

	for (unsigned i = 0; i < 3; i++) {
		one_queue_open(&o, fake_features(), true);
		if (i < 2)
			one_queue_offer(&o, desc + i, 2 - i);
		else
			one_queue_offer_table(&o, desc, 2);
		one_queue_expect_broken(&o, "may not write");
		one_queue_close(&o);
	}
}

TEST_FORMATS(an_indirect_table_breaks_a_queue_that_did_not_negotiate_it)
{
	static const struct fake_desc desc = { BASE, 100, 0 };

	one_queue_open(&o, fake_features() & ~RP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC), false);
	one_queue_offer_table(&o, &desc, 1);
	one_queue_expect_broken(&o, "not negotiated");
	one_queue_close(&o);
}

TEST_FORMATS(a_chain_may_be_as_long_as_the_queue)
{
	struct fake_desc desc[ONE_SIZE];

	for (unsigned i = 0; i < ONE_SIZE; i++)
		desc[i] = (struct fake_desc){ BASE + i, 1, i + 1 < ONE_SIZE ? NEXT : 0 };
	for (unsigned indirect = 0; indirect < 2; indirect++) {
		open_queue();
		(indirect ? one_queue_offer_table : one_queue_offer)(&o, desc, ONE_SIZE);
		EXPECT_EQ(one_queue_pop(&o), RP_POP_CHAIN);
		EXPECT_EQ(o.chain.nsegs, ONE_SIZE);
		EXPECT_EQ(o.chain.slots, o.q.packed && !indirect ? ONE_SIZE : 1);
		one_queue_close(&o);
	}
}

/* A list of pieces has room for so many: that is how far such a table is read. */
TEST_FORMATS(an_endless_indirect_table_is_read_no_further_than_its_pieces_fit)
{
	static const struct fake_desc outer = { BASE + HALF, HALF, INDIRECT }; /* 8192 entries */
	static const struct fake_desc one = { BASE, 0, NEXT };

	open_queue();
	for (uint64_t addr = BASE + HALF; addr < BEHIND; addr += 16)
		o.driver.ops->table(fake_ram_at(&o.ram, addr), &one, 1);
	one_queue_offer(&o, &outer, 1);
	EXPECT_EQ(one_queue_pop(&o), RP_POP_NO_ROOM);
	EXPECT(!o.q.broken);
	one_queue_close(&o);
}

/* Descriptors before an indirect one are allowed in a split ring (2.7.5.3.1): none may follow. */
TEST_FORMATS(a_chain_may_end_in_an_indirect_table)
{
	const struct fake_desc table = { BASE + 64, 60, 0 };
	const struct fake_desc desc[] = { { BASE, 12, NEXT }, { FAR, 16, INDIRECT } };

	open_queue();
	o.driver.ops->table(fake_ram_at(&o.ram, FAR), &table, 1);
	one_queue_offer(&o, desc, 2);
	EXPECT_EQ(one_queue_pop(&o), RP_POP_CHAIN);
	EXPECT_EQ(o.chain.nsegs, 2);
	EXPECT_EQ(o.chain.bytes, 72);
	one_queue_close(&o);
}

TEST_FORMATS(a_buffer_may_span_regions_that_are_neighbours)
{
	static const struct fake_desc desc = { BASE + HALF - 10, 30, 0 };

	open_queue();
	one_queue_offer(&o, &desc, 1);
	EXPECT_EQ(one_queue_pop(&o), RP_POP_CHAIN);
	EXPECT_EQ(o.chain.nsegs, 2);
	EXPECT_EQ(o.chain.bytes, 30);
	EXPECT_EQ(o.seg[0].len, 10);
	EXPECT_EQ(o.seg[1].len, 20);
	one_queue_close(&o);
}

TEST_FORMATS(an_indirect_table_may_span_regions_or_lie_at_an_odd_address)
{
	static const uint64_t places[] = { BASE + HALF - 16, BASE + HALF - 5, BASE + HALF - 1,
					   FAR + 3 };
	static const struct fake_desc table[] = { { BASE, 12, NEXT }, { BASE + 64, 60, 0 } };

	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		const struct fake_desc outer = { places[i], 32, INDIRECT };
		struct vring_desc aligned[2];

		open_queue();
		o.driver.ops->table(aligned, table, 2);
		memcpy(fake_ram_at(&o.ram, places[i]), aligned, sizeof(aligned));
		one_queue_offer(&o, &outer, 1);
		EXPECT_EQ(one_queue_pop(&o), RP_POP_CHAIN);
		EXPECT_EQ(o.chain.nsegs, 2);
		EXPECT_EQ(o.chain.bytes, 72);
		one_queue_close(&o);
	}
}

TEST_FORMATS(the_last_bytes_of_a_region_are_usable)
{
	static const struct fake_desc desc[] = {
		{ BEHIND - 1, 1, NEXT },
		{ FAR, HALF, NEXT },
		{ FAR + HALF - 1, 1, 0 },
	};

	open_queue();
	one_queue_offer(&o, desc, 3);
	EXPECT_EQ(one_queue_pop(&o), RP_POP_CHAIN);
	EXPECT_EQ(o.chain.bytes, HALF + 2);
	one_queue_close(&o);
}

TEST_FORMATS(descriptors_of_no_length_are_pieces_of_no_length)
{
	static const struct fake_desc desc[] = { { BASE, 0, NEXT },
						 { BASE, 20, NEXT },
						 { BASE, 0, 0 } };

	open_queue();
	one_queue_offer(&o, desc, 3);
	EXPECT_EQ(one_queue_pop(&o), RP_POP_CHAIN);
	EXPECT_EQ(o.chain.nsegs, 3);
	EXPECT_EQ(o.chain.bytes, 20);
	one_queue_close(&o);
}

/* It can still be given back: its id, and what it takes in the ring, are known. */
TEST_FORMATS(a_chain_with_more_pieces_than_there_is_room_for_is_left_alone)
{
	static const struct fake_desc desc[] = {
		{ BASE, 1, NEXT }, { BASE, 1, NEXT }, { BASE, 1, NEXT }, { BASE, 1, 0 }
	};
	struct rp_chain whole;

	for (unsigned indirect = 0; indirect < 2; indirect++) {
		open_queue();
		(indirect ? one_queue_offer_table : one_queue_offer)(&o, desc, 4);
		EXPECT_EQ(rp_virtq_pop(&o.q, o.mem, 0, &o.chain, o.seg, 2), RP_POP_NO_ROOM);
		EXPECT(!o.q.broken);
		EXPECT_EQ(rp_virtq_pop(&o.q, o.mem, 0, &whole, o.seg, 4), RP_POP_CHAIN);
		EXPECT_EQ(o.chain.id, whole.id);
		EXPECT_EQ(o.chain.slots, whole.slots);
		one_queue_close(&o);
	}
}

TEST_FORMATS(a_full_queue_is_not_broken)
{
	static const struct fake_desc desc = { BASE, 1, 0 };

	open_queue();
	for (unsigned i = 0; i < ONE_SIZE; i++)
		one_queue_offer(&o, &desc, 1);
	for (unsigned i = 0; i < ONE_SIZE; i++)
		EXPECT_EQ(rp_virtq_pop(&o.q, o.mem, (uint16_t)i, &o.chain, o.seg, ONE_PIECES),
			  RP_POP_CHAIN);
	EXPECT_EQ(rp_virtq_pop(&o.q, o.mem, ONE_SIZE, &o.chain, o.seg, ONE_PIECES), RP_POP_EMPTY);
	EXPECT(!o.q.broken);
	one_queue_close(&o);
}

/* The device takes @n chains at its position, and gives them back. */
static void use(uint32_t n)
{
	const uint16_t from = o.q.used_pos;
	uint16_t to = from;

	for (uint32_t i = 0; i < n; i++) {
		EXPECT_EQ(rp_virtq_pop(&o.q, o.mem, to, &o.chain, o.seg, ONE_PIECES), RP_POP_CHAIN);
		rp_virtq_fill(&o.q, to, o.chain.id, o.chain.slots, (uint32_t)o.chain.bytes);
		to = (uint16_t)(to + o.chain.slots);
	}
	EXPECT_EQ(fake_queue_used(&o.driver), 0); /* not before the flush */
	rp_virtq_flush(&o.q, to);
	EXPECT_EQ(fake_queue_used(&o.driver), n);
}

static void add_frames(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		EXPECT(fake_queue_add_buf(&o.driver, 1 + i % 64, WRITE,
					  (struct fake_layout){ 0 }) >= 0);
	EXPECT_EQ(rp_virtq_ready(&o.q, o.q.used_pos), false);
	fake_queue_publish(&o.driver);
	EXPECT_EQ(rp_virtq_ready(&o.q, o.q.used_pos), true);
}

static void take_back(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t len;

		EXPECT(fake_queue_take(&o.driver, &len) >= 0);
		EXPECT_EQ(len, 1 + i % 64);
	}
	EXPECT_EQ(fake_queue_take(&o.driver, NULL), FAKE_NOTHING);
}

/* Laps around the ring, and around the 16 bits of a position, in steps of all sizes. */
TEST_FORMATS(a_queue_of_any_size_goes_round_and_round)
{
	for (uint32_t size = 1; size <= RP_MAX_VRING; size *= 2) {
		const uint32_t starts[] = { 0, size - 1, 2 * size - 1, 65535 };

		for (unsigned s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
			const uint32_t most = size < 200 ? size : 200;

			if (size > 1024 && s == 1)
				continue; /* memory takes its time */
			one_queue_open_at(&o, fake_features(), true, size, starts[s]);
			for (uint32_t round = 0; round < 40; round++) {
				const uint32_t n = 1 + round * 7 % most;

				add_frames(n);
				use(n);
				take_back(n);
			}
			EXPECT(!rp_virtq_ready(&o.q, o.q.used_pos));
			EXPECT_EQ(rp_virtq_base(&o.q, o.q.used_pos),
				  fake_queue_base(&o.driver, o.driver.taken.chains,
						  o.driver.taken.chains));
			one_queue_close(&o);
		}
	}
}

TEST_FORMATS(chains_of_many_descriptors_go_round_and_round)
{
	const struct fake_layout layouts[] = { { 1, 3, false }, { 0, 9, false }, { 2, 5, true } };

	one_queue_open(&o, fake_features(), true);
	for (uint32_t round = 0; round < 3000; round++) {
		EXPECT(fake_queue_add_buf(&o.driver, 1 + round % 30, WRITE, layouts[round % 3]) >=
		       0);
		fake_queue_publish(&o.driver);
		if (fake_queue_add_buf(&o.driver, 1 + round % 7, WRITE, layouts[round % 2]) >= 0) {
			fake_queue_publish(&o.driver);
			use(2);
			EXPECT(fake_queue_take(&o.driver, NULL) >= 0);
		} else {
			use(1);
		}
		EXPECT(fake_queue_take(&o.driver, NULL) >= 0);
	}
	EXPECT_EQ(o.driver.nfree, ONE_SIZE);
	one_queue_close(&o);
}

/* What SET_VRING_ADDR describes, in a split ring and in a packed one. */
struct area {
	const char *split;
	const char *packed;
	size_t offset; /* of its address in the configuration */
	uint64_t align[2];
	uint64_t bytes[2];
};

static const struct area areas[] = {
	{ "descriptor table",
	  "descriptor ring",
	  offsetof(struct rp_vring_config, desc_user_addr),
	  { 16, 16 },
	  { DESC_BYTES, DESC_BYTES } },
	{ "avail ring",
	  "driver's event structure",
	  offsetof(struct rp_vring_config, avail_user_addr),
	  { 2, 4 },
	  { 6 + 2 * ONE_SIZE, 4 } },
	{ "used ring",
	  "device's event structure",
	  offsetof(struct rp_vring_config, used_user_addr),
	  { 4, 4 },
	  { 6 + 8 * ONE_SIZE, 4 } },
};

static void expect_refused(const struct area *a, uint64_t addr, const char *why)
{
	struct rp_vring_config cfg = o.cfg;
	struct rp_virtq refused;
	struct rp_err err;

	memcpy((uint8_t *)&cfg + a->offset, &addr, sizeof(addr));
	EXPECT_EQ(rp_virtq_open(&refused, fake_features(), false, o.mem, &cfg, &err), -EINVAL);
	EXPECT_TEXT(err.text, o.q.packed ? a->packed : a->split);
	EXPECT_TEXT(err.text, why);
}

TEST_RINGS(areas_must_lie_in_memory_whole_and_aligned)
{
	const uint64_t end = FAKE_USER_BASE + HALF;

	open_queue();
	for (unsigned i = 0; i < sizeof(areas) / sizeof(areas[0]); i++) {
		const struct area *a = &areas[i];
		const uint64_t align = a->align[o.q.packed], bytes = a->bytes[o.q.packed];

		for (uint64_t off = 1; off < align; off++)
			expect_refused(a, FAKE_USER_BASE + off, "not aligned to");
		expect_refused(a, 0, "does not lie in one region");
		expect_refused(a, end, "does not lie in one region");
		expect_refused(a, (end - bytes + align) / align * align,
			       "does not lie in one region");
		expect_refused(a, UINT64_MAX / align * align, "does not lie in one region");
		expect_refused(a, FAKE_RAM_BASE, "does not lie in one region"); /* not a user's */
	}
	one_queue_close(&o);
}

/* A front end's own addresses may be aligned where ours are not. */
TEST_RINGS(areas_must_be_aligned_where_they_are_mapped)
{
	struct rp_mem_slot slot = { FAKE_RAM_BASE, HALF - 8, 0x10000, 2 };
	struct rp_vring_config cfg;
	struct rp_guestmem *odd;
	struct rp_err err;

	open_queue();
	odd = rp_guestmem_new(NULL, &slot, &o.ram.region[0].fd, 1, NULL, NULL, &err);
	EXPECT(odd);
	cfg = o.cfg;
	cfg.desc_user_addr = 0x10000;
	cfg.avail_user_addr = 0x11000;
	cfg.used_user_addr = 0x12000;
	EXPECT_EQ(rp_virtq_map(&o.q, odd, &cfg, &err), -EINVAL);
	EXPECT_TEXT(err.text, "descriptor");
	EXPECT_TEXT(err.text, "not aligned");
	rp_guestmem_free(odd);
	one_queue_close(&o);
}

TEST_RINGS(a_queue_has_a_power_of_two_of_entries)
{
	static const uint32_t sizes[] = { 0, 3, 24, 65536, UINT32_MAX };
	struct rp_vring_config cfg;
	struct rp_virtq q;
	struct rp_err err;

	open_queue();
	cfg = o.cfg;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		cfg.size = sizes[i];
		EXPECT_EQ(rp_virtq_open(&q, fake_features(), false, o.mem, &cfg, &err), -EINVAL);
		EXPECT_TEXT(err.text, "power of two");
	}
	cfg.size = 1;
	EXPECT_OK(rp_virtq_open(&q, fake_features(), false, o.mem, &cfg, &err), err);
	rp_virtq_close(&q);
	one_queue_close(&o);
}
