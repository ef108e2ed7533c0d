/* SPDX-License-Identifier: BSD-2-Clause */
/* The device's side of a split virtqueue, against drivers that lie in every word they can write. */
#include <errno.h>

#include "check.h"
#include "fake_guest.h"
#include "virtq.h"
#include "vnet.h"

enum {
	SIZE = 16,
	MAX = 64, /* pieces */
	HALF = 0x10000,
	BEHIND = FAKE_RAM_BASE + 2 * HALF, /* behind both regions, a hole follows */
	FAR = FAKE_RAM_BASE + 0x40000	   /* a region behind the hole */
};

static struct fake_ram ram;
static struct fake_queue driver;
static struct rp_guestmem *mem;
static struct rp_virtq q;
static struct rp_chain chain;
static struct rp_seg seg[MAX];

static void lost(void *owner)
{
	(void)owner;
}

static void open_queue(void)
{
	const uint64_t features = RP_FEATURE(VIRTIO_RING_F_EVENT_IDX);
	struct rp_mem_slot slots[FAKE_REGIONS];
	struct rp_vring_config cfg;
	int32_t fds[FAKE_REGIONS];
	struct rp_err err;

	fake_ram_open(&ram, 0x80000);
	fake_ram_plug(&ram, FAKE_RAM_BASE, HALF, 0);
	fake_ram_plug(&ram, FAKE_RAM_BASE + HALF, HALF, 8192); /* the guest's neighbour, not ours */
	fake_ram_plug(&ram, FAR, HALF, 0);
	for (uint32_t i = 0; i < ram.n; i++) {
		slots[i] = ram.region[i].slot;
		fds[i] = ram.region[i].fd;
	}
	mem = rp_guestmem_new(NULL, slots, fds, ram.n, lost, NULL, &err);
	EXPECT(mem);
	fake_queue_open(&driver, &ram, SIZE, 64, features);
	q = (struct rp_virtq){ .indirect = true, .event_idx = true };
	cfg = fake_queue_config(&driver);
	EXPECT_OK(rp_virtq_map(&q, mem, &cfg, &err), err);
}

static void close_queue(void)
{
	rp_guestmem_free(mem);
	fake_queue_close(&driver);
	fake_ram_close(&ram);
}

static enum rp_pop pop(void)
{
	return rp_virtq_pop(&q, mem, 0, &chain, seg, MAX);
}

/* The chain at head 0 is made of these descriptors; its indirect table lies in table_addr. */
static void offer(const struct vring_desc *desc, unsigned n)
{
	memcpy(driver.split.desc, desc, n * sizeof(*desc));
	driver.split.avail->ring[0] = 0;
	driver.split.avail->idx = 1;
}

static void offer_table(const struct vring_desc *desc, unsigned n)
{
	const struct vring_desc outer = {
		.addr = driver.table_addr,
		.len = n * (uint32_t)sizeof(*desc),
		.flags = VRING_DESC_F_INDIRECT,
	};

	memcpy(fake_ram_at(&ram, driver.table_addr), desc, n * sizeof(*desc));
	offer(&outer, 1);
}

static void expect_broken(const char *why)
{
	EXPECT_EQ(pop(), RP_POP_BROKEN);
	EXPECT(q.broken);
	EXPECT_TEXT(q.broken, why);
}

#define DESC(a, l, f, n)                                           \
	{                                                          \
		.addr = (a), .len = (l), .flags = (f), .next = (n) \
	}

TEST(an_empty_queue_has_nothing)
{
	open_queue();
	EXPECT_EQ(pop(), RP_POP_EMPTY);
	EXPECT(!q.broken);
	close_queue();
}

TEST(a_chain_is_its_descriptors_in_order)
{
	static const struct vring_desc desc[] = {
		DESC(FAKE_RAM_BASE, 12, VRING_DESC_F_NEXT, 2),
		DESC(FAKE_RAM_BASE + 300, 30, 0, 0),
		DESC(FAKE_RAM_BASE + 100, 1, VRING_DESC_F_NEXT, 1),
	};

	open_queue();
	offer(desc, 3);
	EXPECT_EQ(pop(), RP_POP_CHAIN);
	EXPECT_EQ(chain.id, 0);
	EXPECT_EQ(chain.nsegs, 3);
	EXPECT_EQ(chain.bytes, 43);
	EXPECT_EQ(seg[1].len, 1);
	EXPECT_EQ(seg[1].addr - seg[0].addr, 100);
	EXPECT_EQ(seg[2].addr - seg[0].addr, 300);
	close_queue();
}

TEST(an_index_beyond_the_size_ahead_breaks)
{
	open_queue();
	driver.split.avail->idx = SIZE + 1;
	expect_broken("the avail index");
	close_queue();
}

TEST(an_index_that_runs_backwards_breaks)
{
	open_queue();
	q.avail_idx = 1;
	driver.split.avail->idx = 0;
	EXPECT_EQ(rp_virtq_pop(&q, mem, 1, &chain, seg, MAX), RP_POP_BROKEN);
	EXPECT_TEXT(q.broken, "backwards");
	close_queue();
}

TEST(a_full_queue_is_not_broken)
{
	open_queue();
	driver.split.desc[0] = (struct vring_desc){ .addr = FAKE_RAM_BASE, .len = 1 };
	driver.split.avail->idx = SIZE;
	for (unsigned i = 0; i < SIZE; i++)
		EXPECT_EQ(rp_virtq_pop(&q, mem, (uint16_t)i, &chain, seg, MAX), RP_POP_CHAIN);
	EXPECT_EQ(rp_virtq_pop(&q, mem, SIZE, &chain, seg, MAX), RP_POP_EMPTY);
	close_queue();
}

TEST(the_avail_index_wraps_at_65536)
{
	open_queue();
	driver.split.desc[0] = (struct vring_desc){ .addr = FAKE_RAM_BASE, .len = 1 };
	q.avail_idx = 65535;
	driver.split.avail->idx = 1;
	EXPECT_EQ(rp_virtq_pop(&q, mem, 65535, &chain, seg, MAX), RP_POP_CHAIN);
	EXPECT_EQ(rp_virtq_pop(&q, mem, 0, &chain, seg, MAX), RP_POP_CHAIN);
	EXPECT_EQ(rp_virtq_pop(&q, mem, 1, &chain, seg, MAX), RP_POP_EMPTY);
	close_queue();
}

TEST(a_head_beyond_the_table_breaks)
{
	open_queue();
	driver.split.avail->ring[0] = SIZE;
	driver.split.avail->idx = 1;
	expect_broken("beyond its table");
	close_queue();
}

struct bad_chain {
	const char *why;
	bool indirect; /* it is the indirect table of head 0 */
	unsigned n;
	struct vring_desc desc[4];
};

static const struct bad_chain bad[] = {
	{ "loop", false, 1, { DESC(FAKE_RAM_BASE, 1, VRING_DESC_F_NEXT, 0) } },
	{ "loop",
	  false,
	  2,
	  { DESC(FAKE_RAM_BASE, 1, VRING_DESC_F_NEXT, 1),
	    DESC(FAKE_RAM_BASE, 0, VRING_DESC_F_NEXT, 0) } },
	{ "loop", true, 1, { DESC(FAKE_RAM_BASE, 1, VRING_DESC_F_NEXT, 0) } },
	{ "beyond its table", false, 1, { DESC(FAKE_RAM_BASE, 1, VRING_DESC_F_NEXT, SIZE) } },
	{ "beyond its table", false, 1, { DESC(FAKE_RAM_BASE, 1, VRING_DESC_F_NEXT, 65535) } },
	{ "beyond its table", true, 1, { DESC(FAKE_RAM_BASE, 1, VRING_DESC_F_NEXT, 1) } },
	{ "an indirect descriptor in an indirect table",
	  true,
	  1,
	  { DESC(FAKE_RAM_BASE, 16, VRING_DESC_F_INDIRECT, 0) } },
	{ "with a next one",
	  false,
	  1,
	  { DESC(FAKE_RAM_BASE, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1) } },
	{ "not a multiple of 16", false, 1, { DESC(FAKE_RAM_BASE, 0, VRING_DESC_F_INDIRECT, 0) } },
	{ "not a multiple of 16", false, 1, { DESC(FAKE_RAM_BASE, 24, VRING_DESC_F_INDIRECT, 0) } },
	{ "table outside", false, 1, { DESC(0, 16, VRING_DESC_F_INDIRECT, 0) } },
	{ "table outside", false, 1, { DESC(BEHIND, 16, VRING_DESC_F_INDIRECT, 0) } },
	{ "table outside", false, 1, { DESC(BEHIND - 8, 16, VRING_DESC_F_INDIRECT, 0) } },
	{ "table outside",
	  false,
	  1,
	  { DESC(UINT64_MAX - 15, UINT32_MAX - 15, VRING_DESC_F_INDIRECT, 0) } },
	{ "descriptor outside", false, 1, { DESC(0, 1, 0, 0) } },
	{ "descriptor outside", false, 1, { DESC(FAKE_RAM_BASE - 1, 2, 0, 0) } },
	{ "descriptor outside", false, 1, { DESC(BEHIND, 1, 0, 0) } },
	{ "descriptor outside", false, 1, { DESC(BEHIND - 1, 2, 0, 0) } },
	{ "descriptor outside", false, 1, { DESC(BEHIND - 1, UINT32_MAX, 0, 0) } },
	{ "descriptor outside", false, 1, { DESC(FAKE_RAM_BASE, UINT32_MAX, 0, 0) } },
	{ "descriptor outside", false, 1, { DESC(UINT64_MAX, 1, 0, 0) } },
	{ "descriptor outside", false, 1, { DESC(UINT64_MAX, 2, 0, 0) } },
	{ "descriptor outside", false, 1, { DESC(UINT64_MAX - 100, UINT32_MAX, 0, 0) } },
	{ "descriptor outside", false, 1, { DESC(FAR + HALF - 1, 2, 0, 0) } },
	{ "write only", false, 1, { DESC(FAKE_RAM_BASE, 1, VRING_DESC_F_WRITE, 0) } },
	{ "write only",
	  true,
	  2,
	  { DESC(FAKE_RAM_BASE, 1, VRING_DESC_F_NEXT, 1),
	    DESC(FAKE_RAM_BASE, 1, VRING_DESC_F_WRITE, 0) } },
};

TEST(a_chain_that_breaks_a_rule_breaks_the_queue_with_the_rules_name)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		open_queue();
		(bad[i].indirect ? offer_table : offer)(bad[i].desc, bad[i].n);
		expect_broken(bad[i].why);
		close_queue();
	}
}

TEST(a_buffer_that_may_not_be_written_breaks_a_receive_queue)
{
	static const struct vring_desc desc[] = { DESC(FAKE_RAM_BASE, 100, 0, 0) };

	open_queue();
	q.writable = true;
	offer(desc, 1);
	expect_broken("may not write");
	close_queue();
}

TEST(an_indirect_table_breaks_a_queue_that_did_not_negotiate_it)
{
	static const struct vring_desc desc[] = { DESC(FAKE_RAM_BASE, 100, 0, 0) };

	open_queue();
	q.indirect = false;
	offer_table(desc, 1);
	expect_broken("not negotiated");
	close_queue();
}

TEST(an_indirect_table_may_be_as_long_as_the_queue)
{
	struct vring_desc desc[SIZE];

	open_queue();
	for (unsigned i = 0; i < SIZE; i++)
		desc[i] = (struct vring_desc)DESC(FAKE_RAM_BASE + i, 1,
						  i + 1 < SIZE ? VRING_DESC_F_NEXT : 0,
						  (uint16_t)(i + 1));
	offer_table(desc, SIZE);
	EXPECT_EQ(pop(), RP_POP_CHAIN);
	EXPECT_EQ(chain.nsegs, SIZE);
	close_queue();
}

/* Descriptors before an indirect one are allowed (2.7.5.3.1), if no other one follows. */
TEST(a_chain_may_end_in_an_indirect_table)
{
	const struct vring_desc table[] = { DESC(FAKE_RAM_BASE + 64, 60, 0, 0) };
	struct vring_desc desc[2] = { DESC(FAKE_RAM_BASE, 12, VRING_DESC_F_NEXT, 1) };

	open_queue();
	memcpy(fake_ram_at(&ram, driver.table_addr), table, sizeof(table));
	desc[1] = (struct vring_desc)DESC(driver.table_addr, 16, VRING_DESC_F_INDIRECT, 0);
	offer(desc, 2);
	EXPECT_EQ(pop(), RP_POP_CHAIN);
	EXPECT_EQ(chain.nsegs, 2);
	EXPECT_EQ(chain.bytes, 72);
	close_queue();
}

TEST(a_buffer_may_span_regions_that_are_neighbours)
{
	static const struct vring_desc desc[] = { DESC(FAKE_RAM_BASE + HALF - 10, 30, 0, 0) };

	open_queue();
	offer(desc, 1);
	EXPECT_EQ(pop(), RP_POP_CHAIN);
	EXPECT_EQ(chain.nsegs, 2);
	EXPECT_EQ(chain.bytes, 30);
	EXPECT_EQ(seg[0].len, 10);
	EXPECT_EQ(seg[1].len, 20);
	close_queue();
}

TEST(an_indirect_table_may_span_regions_or_lie_at_an_odd_address)
{
	static const uint64_t places[] = { FAKE_RAM_BASE + HALF - 16, FAKE_RAM_BASE + HALF - 5,
					   FAKE_RAM_BASE + HALF - 1, FAR + 3 };

	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		const struct vring_desc table[] = {
			DESC(FAKE_RAM_BASE, 12, VRING_DESC_F_NEXT, 1),
			DESC(FAKE_RAM_BASE + 64, 60, 0, 0),
		};
		const struct vring_desc outer = DESC(places[i], 32, VRING_DESC_F_INDIRECT, 0);

		open_queue();
		memcpy(fake_ram_at(&ram, places[i]), table, sizeof(table));
		offer(&outer, 1);
		EXPECT_EQ(pop(), RP_POP_CHAIN);
		EXPECT_EQ(chain.nsegs, 2);
		EXPECT_EQ(chain.bytes, 72);
		close_queue();
	}
}

TEST(the_last_bytes_of_a_region_are_usable)
{
	static const struct vring_desc desc[] = {
		DESC(BEHIND - 1, 1, VRING_DESC_F_NEXT, 1),
		DESC(FAR, HALF, VRING_DESC_F_NEXT, 2),
		DESC(FAR + HALF - 1, 1, 0, 0),
	};

	open_queue();
	offer(desc, 3);
	EXPECT_EQ(pop(), RP_POP_CHAIN);
	EXPECT_EQ(chain.bytes, HALF + 2);
	close_queue();
}

TEST(descriptors_of_no_length_are_pieces_of_no_length)
{
	static const struct vring_desc desc[] = {
		DESC(FAKE_RAM_BASE, 0, VRING_DESC_F_NEXT, 1),
		DESC(FAKE_RAM_BASE, 20, VRING_DESC_F_NEXT, 2),
		DESC(FAKE_RAM_BASE, 0, 0, 0),
	};

	open_queue();
	offer(desc, 3);
	EXPECT_EQ(pop(), RP_POP_CHAIN);
	EXPECT_EQ(chain.nsegs, 3);
	EXPECT_EQ(chain.bytes, 20);
	close_queue();
}

TEST(a_chain_with_more_pieces_than_there_is_room_for_is_left_alone)
{
	static const struct vring_desc desc[] = {
		DESC(FAKE_RAM_BASE, 1, VRING_DESC_F_NEXT, 1),
		DESC(FAKE_RAM_BASE, 1, VRING_DESC_F_NEXT, 2),
		DESC(FAKE_RAM_BASE, 1, 0, 0),
	};

	open_queue();
	offer(desc, 3);
	EXPECT_EQ(rp_virtq_pop(&q, mem, 0, &chain, seg, 2), RP_POP_NO_ROOM);
	EXPECT(!q.broken);
	EXPECT_EQ(rp_virtq_pop(&q, mem, 0, &chain, seg, 3), RP_POP_CHAIN);
	close_queue();
}

TEST(rings_must_lie_in_memory_whole_and_aligned)
{
	struct rp_vring_config good, cfg;
	struct rp_err err;

	open_queue();
	good = fake_queue_config(&driver);

	cfg = good;
	cfg.desc_user_addr += 8;
	EXPECT_EQ(rp_virtq_map(&q, mem, &cfg, &err), -EINVAL);
	EXPECT_TEXT(err.text, "descriptor table");
	EXPECT_TEXT(err.text, "not aligned to 16");
	cfg = good;
	cfg.avail_user_addr += 1;
	EXPECT_EQ(rp_virtq_map(&q, mem, &cfg, &err), -EINVAL);
	EXPECT_TEXT(err.text, "avail ring");
	cfg = good;
	cfg.used_user_addr += 2;
	EXPECT_EQ(rp_virtq_map(&q, mem, &cfg, &err), -EINVAL);
	EXPECT_TEXT(err.text, "used ring");
	cfg = good;
	cfg.used_user_addr = 0;
	EXPECT_EQ(rp_virtq_map(&q, mem, &cfg, &err), -EINVAL);
	EXPECT_TEXT(err.text, "does not lie in one region");
	cfg = good;
	cfg.desc_user_addr = FAKE_USER_BASE + HALF - 16;
	EXPECT_EQ(rp_virtq_map(&q, mem, &cfg, &err), -EINVAL);
	cfg = good;
	cfg.used_user_addr = UINT64_MAX - 3;
	EXPECT_EQ(rp_virtq_map(&q, mem, &cfg, &err), -EINVAL);
	cfg = good;
	cfg.avail_user_addr =
		FAKE_USER_BASE + HALF - (6 + 2 * SIZE) + 2; /* used_event is outside */
	EXPECT_EQ(rp_virtq_map(&q, mem, &cfg, &err), -EINVAL);
	close_queue();
}

/* A front end's own addresses may be aligned where ours are not. */
TEST(rings_must_be_aligned_where_they_are_mapped)
{
	struct rp_mem_slot slot = { FAKE_RAM_BASE, HALF - 8, 0x10000, 8 };
	struct rp_vring_config cfg;
	struct rp_guestmem *odd;
	struct rp_err err;

	open_queue();
	odd = rp_guestmem_new(NULL, &slot, &ram.region[0].fd, 1, lost, NULL, &err);
	EXPECT(odd);
	cfg = fake_queue_config(&driver);
	cfg.desc_user_addr = 0x10000;
	cfg.avail_user_addr = 0x11000;
	cfg.used_user_addr = 0x12000;
	EXPECT_EQ(rp_virtq_map(&q, odd, &cfg, &err), -EINVAL);
	EXPECT_TEXT(err.text, "descriptor table");
	EXPECT_TEXT(err.text, "not aligned");
	rp_guestmem_free(odd);
	close_queue();
}

TEST(a_queue_has_a_power_of_two_of_entries)
{
	static const uint32_t sizes[] = { 0, 3, 24, 65536, UINT32_MAX };
	struct rp_vring_config cfg;
	struct rp_err err;

	open_queue();
	cfg = fake_queue_config(&driver);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		cfg.size = sizes[i];
		EXPECT_EQ(rp_virtq_map(&q, mem, &cfg, &err), -EINVAL);
		EXPECT_TEXT(err.text, "power of two");
	}
	cfg.size = 1;
	EXPECT_OK(rp_virtq_map(&q, mem, &cfg, &err), err);
	close_queue();
}

TEST(a_call_is_due_when_the_used_index_passes_the_event)
{
	static const struct {
		uint16_t event, from, to;
		bool call;
	} cases[] = {
		{ 0, 0, 1, true },	{ 1, 0, 1, false },	   { 1, 0, 2, true },
		{ 1, 1, 2, true },	{ 1, 2, 3, false },	   { 5, 0, 5, false },
		{ 5, 0, 100, true },	{ 65535, 65535, 0, true }, { 65535, 65530, 3, true },
		{ 65535, 0, 1, false }, { 0, 65535, 0, false },	   { 0, 65535, 1, true },
		{ 7, 7, 7, false },
	};

	open_queue();
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		driver.split.avail->ring[SIZE] = cases[i].event;
		EXPECT_EQ(rp_virtq_notify(&q, cases[i].from, cases[i].to), cases[i].call);
	}
	q.event_idx = false;
	EXPECT(rp_virtq_notify(&q, 0, 1));
	driver.split.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	EXPECT(!rp_virtq_notify(&q, 0, 1));
	close_queue();
}

TEST(kicks_are_asked_for_in_the_way_that_was_agreed)
{
	open_queue();
	rp_virtq_arm(&q, 77);
	EXPECT_EQ(driver.split.used->ring[SIZE].id & 0xffff, 77);
	EXPECT_EQ(driver.split.used->flags, 0);
	q.event_idx = false;
	rp_virtq_disarm(&q);
	EXPECT_EQ(driver.split.used->flags, VRING_USED_F_NO_NOTIFY);
	rp_virtq_arm(&q, 78);
	EXPECT_EQ(driver.split.used->flags, 0);
	close_queue();
}
